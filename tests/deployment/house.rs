//! The rules of the house that no compiler keeps: what is written twice is equal, and what stands apart stays apart.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use shared::config::VARIABLES;
use shared::error::markdown;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

pub(super) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files below a folder whose names end as told.
pub(super) fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_str().unwrap().ends_with(ending) {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "no {ending} below {folder}");
    found
}

/// A Rust file's lines of code: without its tests and comments.
pub(super) fn code(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(str::to_owned)
        .collect()
}

/// `name/file` of a path below the root.
pub(super) fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned()
}

#[test]
fn docs_have_the_table_of_errors_word_for_word() {
    let page = read("docs/api.md");
    assert!(
        page.contains(&markdown()),
        "replace the table of errors in docs/api.md by the output of: cargo run -- errors"
    );
}

#[test]
fn the_openapi_document_is_the_one_that_is_committed() {
    let generated = serde_json::to_value(local::stack::openapi()).unwrap();
    let committed: Value = serde_json::from_str(&read("docs/openapi.json")).unwrap();
    assert!(
        generated == committed,
        "write it anew: cargo run -- openapi > docs/openapi.json"
    );
}

#[test]
fn keys_are_made_in_one_file() {
    for path in files("shared/src", ".rs").into_iter().chain(files("functions", ".rs")) {
        if path.ends_with("store/keys.rs") {
            continue;
        }
        for line in code(&path) {
            // A `#` behind a letter, a digit or a placeholder, inside a string, is a key; in an expression it begins a name.
            let line = line.replace("r#\"", "").replace("\"#", "");
            for literal in line.split('"').skip(1).step_by(2) {
                let bytes = literal.as_bytes();
                let makes_key = bytes
                    .windows(2)
                    .any(|pair| pair[1] == b'#' && (pair[0].is_ascii_alphanumeric() || pair[0] == b'}'));
                assert!(
                    !makes_key || literal.starts_with("/errors#"),
                    "{} makes a key: {line}",
                    shown(&path)
                );
            }
        }
    }
}

