//! Rust snippets that a reader sees otherwise than the compiler does.

use std::path::{Path, PathBuf};

use super::markdown::Document;
use super::resolve;
use crate::Failure;

/// Hidden lines, and snippets that are not compiled. An ignored snippet may name a file of an example
/// that contains it, which is compiled there.
pub(super) fn faults(document: &Document) -> Vec<String> {
    let mut faults = Vec::new();
    for block in document.blocks.iter().filter(|block| block.is("rust")) {
        let path = document.path.display();
        match (block.is_ignored(), block.example()) {
            (true, None) => {
                faults.push(format!("{path}:{}: a snippet is not compiled (`ignore`)", block.line));
            }
            (true, Some(example)) => {
                let text = super::read(Path::new(example));
                if !text.is_ok_and(|text| contains(&text, &block.lines)) {
                    faults.push(format!("{path}:{}: {example} has other lines", block.line));
                }
            }
            (false, _) => {}
        }
        for (at, line) in block.lines.iter().enumerate() {
            if line.trim() == "#" || line.trim_start().starts_with("# ") {
                faults.push(format!("{path}:{}: a line is hidden from readers", block.line + at));
            }
        }
    }
    faults
}

/// Whether a text has these lines in a row, at any indentation.
fn contains(text: &str, lines: &[String]) -> bool {
    let text: Vec<&str> = text.lines().map(str::trim).collect();
    let lines: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
    lines.iter().any(|line| !line.is_empty())
        && text.windows(lines.len()).any(|window| window == lines)
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
    fn ignored_snippet_is_in_the_example_that_it_names() {
        let faults = |example: &str, code: &str| {
            let text = format!("```rust,ignore,examples/{example}\n{code}\n```\n");
            faults(&Document::parse(PathBuf::from("x.md"), &text)).len()
        };
        let code = "#[tokio::main]\n  async fn main() -> std::io::Result<()> {";
        assert_eq!(faults("minimal/src/main.rs", code), 0);
        assert_eq!(faults("minimal/src/main.rs", "async fn main() {}"), 1);
        assert_eq!(faults("minimal/src/main.rs", ""), 1);
        assert_eq!(faults("none/src/main.rs", code), 1);
    }
}
