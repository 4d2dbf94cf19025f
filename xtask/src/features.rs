//! Every library crate with none of its features, with the default ones, with each alone, with all.
//! None but the feature `testing` itself switches on what is for tests only.

use serde_json::Value;

use crate::Failure;
use crate::cargo::{self, cargo};

pub(crate) fn check() -> Result<(), Failure> {
    let metadata = cargo::output(&mut cargo(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&metadata)
        .map_err(|error| format!("cargo metadata can't be read: {error}"))?;
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let testing = switches_testing_on(package);
        if !testing.is_empty() {
            return Err(format!("`testing` is for tests only: {}", testing.join(", ")));
        }
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

/// The features and dependencies of a published package that switch the feature `testing` on, in it
/// or in another. `kvolt-testkit` is itself for tests only.
fn switches_testing_on(package: &Value) -> Vec<String> {
    let name = package["name"].as_str().unwrap_or_default();
    let is_published = package["publish"].as_array().is_none_or(|to| !to.is_empty());
    if name == "kvolt-testkit" || !is_published {
        return Vec::new();
    }
    let is_testing = |enabled: &Value| {
        enabled.as_str().is_some_and(|enabled| enabled.rsplit('/').next() == Some("testing"))
    };
    let features = package["features"].as_object().into_iter().flatten();
    let features = features
        .filter(|(feature, _)| *feature != "testing")
        .filter(|(_, enabled)| enabled.as_array().into_iter().flatten().any(is_testing))
        .map(|(feature, _)| format!("the feature `{feature}` of {name}"));
    let dependencies = package["dependencies"].as_array().into_iter().flatten();
    let dependencies = dependencies
        .filter(|dependency| dependency["kind"].is_null())
        .filter(|dependency| {
            dependency["features"].as_array().into_iter().flatten().any(is_testing)
        })
        .map(|dependency| format!("{name} depends on {} with it", dependency["name"]));
    features.chain(dependencies).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_feature_testing_is_for_tests() {
        let faults = |features: Value, dependency: Value| {
            let dependencies = json!([dependency]);
            let package =
                json!({ "name": "a", "features": features, "dependencies": dependencies });
            switches_testing_on(&package).len()
        };
        let (none, on) = (json!({ "kind": null, "features": [] }), json!(["b/testing"]));
        assert_eq!(faults(json!({ "testing": on }), none.clone()), 0);
        assert_eq!(faults(json!({ "default": on }), none.clone()), 1);
        assert_eq!(faults(json!({ "default": ["json"], "json": ["testing"] }), none), 1);
        let testing = json!(["testing"]);
        assert_eq!(faults(json!({}), json!({ "kind": "dev", "features": testing })), 0);
        assert_eq!(faults(json!({}), json!({ "kind": null, "features": testing })), 1);
    }

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
