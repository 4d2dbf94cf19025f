//! Rust snippets that a reader sees otherwise than the compiler does.

use std::path::{Path, PathBuf};

use super::markdown::{Block, Document};
use super::resolve;
use crate::Failure;

/// Hidden lines, and snippets that are not compiled.
pub(super) fn faults(document: &Document) -> Vec<String> {
    let mut faults = Vec::new();
    for block in document.blocks.iter().filter(|block| block.is("rust")) {
        let path = document.path.display();
        match (block.info.iter().any(|word| word == "ignore"), block.source()) {
            (true, None) => {
                faults.push(format!("{path}:{}: a snippet is not compiled (`ignore`)", block.line));
            }
            (_, Some(source)) if !is_part_of(block, source) => {
                faults.push(format!("{path}:{}: the snippet is not in `{source}`", block.line));
            }
            _ => {}
        }
        for (at, line) in block.lines.iter().enumerate() {
            if line.trim() == "#" || line.trim_start().starts_with("# ") {
                faults.push(format!("{path}:{}: a line is hidden from readers", block.line + at));
            }
        }
    }
    faults
}

/// Whether a snippet is in the example that its fence names, which is compiled and tested there.
fn is_part_of(block: &Block, source: &str) -> bool {
    super::read(Path::new(source)).is_ok_and(|text| text.contains(&block.code()))
}

/// The documents with Rust snippets that no crate includes in its documentation.
pub(super) fn uncompiled(
    documents: &[Document],
    sources: &[PathBuf],
) -> Result<Vec<String>, Failure> {
    let mut included = Vec::new();
    for source in sources {
        let text = super::read(source)?;
        for (_, rest) in
            text.match_indices("include_str!(\"").map(|(at, word)| text[at..].split_at(word.len()))
        {
            included.extend(rest.split('"').next().map(|link| resolve(source, link)));
        }
    }
    let has_rust = |document: &&Document| document.blocks.iter().any(|block| block.is("rust"));
    let uncompiled =
        documents.iter().filter(has_rust).filter(|document| !included.contains(&document.path));
    Ok(uncompiled
        .map(|document| format!("{}: no crate compiles its snippets", document.path.display()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_and_ignored_code_is_found() {
        let text = "```rust,ignore\nlet a = 1;\n```\n```rust\n# let hidden = 1;\n#[derive(Debug)]\nstruct A;\n```\n";
        assert_eq!(faults(&Document::parse(PathBuf::from("x.md"), text)).len(), 2);
    }

    #[test]
    fn quoted_code_is_that_of_the_example() {
        let quote = |code: &str| {
            let text = format!("```rust,ignore,xtask/src/main.rs\n{code}\n```\n");
            faults(&Document::parse(PathBuf::from("x.md"), &text)).len()
        };
        assert_eq!(quote("mod snippets;"), 1);
        assert_eq!(quote("mod documents;"), 0);
    }
}
