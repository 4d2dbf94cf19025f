//! Public items without an example.

use std::collections::HashSet;

use serde_json::Value;

/// Kinds of items that an example must show.
const KINDS: [&str; 4] = ["struct", "enum", "trait", "function"];

/// The names of the crate's public types, functions and methods that no example shows.
pub(crate) fn missing(json: &Value) -> Vec<String> {
    let index = &json["index"];
    let items = || index.as_object().into_iter().flat_map(|index| index.values());
    let own = || items().filter(|item| item["crate_id"] == 0);
    let examples: String = own().flat_map(code).collect::<Vec<_>>().join("\n");
    let words: HashSet<&str> = examples.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let mut missing = Vec::new();
    for item in own() {
        let id = item["id"].to_string();
        let kind = json["paths"][&id]["kind"].as_str().unwrap_or_default();
        let (Some(name), true) = (item["name"].as_str(), KINDS.contains(&kind)) else { continue };
        if item["visibility"] != "public" || !is_named(json, &id) {
            continue;
        }
        let methods = methods(index, item);
        let has_its_own = code(item).len() + methods.iter().flat_map(|one| code(one)).count() > 0;
        if !has_its_own && !words.contains(name) {
            missing.push(format!("{kind} `{name}`"));
        }
        for method in methods {
            let of = method["name"].as_str().unwrap_or_default();
            let is_called = [".", "::"].iter().any(|before| {
                ["(", "::<"].iter().any(|after| examples.contains(&format!("{before}{of}{after}")))
            });
            if code(method).is_empty() && !is_called {
                missing.push(format!("method `{name}::{of}`"));
            }
        }
    }
    missing.sort();
    missing.dedup();
    missing
}

/// Whether users can name an item: its whole path is public, or something public re-exports it.
fn is_named(json: &Value, id: &str) -> bool {
    let index = json["index"].as_object().into_iter().flat_map(|index| index.values());
    index.filter(|item| item["crate_id"] == 0).any(|item| {
        let inner = &item["inner"];
        let children = inner["module"]["items"].as_array().into_iter().flatten();
        let is_child = item["visibility"] == "public"
            && children.map(Value::to_string).any(|child| child == id);
        let used = inner["use"]["id"].as_u64().map(|used| used.to_string());
        let is_used = item["visibility"] == "public" && used.as_deref() == Some(id);
        is_child || is_used
    })
}

/// The public methods of a type, except those of traits.
fn methods<'a>(index: &'a Value, item: &'a Value) -> Vec<&'a Value> {
    let kind = item["inner"].as_object().and_then(|inner| inner.values().next());
    let Some(kind) = kind else { return Vec::new() };
    let impls = kind["impls"].as_array().into_iter().flatten();
    let inherent = impls
        .map(|id| &index[id.to_string()]["inner"]["impl"])
        .filter(|block| block["trait"].is_null() && block["items"].is_array())
        .flat_map(|block| block["items"].as_array().into_iter().flatten());
    inherent
        .map(|id| &index[id.to_string()])
        .filter(|method| {
            method["visibility"] == "public" && method["inner"]["function"].is_object()
        })
        .collect()
}

/// The code of an item's examples.
fn code(item: &Value) -> Vec<String> {
    let docs = item["docs"].as_str().unwrap_or_default();
    let blocks = docs.split("```").skip(1).step_by(2);
    let is_rust = |block: &&str| {
        let language = block.lines().next().unwrap_or_default();
        language.is_empty()
            || ["rust", "no_run", "should_panic", "compile_fail"]
                .iter()
                .any(|word| language.contains(word))
    };
    blocks.filter(is_rust).map(String::from).collect()
}
