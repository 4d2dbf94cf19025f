//! `CHANGELOG.md`, in the form of <https://keepachangelog.com>.

use crate::Failure;
use crate::cargo::root;
use crate::dependencies;
use crate::steps::Done;

const KINDS: [&str; 6] = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];

pub(crate) fn check() -> Result<Done, Failure> {
    let file = root().join("CHANGELOG.md");
    let text = std::fs::read_to_string(&file).map_err(super::at(&file))?;
    let version = dependencies::workspace_field("version")?;
    is_of(&text, &version)
}

/// Whether the top heading is this version's; left to do where it is `[Unreleased]`.
fn is_of(text: &str, version: &str) -> Result<Done, Failure> {
    let mut top = None;
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("### ")
            && !KINDS.contains(&kind)
        {
            return Err(format!("`### {kind}` is none of {}", KINDS.join(", ")));
        }
        let Some(heading) = line.strip_prefix("## ") else { continue };
        if !is_heading(heading) {
            return Err(format!("`## {heading}` is not `## [VERSION] - YYYY-MM-DD`"));
        }
        top = top.or(Some(heading));
    }
    let heading = format!("## [{version}] - YYYY-MM-DD");
    match top {
        Some("[Unreleased]") => {
            Ok(Done::Skipped(format!("replace `## [Unreleased]` by `{heading}` in CHANGELOG.md")))
        }
        Some(top) if top.starts_with(&format!("[{version}] - ")) => Ok(Done::Passed),
        _ => Err(format!("the top heading of CHANGELOG.md is not `{heading}`")),
    }
}

fn is_heading(heading: &str) -> bool {
    let is_date = |date: &str| {
        let parts: Vec<&str> = date.split('-').collect();
        let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
        lengths == [4, 2, 2] && parts.concat().bytes().all(|byte| byte.is_ascii_digit())
    };
    let is_version = |version: &str| version.starts_with('[') && version.ends_with(']');
    heading == "[Unreleased]"
        || heading
            .split_once(" - ")
            .is_some_and(|(version, date)| is_version(version) && is_date(date))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn top_heading_is_the_version() {
        let is_of = |text| is_of(text, "0.2.0");
        assert!(matches!(is_of("## [0.2.0] - 2026-12-01\n### Fixed\n"), Ok(Done::Passed)));
        assert!(matches!(is_of("## [Unreleased]\n"), Ok(Done::Skipped(_))));
        assert!(is_of("## [0.1.0] - 2026-12-01\n").is_err());
        assert!(is_of("## [0.2.0] - today\n").is_err());
        assert!(is_of("## 0.2.0\n").is_err());
        assert!(is_of("## [0.2.0] - 2026-12-01\n### News\n").is_err());
        assert!(is_of("").is_err());
    }
}
