# `just` without an argument lists the recipes.

default:
    @just --list

# Starts the local stack.
run *ARGS:
    cargo run -- {{ARGS}}

# Runs every test.
test:
    cargo test --workspace

# Runs the tests whose name contains NAME.
t NAME:
    cargo test --workspace -- {{NAME}}

# Applies clippy's suggestions and formats the code.
fix:
    cargo clippy --fix --allow-dirty --allow-staged --workspace --all-targets
    cargo fmt --all

# Builds the reference of the crates, and prints where it starts.
docs:
    cargo doc --workspace --no-deps
    @echo "target/doc/shared/index.html"

# Runs the tests against the real DynamoDB Local (needs Java 17 and Maven, or Docker).
test-dynamodb-local:
    bash local/sam/engine.sh up
    TEST_DYNAMODB_ENDPOINT=http://127.0.0.1:8124 cargo test -p tests; status=$?; bash local/sam/engine.sh down; exit $status

# Formats, lints and documents, as CI does.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Tests the local stack with the vendor's Python clients (needs python3).
sdk:
    cargo build
    bash local/sdk/run.sh

# Tests the local stack from its OpenAPI document (needs python3). `EXAMPLES=1000 SEED=random just schemathesis` runs longer.
schemathesis *ARGS:
    cargo build
    bash local/schemathesis/run.sh {{ARGS}}

# Runs the property tests with CASES cases each, and prints the numbers.
fuzz CASES="20000":
    PROPTEST_CASES={{CASES}} cargo test -p tests --test all -- fuzz:: --nocapture --test-threads=2

# Checks template.yaml: sam validate, cfn-lint, checkov.
sam-check:
    bash local/sam/check.sh

# Builds every function as it is deployed, and prints the size of each.
sam-build:
    bash local/sam/build.sh

# Invokes every event of events/ in Lambda's containers, against the real DynamoDB Local.
sam-invoke:
    bash local/sam/invoke-all.sh

# Serves the API from Lambda's containers until Ctrl-C.
sam:
    bash local/sam/start-api.sh

# Measures usage: records a second, calls for each workspace, memory. `just bench small` takes a minute.
bench *ARGS:
    cargo bench -p tests --bench usage -- {{ARGS}}

# Compares SEEDS random runs of usage with plain arithmetic.
usage-soak SEEDS="500":
    USAGE_SEEDS={{SEEDS}} cargo test -p tests --test all usage_model

# Simulates people and faults, and checks every invariant: SEEDS seeds, a third each with 0, 5 and 20 % faults.
soak SEEDS="1000" FROM="0":
    SIMULATION_SEEDS={{SEEDS}} SIMULATION_FROM={{FROM}} cargo test -p tests --test all simulation::invariants -- --nocapture

# Generates docs/openapi.json from the code.
openapi:
    cargo run -q -- openapi > docs/openapi.json

# Prints the table of error codes for docs/api.md.
errors:
    @cargo run -q -- errors

# Checks licences, sources and bans of the dependencies.
deny:
    cargo deny --all-features check licenses bans sources

# Runs everything that CI runs.
ci:
    bash .ci/run
