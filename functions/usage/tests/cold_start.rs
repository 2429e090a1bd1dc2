//! The function's own binary, started as Lambda starts it.

use std::process::Command;

use serde_json::Value;

#[test]
fn a_bad_environment_ends_the_cold_start_with_one_line_that_names_every_variable() {
    let ended = Command::new(env!("CARGO_BIN_EXE_usage")).env_clear().output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
    let log = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(log.lines().count(), 1, "{log}");
    let line: Value = serde_json::from_str(&log).unwrap();
    assert_eq!(line["level"], "ERROR");
    let error = line["error"].as_str().unwrap();
    for variable in [
        "TABLE_NAME",
        "TOKEN_ISSUER",
        "TOKEN_AUDIENCE",
        "MAIL_FROM",
        "AWS_REGION",
    ] {
        assert!(error.contains(&format!("{variable} is not set")), "{error}");
    }
}
