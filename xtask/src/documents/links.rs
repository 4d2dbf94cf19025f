//! Links to files and headings that don't exist.

use std::path::PathBuf;

use super::markdown::Document;
use super::resolve;
use crate::Failure;
use crate::cargo::root;

/// The dead links of a document.
pub(super) fn faults(document: &Document) -> Vec<String> {
    let mut faults = Vec::new();
    for (line, text) in &document.text {
        for target in targets(text) {
            if let Some(why) = fault(document, target) {
                let path = document.path.display();
                faults.push(format!("{path}:{line}: the link `{target}` {why}"));
            }
        }
        for file in source_files(text).filter(|file| !exists_somewhere(document, file)) {
            let path = document.path.display();
            faults.push(format!("{path}:{line}: the file `{file}` does not exist"));
        }
    }
    faults
}

/// The source files that a line names in code spans, with their folder.
fn source_files(line: &str) -> impl Iterator<Item = &str> {
    let spans = line.split('`').skip(1).step_by(2);
    spans.filter(|span| {
        span.contains('/')
            && (span.ends_with(".rs") || span.ends_with(".lua"))
            && !span.contains([' ', '*', '{'])
    })
}

/// A file may be named from the root, from `crates/`, or from the folder of the document.
fn exists_somewhere(document: &Document, file: &str) -> bool {
    let beside = resolve(&document.path, file);
    [root().join(file), root().join("crates").join(file), root().join(beside)]
        .iter()
        .any(|path| path.exists())
}

/// The page of the guide that log texts lead to.
const ERRORS: &str = "crates/kvolt/src/guide/errors.md";

/// The sections of the guide's page on errors that log texts name and that don't exist.
pub(super) fn dead_help(sources: &[PathBuf]) -> Result<Vec<String>, Failure> {
    let sections = Document::read(PathBuf::from(ERRORS))?.anchors();
    let mut faults = Vec::new();
    for source in sources.iter().filter(|path| path.starts_with("crates")) {
        for rest in super::read(source)?.split("help!(\"").skip(1) {
            let section = rest.split('"').next().unwrap_or_default();
            if !sections.iter().any(|existing| existing == section) {
                faults.push(format!("{}: {ERRORS} has no section `{section}`", source.display()));
            }
        }
    }
    Ok(faults)
}

/// The targets of the links in a line: `[text](target)` and `[label]: target`.
fn targets(line: &str) -> Vec<&str> {
    let mut targets = Vec::new();
    // Code spans have no links.
    let mut prose = line.to_owned();
    while let Some(start) = prose.find('`')
        && let Some(len) = prose[start + 1..].find('`')
    {
        prose.replace_range(start..start + len + 2, &" ".repeat(len + 2));
    }
    for (at, _) in prose.match_indices("](") {
        if let Some(len) = line[at + 2..].find(')') {
            targets.push(&line[at + 2..at + 2 + len]);
        }
    }
    if prose.starts_with('[')
        && let Some((_, target)) = line.split_once("]: ")
    {
        targets.push(target.trim());
    }
    targets
}

/// Why a link is dead.
fn fault(document: &Document, target: &str) -> Option<String> {
    if ["https://", "http://", "mailto:"].iter().any(|scheme| target.starts_with(scheme)) {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    if file.contains("::") {
        return Some(
            "leads nowhere on a code host; define its label where the file is included".into(),
        );
    }
    let path = match file {
        "" => document.path.clone(),
        file => resolve(&document.path, file),
    };
    if path != document.path && !root().join(&path).exists() {
        return Some("leads to a file that does not exist".into());
    }
    if anchor.is_empty() || path.extension().is_none_or(|extension| extension != "md") {
        return None;
    }
    let other;
    let linked = if path == document.path {
        document
    } else {
        other = Document::read(path).ok()?;
        &other
    };
    let exists = linked.anchors().iter().any(|heading| heading == anchor);
    (!exists).then(|| "names a heading that does not exist".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_link_are_found_and_code_is_not() {
        assert_eq!(targets("see [a](b.md) and `[c](d.md)`, [e](f.md#g)"), ["b.md", "f.md#g"]);
        assert_eq!(targets("[label]: some/file.md"), ["some/file.md"]);
    }

    #[test]
    fn dead_links_are_found() {
        let text = "# One\n[a](Cargo.toml) [b](#one) [c](#two) [d](nothing.md) [e](crate::Type)\n";
        let document = Document::parse(PathBuf::from("x.md"), text);
        assert_eq!(faults(&document).len(), 3);
    }
}
