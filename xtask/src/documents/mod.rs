//! The Markdown files: their links, their snippets, and the programs in them.

mod links;
mod markdown;
mod programs;
mod snippets;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;
use crate::cargo::{self, root};
use crate::steps::Done;

use self::markdown::Document;

/// Checks all links and snippets, without building anything.
pub(crate) fn check() -> Result<(), Failure> {
    let documents = documents()?;
    let mut faults = Vec::new();
    for document in &documents {
        faults.extend(links::faults(document));
        faults.extend(snippets::faults(document));
    }
    let sources = files("*.rs")?;
    faults.extend(snippets::uncompiled(&documents, &sources)?);
    faults.extend(links::dead_help(&sources)?);
    if faults.is_empty() {
        println!(
            "{} documents have live links, and snippets as a reader sees them",
            documents.len()
        );
        return Ok(());
    }
    Err(faults.join("\n"))
}

/// Builds the programs of the README and the guide in a package of their own, and runs those that
/// need no server against the commands that stand below them.
pub(crate) fn run_programs() -> Result<Done, Failure> {
    programs::run(&documents()?)
}

fn documents() -> Result<Vec<Document>, Failure> {
    files("*.md")?.into_iter().map(Document::read).collect()
}

/// The files of a pattern that git does not ignore.
fn files(pattern: &str) -> Result<Vec<PathBuf>, Failure> {
    let mut list = Command::new("git");
    list.args(["ls-files", "--cached", "--others", "--exclude-standard", pattern]);
    let list = cargo::output(list.current_dir(root()))?;
    Ok(list.lines().map(PathBuf::from).filter(|path| root().join(path).is_file()).collect())
}

/// A file, read whole.
fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(root().join(path))
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// The path that a relative link in a document leads to, `..` resolved.
fn resolve(document: &Path, link: &str) -> PathBuf {
    let folder = document.parent().unwrap_or(Path::new(""));
    let mut path = PathBuf::new();
    for part in folder.join(link).components() {
        match part {
            std::path::Component::ParentDir => _ = path.pop(),
            std::path::Component::CurDir => {}
            part => path.push(part),
        }
    }
    path
}
