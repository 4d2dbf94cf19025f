//! That the documents name no test that does not exist.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Failure;

const DOCUMENTS: [&str; 2] = ["SECURITY.md", "docs/guarantees.md"];

pub(crate) fn check() -> Result<(), Failure> {
    let mut sources = Vec::new();
    for folder in ["crates", "tests", "app"] {
        collect(Path::new(folder), &mut sources).map_err(|error| error.to_string())?;
    }
    let mut code = String::new();
    for source in &sources {
        code += &fs::read_to_string(source).map_err(|error| error.to_string())?;
    }
    for document in DOCUMENTS {
        let text = fs::read_to_string(document).map_err(|error| format!("{document}: {error}"))?;
        let exists = |name: &&str| {
            code.contains(&format!("fn {name}(")) || code.contains(&format!("fn {name}<"))
        };
        let (named, missing): (Vec<&str>, Vec<&str>) = tests_in(&text).partition(exists);
        if !missing.is_empty() {
            return Err(format!(
                "{document} names tests that don't exist:\n{}",
                missing.join("\n")
            ));
        }
        println!("{document} names {} tests, all of which exist", named.len());
    }
    Ok(())
}

/// Whatever stands in backquotes and reads like a sentence.
fn tests_in(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2).filter(|name| {
        name.matches('_').count() >= 3
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    })
}

fn collect(folder: &Path, sources: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sentences_in_backquotes_are_names_of_tests() {
        let text = "a `one_two_three_four` b_c_d_e `Type::new` `end_all` `x_y_Z_w`";
        assert_eq!(tests_in(text).collect::<Vec<_>>(), ["one_two_three_four"]);
    }
}
