# `just` lists the recipes.

default:
    @just --list

# Starts the local stack.
run *ARGS:
    cargo run -- {{ARGS}}

# Runs every test.
test:
    cargo test --workspace

# Runs the tests against the real DynamoDB Local (needs Java 17 and Maven, or Docker).
test-dynamodb-local:
    bash local/sam/engine.sh up
    TEST_DYNAMODB_ENDPOINT=http://127.0.0.1:8124 cargo test -p tests; status=$?; bash local/sam/engine.sh down; exit $status

# Formats, lints and documents, as CI does.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Drives the local stack with the vendor's Python clients (needs python3).
sdk:
    cargo build
    bash local/sdk/run.sh

# Drives the local stack from its OpenAPI document (needs python3); `EXAMPLES=1000 SEED=random just schemathesis` is a soak.
schemathesis *ARGS:
    cargo build
    bash local/schemathesis/run.sh {{ARGS}}

# Runs the property tests over the API with many cases, and says with how many.
fuzz CASES="20000":
    PROPTEST_CASES={{CASES}} cargo test -p tests --test all -- fuzz:: --nocapture --test-threads=2

# Checks template.yaml: sam validate, cfn-lint, checkov.
sam-check:
    bash local/sam/check.sh

# Builds every function as it is deployed, and says what each weighs.
sam-build:
    bash local/sam/build.sh

# Invokes every event of events/ in Lambda's container, against the real DynamoDB Local.
sam-invoke:
    bash local/sam/invoke-all.sh

# Serves the API from Lambda's containers until Ctrl-C.
sam:
    bash local/sam/start-api.sh

# What usage costs: records a second, calls a workspace, memory; `just bench small` takes a minute.
bench *ARGS:
    cargo bench -p tests --bench usage -- {{ARGS}}

# Lives of usage against plain arithmetic: as many as told.
usage-soak SEEDS="500":
    USAGE_SEEDS={{SEEDS}} cargo test -p tests --test all usage_model

# Lives of people, with faults, against every invariant: as many seeds as told, of which a third each at 0, 5 and 20 % faults.
soak SEEDS="1000" FROM="0":
    SIMULATION_SEEDS={{SEEDS}} SIMULATION_FROM={{FROM}} cargo test -p tests --test all simulation::what -- --nocapture

# Writes docs/openapi.json from the code.
openapi:
    cargo run -q -- openapi > docs/openapi.json

# Prints the table of error codes for docs/api.md.
errors:
    @cargo run -q -- errors

# Licences, sources and bans of the dependencies.
deny:
    cargo deny --all-features check licenses bans sources

# Everything that CI runs.
ci:
    bash .ci/run