#[test]
fn no_entropy_comes_from_jitter() {
    let config = read(".cargo/config.toml");
    let set = config
        .lines()
        .any(|line| line.trim() == r#"AWS_LC_SYS_NO_JITTER_ENTROPY = "1""#);
    assert!(set, "without it the first TLS call of a cold start takes 60 ms longer");
    assert!(config.contains("[env]"));
}

#[test]
fn a_panic_does_not_end_the_environment() {
    let manifest = read("Cargo.toml");
    let release = manifest.split("[profile.release]").nth(1).unwrap();
    let set = release
        .lines()
        .take_while(|line| !line.starts_with('['))
        .any(|line| line.trim() == r#"panic = "unwind""#);
    assert!(set, "cargo-lambda builds with \"abort\" where the profile is silent");
}

#[test]
fn functions_stand_apart() {
    let names: Vec<String> = fs::read_dir(root().join("functions"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.len() >= 6, "{names:?}");
    let depends = |manifest: &str, name: &str| {
        manifest
            .lines()
            .any(|line| line.split(['.', ' ', '=']).next() == Some(name))
    };
    for name in &names {
        let manifest = read(&format!("functions/{name}/Cargo.toml"));
        assert!(
            manifest.contains(&format!("name = \"{name}\"")),
            "functions/{name} is another crate"
        );
        let (_, dependencies) = manifest.split_once("dependencies]").unwrap();
        for other in names.iter().map(String::as_str).chain(["local", "tests"]) {
            assert!(!depends(dependencies, other), "functions/{name} depends on {other}");
        }
        let main = code(&root().join(format!("functions/{name}/src/main.rs")));
        assert!(main.len() <= 12, "functions/{name}/src/main.rs does more than start");
    }
    let shared = read("shared/Cargo.toml");
    for name in names.iter().map(String::as_str).chain(["local"]) {
        let (_, dependencies) = shared.split_once("dependencies]").unwrap();
        assert!(!depends(dependencies, name), "shared depends on {name}");
    }
}

/// Fails when a file below `folder` names one of `words` in its code.
#[track_caller]
fn knows_nothing_of(folder: &str, words: &[&str]) {
    for path in files(folder, ".rs") {
        for line in code(&path) {
            for word in words {
                assert!(!line.contains(word), "{} knows {word}: {line}", shown(&path));
            }
        }
    }
}

#[test]
fn layers_know_what_they_may() {
    knows_nothing_of(
        "shared/src/models",
        &[
            "axum",
            "aws_sdk",
            "crate::store",
            "crate::http",
            "crate::auth",
            "crate::app",
        ],
    );
    knows_nothing_of(
        "shared/src/store",
        &[
            "axum",
            "crate::http",
            "crate::app",
            "crate::authorize",
            "crate::mailer",
            "lambda",
        ],
    );
    knows_nothing_of(
        "shared/src/auth",
        &[
            "axum",
            "aws_sdk",
            "crate::store",
            "crate::app",
            "crate::authorize",
            "lambda",
        ],
    );
    knows_nothing_of("functions", &["aws_sdk", "lambda_http", "lambda_runtime", "std::env"]);
    for path in files("shared/src", ".rs") {
        let shown = shown(&path);
        let may = [
            "shared/src/store",
            "shared/src/mailer",
            "shared/src/aws.rs",
            "shared/src/aws/",
        ]
        .iter()
        .any(|place| shown.starts_with(place));
        let calls = code(&path).iter().any(|line| line.contains("aws_sdk"));
        assert!(may || !calls, "{shown} calls AWS");
    }
}

#[test]
fn every_variable_is_described() {
    let pages: String = ["docs/operations.md", "README.md", "docs/architecture.md"]
        .iter()
        .filter_map(|page| fs::read_to_string(root().join(page)).ok())
        .collect();
    let missing: Vec<_> = VARIABLES
        .iter()
        .filter(|variable| !pages.contains(&format!("`{variable}`")))
        .collect();
    assert!(missing.is_empty(), "no page describes {missing:?}");
}

#[test]
fn secrets_are_compared_in_constant_time_or_not_at_all() {
    let places: Vec<PathBuf> = ["shared/src", "functions", "local/src"]
        .iter()
        .flat_map(|folder| files(folder, ".rs"))
        .collect();
    let mut comparing = BTreeSet::new();
    for path in &places {
        for line in code(path) {
            assert!(
                !(line.contains(".expose()") && line.contains("==")),
                "{}: {line}",
                shown(path)
            );
            if line.contains("verify_slices_are_equal") {
                comparing.insert(shown(path));
            }
        }
    }
    // An invitation's token, a refresh token's tag, a cursor's tag. Tokens' signatures and passwords are their libraries'.
    let expected = [
        "shared/src/auth/refresh.rs",
        "shared/src/secret.rs",
        "shared/src/store/cursor.rs",
    ];
    assert_eq!(comparing, expected.map(str::to_owned).into());
    let secrets = [
        ("shared/src/secret.rs", "Secret"),
        ("shared/src/secret.rs", "DerivedKey"),
        ("shared/src/secret.rs", "SecretHash"),
        ("shared/src/models/user.rs", "PasswordHash"),
    ];
    for (path, name) in secrets {
        let lines = code(&root().join(path));
        let place = lines
            .iter()
            .position(|line| line.starts_with(&format!("pub struct {name}(")))
            .unwrap();
        let attributes: Vec<&String> = lines[..place]
            .iter()
            .rev()
            .take_while(|line| line.starts_with('#'))
            .collect();
        assert!(!attributes.is_empty(), "{name} is not read rightly");
        let is_equatable = attributes.iter().any(|line| line.contains("PartialEq"))
            || lines.iter().any(|line| line.contains(&format!("PartialEq for {name}")));
        assert!(!is_equatable, "{name} has an `==`");
    }
}
