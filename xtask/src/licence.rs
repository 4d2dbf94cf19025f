//! Whether a licence expression can be met with the licences that are allowed.

use std::collections::BTreeMap;

use crate::Failure;

/// The licences that `deny.toml` allows: the strings of `allow` in its `[licenses]`.
pub(crate) fn allowed(deny_toml: &str) -> Result<Vec<String>, Failure> {
    let list = section(deny_toml, "licenses")
        .ok_or("deny.toml has no section [licenses]")?
        .split_once("\nallow = [")
        .and_then(|(_, rest)| rest.split_once(']'))
        .map(|(list, _)| list)
        .ok_or("[licenses] of deny.toml has no list `allow`")?;
    Ok(strings(list))
}

/// The licences that `deny.toml` allows for single crates: the lines `{ crate = "name", allow = ["licence"] },`
/// in its `[licenses]`.
pub(crate) fn exceptions(deny_toml: &str) -> BTreeMap<String, Vec<String>> {
    let entries = entries(deny_toml, "licenses", "{ crate = ");
    entries.filter_map(|words| Some((words.first()?.clone(), words[1..].to_vec()))).collect()
}

/// The advisories that `deny.toml` ignores, each with the crate that it is about: the lines
/// `{ id = "RUSTSEC-…", reason = "name: why" },` in its `[advisories]`.
pub(crate) fn ignored_advisories(deny_toml: &str) -> BTreeMap<String, String> {
    let entries = entries(deny_toml, "advisories", "{ id = ");
    let crate_of = |reason: &String| reason.split(':').next().unwrap_or_default().to_owned();
    entries
        .filter_map(|words| {
            Some((words.first()?.clone(), words.get(1).map_or_else(String::new, crate_of)))
        })
        .collect()
}

/// The strings of each line of a section that begins so.
fn entries<'a>(
    deny_toml: &'a str,
    name: &str,
    beginning: &'a str,
) -> impl Iterator<Item = Vec<String>> + 'a {
    let lines = section(deny_toml, name).unwrap_or_default().lines();
    lines.filter(move |line| line.trim_start().starts_with(beginning)).map(strings)
}

fn section<'a>(deny_toml: &'a str, name: &str) -> Option<&'a str> {
    let rest = |section: &'a str| section.strip_prefix(name)?.strip_prefix(']');
    deny_toml.split("\n[").find_map(rest)
}

fn strings(text: &str) -> Vec<String> {
    text.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether `expression` (SPDX) leaves a choice that uses only what is allowed.
///
/// The older form with a slash for "or" is understood. An expression that can't be parsed is not met.
pub(crate) fn is_met(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { words: &words, allowed };
    reader.any() == Some(true) && reader.words.is_empty()
}

struct Reader<'a> {
    words: &'a [&'a str],
    allowed: &'a [String],
}

impl Reader<'_> {
    /// Terms joined by OR. `None`: not an expression.
    fn any(&mut self) -> Option<bool> {
        let mut met = self.all()?;
        while self.next_is("OR") {
            met |= self.all()?;
        }
        Some(met)
    }

    /// Licences joined by AND.
    fn all(&mut self) -> Option<bool> {
        let mut met = self.one()?;
        while self.next_is("AND") {
            met &= self.one()?;
        }
        Some(met)
    }

    /// A licence, perhaps with an exception, or an expression in parentheses.
    fn one(&mut self) -> Option<bool> {
        if self.next_is("(") {
            let met = self.any()?;
            return self.next_is(")").then_some(met);
        }
        let (&name, rest) = self.words.split_first()?;
        if matches!(name, "OR" | "AND" | "WITH" | ")") {
            return None;
        }
        self.words = rest;
        let mut name = name.to_owned();
        if self.next_is("WITH") {
            let (exception, rest) = self.words.split_first()?;
            name = format!("{name} WITH {exception}");
            self.words = rest;
        }
        Some(self.allowed.contains(&name))
    }

    fn next_is(&mut self, word: &str) -> bool {
        match self.words.split_first() {
            Some((next, rest)) if *next == word => {
                self.words = rest;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(expression: &str) -> bool {
        is_met(expression, &["MIT".to_owned(), "Apache-2.0".to_owned(), "Unicode-3.0".to_owned()])
    }

    #[test]
    fn a_choice_is_enough_and_a_conjunction_needs_both() {
        assert!(met("MIT"));
        assert!(met("MIT OR GPL-3.0-only"));
        assert!(met("GPL-3.0-only/MIT"));
        assert!(met("(MIT OR GPL-3.0-only) AND Unicode-3.0"));
        assert!(!met("MIT AND GPL-3.0-only"));
        assert!(!met("GPL-3.0-only OR MIT AND GPL-2.0-only"));
    }

    #[test]
    fn an_exception_is_part_of_the_name() {
        assert!(!met("Apache-2.0 WITH LLVM-exception"));
        assert!(met("Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT"));
    }

    #[test]
    fn what_is_no_expression_is_not_met() {
        for expression in ["", "MIT OR", "(MIT", "MIT MIT", "OR MIT", "MIT)", "MIT WITH"] {
            assert!(!met(expression), "{expression}");
        }
    }

    #[test]
    fn the_list_is_read_from_its_own_section() {
        let text =
            "[graph]\nallow = [\"no\"]\n\n[licenses]\nallow = [\n  \"MIT\",\n  \"ISC\",\n]\n";
        assert_eq!(allowed(text), Ok(vec!["MIT".to_owned(), "ISC".to_owned()]));
        assert!(allowed("[graph]\nallow = [\"no\"]\n").is_err());
    }

    #[test]
    fn an_exception_names_its_crate_first() {
        let text =
            "[a]\n[licenses]\nexceptions = [\n  { crate = \"a\", allow = [\"MPL-2.0\"] },\n]\n";
        let expected = BTreeMap::from([("a".to_owned(), vec!["MPL-2.0".to_owned()])]);
        assert_eq!(exceptions(text), expected);
    }

    #[test]
    fn a_reason_begins_with_the_crate_of_the_advisory() {
        let text = "[a]\n[advisories]\nignore = [\n  { id = \"R-1\", reason = \"a: b: c\" },\n  { id = \"R-2\" },\n]\n";
        let expected = [("R-1", "a"), ("R-2", "")];
        let expected = expected.map(|(id, name)| (id.to_owned(), name.to_owned()));
        assert_eq!(ignored_advisories(text), BTreeMap::from(expected));
    }
}
