//! Every library crate with none of its features, with the default ones, with each alone, with all.

use serde_json::Value;

use crate::Failure;
use crate::cargo::{self, cargo};

pub(crate) fn check() -> Result<(), Failure> {
    let metadata = cargo::output(&mut cargo(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&metadata)
        .map_err(|error| format!("cargo metadata can't be read: {error}"))?;
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        for choice in choices(package) {
            let mut clippy = cargo(["clippy", "--package", name, "--lib"]);
            cargo::run(clippy.args(choice).args(["--", "-D", "warnings"]))?;
        }
    }
    Ok(())
}

/// The command lines that pick the combinations of a library's features; none for other packages.
fn choices(package: &Value) -> Vec<Vec<String>> {
    let has_library = package["targets"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|target| target["kind"].as_array().into_iter().flatten())
        .any(|kind| kind == "lib");
    if !has_library {
        return Vec::new();
    }
    let mut choices = vec![Vec::new()];
    let features: Vec<&String> =
        package["features"].as_object().into_iter().flat_map(|features| features.keys()).collect();
    if features.is_empty() {
        return choices;
    }
    choices.push(vec!["--no-default-features".to_owned()]);
    for feature in features {
        if feature != "default" {
            choices
                .push(["--no-default-features", "--features", feature].map(str::to_owned).into());
        }
    }
    choices.push(vec!["--all-features".to_owned()]);
    choices
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_program_has_no_combinations() {
        assert!(choices(&json!({ "targets": [{ "kind": ["bin"] }], "features": {} })).is_empty());
    }

    #[test]
    fn a_library_without_features_is_checked_once() {
        let package = json!({ "targets": [{ "kind": ["lib"] }], "features": {} });
        assert_eq!(choices(&package), [Vec::<String>::new()]);
    }

    #[test]
    fn a_library_is_checked_with_none_each_and_all() {
        let package = json!({
            "targets": [{ "kind": ["lib"] }],
            "features": { "default": ["axum"], "axum": [], "json": [] },
        });
        let lines: Vec<String> = choices(&package).iter().map(|choice| choice.join(" ")).collect();
        assert_eq!(
            lines,
            [
                "",
                "--no-default-features",
                "--no-default-features --features axum",
                "--no-default-features --features json",
                "--all-features",
            ]
        );
    }
}
