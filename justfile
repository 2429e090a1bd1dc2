# `just` lists the recipes.

default:
    @just --list

# Starts the local stack.
run *ARGS:
    cargo run -- {{ARGS}}

# Runs every test.
test:
    cargo test --workspace

# Formats, lints and documents, as CI does.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Writes docs/openapi.json from the code.
openapi:
    cargo run -q -- openapi > docs/openapi.json

# Licences, sources and bans of the dependencies.
deny:
    cargo deny --all-features check licenses bans sources

# Everything that CI runs.
ci:
    bash .ci/run
