//! Types of other projects in public signatures.

use std::collections::BTreeSet;

use serde_json::Value;

/// Crates whose types every Rust program has.
const OWN: [&str; 3] = ["std", "core", "alloc"];

/// The paths of foreign types that the crate's own items name.
pub(crate) fn types(json: &Value) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for item in json["index"].as_object().into_iter().flat_map(|index| index.values()) {
        let is_own = item["crate_id"] == 0;
        let is_public = item["visibility"] == "public" || item["visibility"] == "default";
        let is_derived = item["attrs"].to_string().contains("automatically_derived");
        let is_blanket = !item["inner"]["impl"]["blanket_impl"].is_null();
        let is_synthetic = item["inner"]["impl"]["is_synthetic"] == true;
        if is_own && is_public && !is_derived && !is_blanket && !is_synthetic {
            collect(&item["inner"], &mut ids);
        }
    }
    ids.iter().filter_map(|id| path(json, id)).collect()
}

/// The ids of the types and traits that a part of an item names.
fn collect(part: &Value, ids: &mut BTreeSet<String>) {
    match part {
        Value::Object(fields) => {
            if let (Some(id), Some(_)) = (fields.get("id"), fields.get("path")) {
                ids.insert(id.to_string());
            }
            fields.values().for_each(|field| collect(field, ids));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, ids)),
        _ => {}
    }
}

fn path(json: &Value, id: &str) -> Option<String> {
    let summary = &json["paths"][id];
    let krate = summary["crate_id"].as_u64().filter(|krate| *krate != 0)?;
    let name = json["external_crates"][krate.to_string()]["name"].as_str()?;
    if OWN.contains(&name) || name.starts_with("kvolt") {
        return None;
    }
    let path = summary["path"].as_array()?.iter().filter_map(Value::as_str);
    Some(path.collect::<Vec<_>>().join("::"))
}
