//! Conventions of the code that the compiler does not check: duplicated facts agree, and layers stay separate.

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

/// The files below `folder` whose names end with `ending`.
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

/// The lines of a Rust file without tests and comments.
pub(super) fn code(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(str::to_owned)
        .collect()
}

/// A path relative to the root of the repository.
pub(super) fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned()
}

#[test]
fn docs_have_the_table_of_errors_word_for_word() {
    let page = read("docs/api.md");
    assert!(
        page.contains(&format!("\n\n{}\n\n", markdown())),
        "replace the table of errors in docs/api.md by the output of: cargo run -- errors"
    );
}

#[test]
fn the_committed_openapi_document_is_current() {
    let generated = serde_json::to_value(local::stack::openapi()).unwrap();
    let committed: Value = serde_json::from_str(&read("docs/openapi.json")).unwrap();
    assert!(
        generated == committed,
        "write it with: cargo run -- openapi > docs/openapi.json"
    );
}

#[test]
fn keys_are_built_in_one_file() {
    for path in files("shared/src", ".rs").into_iter().chain(files("functions", ".rs")) {
        if path.ends_with("store/keys.rs") {
            continue;
        }
        for line in code(&path) {
            // A `#` after a letter, a digit or a placeholder in a string makes a key. In an expression it begins a name.
            let line = line.replace("r#\"", "").replace("\"#", "");
            for literal in line.split('"').skip(1).step_by(2) {
                let bytes = literal.as_bytes();
                let is_key = bytes
                    .windows(2)
                    .any(|pair| pair[1] == b'#' && (pair[0].is_ascii_alphanumeric() || pair[0] == b'}'));
                assert!(
                    !is_key || literal.starts_with("/errors#"),
                    "{} builds a key: {line}",
                    shown(&path)
                );
            }
        }
    }
}

#[test]
fn jitter_entropy_is_disabled() {
    let config = read(".cargo/config.toml");
    let set = config
        .lines()
        .any(|line| line.trim() == r#"AWS_LC_SYS_NO_JITTER_ENTROPY = "1""#);
    assert!(
        set,
        "with jitter entropy, the first TLS call of a cold start takes 60 ms longer"
    );
    assert!(config.contains("[env]"));
}

#[test]
fn a_panic_does_not_end_the_execution_environment() {
    let manifest = read("Cargo.toml");
    let release = manifest.split("[profile.release]").nth(1).unwrap();
    let set = release
        .lines()
        .take_while(|line| !line.starts_with('['))
        .any(|line| line.trim() == r#"panic = "unwind""#);
    assert!(
        set,
        "cargo-lambda builds with \"abort\" if the profile does not set `panic`"
    );
}

#[test]
fn functions_do_not_depend_on_each_other() {
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
            "the crate in functions/{name} has another name"
        );
        let (_, dependencies) = manifest.split_once("dependencies]").unwrap();
        for other in names.iter().map(String::as_str).chain(["local", "tests"]) {
            assert!(!depends(dependencies, other), "functions/{name} depends on {other}");
        }
        let main = code(&root().join(format!("functions/{name}/src/main.rs")));
        assert!(
            main.len() <= 12,
            "functions/{name}/src/main.rs does more than the cold start"
        );
    }
    let shared = read("shared/Cargo.toml");
    for name in names.iter().map(String::as_str).chain(["local"]) {
        let (_, dependencies) = shared.split_once("dependencies]").unwrap();
        assert!(!depends(dependencies, name), "shared depends on {name}");
    }
}

/// Asserts that no code below `folder` contains one of `words`.
#[track_caller]
fn assert_never_uses(folder: &str, words: &[&str]) {
    for path in files(folder, ".rs") {
        for line in code(&path) {
            for word in words {
                assert!(!line.contains(word), "{} uses {word}: {line}", shown(&path));
            }
        }
    }
}

#[test]
fn each_layer_uses_only_the_layers_below_it() {
    assert_never_uses(
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
    assert_never_uses(
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
    assert_never_uses(
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
    assert_never_uses("functions", &["aws_sdk", "lambda_http", "lambda_runtime", "std::env"]);
    for path in files("shared/src", ".rs") {
        let shown = shown(&path);
        let is_permitted = [
            "shared/src/store",
            "shared/src/mailer",
            "shared/src/aws.rs",
            "shared/src/aws/",
        ]
        .iter()
        .any(|prefix| shown.starts_with(prefix));
        let calls = code(&path).iter().any(|line| line.contains("aws_sdk"));
        assert!(is_permitted || !calls, "{shown} calls AWS");
    }
}

#[test]
fn every_environment_variable_is_documented() {
    let pages: String = ["docs/operations.md", "README.md", "docs/architecture.md"]
        .iter()
        .filter_map(|page| fs::read_to_string(root().join(page)).ok())
        .collect();
    let missing: Vec<_> = VARIABLES
        .iter()
        .filter(|variable| !pages.contains(&format!("`{variable}`")))
        .collect();
    assert!(missing.is_empty(), "not documented: {missing:?}");
}

#[test]
fn secrets_are_compared_in_constant_time_or_not_at_all() {
    let paths: Vec<PathBuf> = ["shared/src", "functions", "local/src"]
        .iter()
        .flat_map(|folder| files(folder, ".rs"))
        .collect();
    let mut comparing = BTreeSet::new();
    for path in &paths {
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
    // The tag of a refresh token, the token of an invitation, and the tag of a cursor. Libraries compare the signatures
    // of access tokens and passwords.
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
        let index = lines
            .iter()
            .position(|line| line.starts_with(&format!("pub struct {name}(")))
            .unwrap();
        let attributes: Vec<&String> = lines[..index]
            .iter()
            .rev()
            .take_while(|line| line.starts_with('#'))
            .collect();
        assert!(!attributes.is_empty(), "the attributes of {name} were not found");
        let is_equatable = attributes.iter().any(|line| line.contains("PartialEq"))
            || lines.iter().any(|line| line.contains(&format!("PartialEq for {name}")));
        assert!(!is_equatable, "{name} has an `==`");
    }
}
