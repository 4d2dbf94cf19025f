//! A Markdown file as the checks need it: its text, its headings and its fenced blocks.

use std::path::PathBuf;

use crate::Failure;

/// A Markdown file.
pub(super) struct Document {
    /// Relative to the root of the repository.
    pub(super) path: PathBuf,
    /// The lines outside of fenced blocks, with their numbers.
    pub(super) text: Vec<(usize, String)>,
    pub(super) blocks: Vec<Block>,
}

/// A fenced block.
pub(super) struct Block {
    /// The number of its first line.
    pub(super) line: usize,
    /// The words after the fence, such as `rust` and `no_run`.
    pub(super) info: Vec<String>,
    pub(super) lines: Vec<String>,
}

impl Document {
    pub(super) fn read(path: PathBuf) -> Result<Self, Failure> {
        let text = super::read(&path)?;
        Ok(Self::parse(path, &text))
    }

    pub(super) fn parse(path: PathBuf, markdown: &str) -> Self {
        let (mut text, mut blocks) = (Vec::new(), Vec::new());
        let mut open: Option<(String, Block)> = None;
        for (at, line) in markdown.lines().enumerate() {
            let trimmed = line.trim_start();
            match &mut open {
                Some((fence, _)) if trimmed.trim_end() == *fence => {
                    blocks.extend(open.take().map(|(_, block)| block));
                }
                Some((_, block)) => block.lines.push(line.to_owned()),
                None if trimmed.starts_with("```") => {
                    let info = trimmed.trim_start_matches('`');
                    let fence = trimmed[..trimmed.len() - info.len()].to_owned();
                    let info = info.split(',').map(|word| word.trim().to_owned()).collect();
                    open = Some((fence, Block { line: at + 2, info, lines: Vec::new() }));
                }
                None => text.push((at + 1, line.to_owned())),
            }
        }
        Self { path, text, blocks }
    }

    /// The names by which its headings are linked.
    pub(super) fn anchors(&self) -> Vec<String> {
        let headings = self.text.iter().filter(|(_, line)| line.starts_with('#'));
        headings.map(|(_, line)| anchor(line.trim_start_matches('#').trim())).collect()
    }
}

impl Block {
    pub(super) fn is(&self, language: &str) -> bool {
        self.info.first().is_some_and(|word| word == language)
    }

    /// Whether rustdoc does not compile it.
    pub(super) fn is_ignored(&self) -> bool {
        self.info.iter().any(|word| word == "ignore")
    }

    /// The file of an example that contains it.
    pub(super) fn example(&self) -> Option<&str> {
        self.info.iter().map(String::as_str).find(|word| word.starts_with("examples/"))
    }

    pub(super) fn code(&self) -> String {
        self.lines.join("\n") + "\n"
    }
}

/// The anchor of a heading: lower case, words joined by hyphens, punctuation left out.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_headings_are_told_apart() {
        let text = "# Why `get`, and not *set*?\n```rust,no_run\n# hidden\n```\nprose\n";
        let document = Document::parse(PathBuf::from("a.md"), text);
        assert_eq!(document.anchors(), ["why-get-and-not-set"]);
        assert_eq!(document.text.len(), 2);
        assert_eq!((document.blocks[0].line, document.blocks[0].is("rust")), (3, true));
    }
}
