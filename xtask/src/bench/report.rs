//! The report in Markdown.

use std::fmt::Write;

use super::parts::PARTS;
use super::plots;
use super::results::{Cell, Results};
use super::text::{self, COMPARISONS, Comparison, Gap, SECTIONS, SECURITY, Section};

/// A whole report, as `docs/benchmarks.md` has it.
pub(super) fn whole(results: &Results) -> String {
    let mut out = String::from(text::BEGINNING);
    out.push_str(&summary(results));
    for plot in plots::PLOTS {
        let _ = write!(out, "\n{}\n", picture(plot.name, plot.title, "plots"));
    }
    out.push_str(text::COMMANDS);
    out.push_str(&machine(results));
    out.push_str(&behind(results));
    out.push_str(&security());
    for section in sections(results) {
        out.push_str(&self::section(results, &section));
    }
    wrapped(&out)
}

/// Prose with at most 120 characters a line; tables, headings and blocks as they are.
fn wrapped(text: &str) -> String {
    let mut out = String::new();
    let mut in_block = false;
    for line in text.lines() {
        in_block ^= line.starts_with("```");
        if in_block || line.len() <= 120 || line.starts_with(['|', '#', '<', ' ']) {
            let _ = writeln!(out, "{line}");
            continue;
        }
        let mut length = 0;
        for word in line.split(' ') {
            let gap = match length {
                0 => "",
                _ if length + word.len() < 120 => " ",
                _ => "\n",
            };
            length = if gap == "\n" { 0 } else { length + gap.len() } + word.chars().count();
            let _ = write!(out, "{gap}{word}");
        }
        out.push('\n');
    }
    out
}

/// The tables of one part.
pub(super) fn part(results: &Results, name: &str) -> String {
    let sections = sections(results).into_iter().filter(|section| section.part == name);
    sections.map(|found| section(results, &found)).collect()
}

/// An image for a light and a dark page.
pub(super) fn picture(name: &str, title: &str, folder: &str) -> String {
    format!(
        "<picture>\n  <source media=\"(prefers-color-scheme: dark)\" srcset=\"{folder}/{name}-dark.svg\">\n  \
         <img alt=\"{title}\" src=\"{folder}/{name}-light.svg\">\n</picture>"
    )
}

/// One for each part that has results, those without a text included.
fn sections(results: &Results) -> Vec<Section> {
    let section = |part: &super::Part| {
        let found = SECTIONS.iter().find(|section| section.part == part.name);
        found.copied().unwrap_or(Section::plain(part.name, part.about))
    };
    let has_results = |section: &Section| !results.tables(section.part).is_empty();
    PARTS.iter().map(section).filter(has_results).collect()
}

fn summary(results: &Results) -> String {
    let added = |row: &str| {
        let request = results.first("http", "plain requests", row)?;
        let bare = results.first("http", "plain requests", "a bare route")?;
        Some(number(request.above(&bare).median()))
    };
    let rate = |table: &str, row: &str| Some(results.first("serve", table, row)?.median());
    let mut out = String::new();
    if let (Some(kvolt), Some(floor), Some(tower), Some(sliding)) = (
        added("KVolt"),
        added("a hand-written layer"),
        added("tower-sessions, not sliding"),
        added("tower-sessions, sliding"),
    ) {
        let _ = writeln!(
            out,
            "In short: in memory KVolt adds {kvolt} ns to a request through axum, and a layer written by hand for one \
             program adds {floor}. tower-sessions adds {tower}, and {sliding} where it slides."
        );
    }
    if let (Some(redis), Some(near), Some(driver), Some(tower)) = (
        rate("Redis", "KVolt"),
        rate("Redis", "KVolt with a near cache"),
        rate("Redis", "a bare route and one round trip of the driver"),
        rate("Redis", "tower-sessions, sliding at each use"),
    ) {
        let _ = writeln!(
            out,
            "On Redis KVolt answers {} requests a second, {:.2} times those of tower-sessions that slides and {:.2} of a \
             route that only asks the driver once. With a near cache it answers {}.",
            number(redis),
            redis / tower,
            redis / driver,
            number(near)
        );
    }
    out
}

fn machine(results: &Results) -> String {
    let fact = |name| results.fact(name);
    let mut out = String::from("\n## The machine and the versions\n\n");
    let _ = writeln!(
        out,
        "{}, {} cores, {} of memory, Linux {}, rustc {}. Load averages: {} before, {} after. Client, program and store \
         share these cores. Profile: {}; the allocator is {}. Commit {}, {}.\n",
        fact("processor"),
        fact("cores"),
        fact("memory"),
        fact("kernel"),
        fact("rustc"),
        fact("load before"),
        fact("load after"),
        fact("profile"),
        fact("allocator"),
        fact("commit"),
        fact("date"),
    );
    let about_machine = [
        "processor",
        "cores",
        "memory",
        "kernel",
        "rustc",
        "load before",
        "load after",
        "profile",
        "allocator",
        "commit",
        "date",
        "parts",
        "took",
    ];
    let others = results.facts.iter().filter(|fact| !about_machine.contains(&&*fact.name));
    let others: Vec<String> = others.map(|fact| format!("{} {}", fact.name, fact.value)).collect();
    let _ = writeln!(out, "{}.\n\nThe run took {}.", others.join(", "), fact("took"));
    out
}

/// Each row on which KVolt is not ahead of another library: a line for each comparison.
fn behind(results: &Results) -> String {
    let mut lines = Vec::new();
    for comparison in COMPARISONS {
        let part = comparison.part;
        let mut cells = Vec::new();
        let tables = results.tables(part).into_iter();
        for table in tables.filter(|table| table.starts_with(comparison.table)) {
            for (column, unit) in results.columns(part, table) {
                if comparison.columns.is_empty() || comparison.columns.contains(&column) {
                    let compared = compare(results, comparison, table, column, unit);
                    cells.extend(compared.map(|compared| (table, column, compared)));
                }
            }
        }
        let all = cells.len();
        cells.retain(|(.., compared)| compared.is_behind);
        let where_ = match &cells[..] {
            [] => continue,
            [(table, column, _)] => format!("{part}: {table}, {column}"),
            [(table, ..), ..] if comparison.table.is_empty() => {
                format!("{part}: {} of {all} cells, as in {table}", cells.len())
            }
            _ => format!("{part}: {} of {all} cells of \"{} …\"", cells.len(), comparison.table),
        };
        let ratios = cells.iter().map(|(.., compared)| compared.ratio);
        let (low, high) = ratios
            .fold((f64::INFINITY, 0.0_f64), |(low, high), ratio| (low.min(ratio), high.max(ratio)));
        let times = match low == high {
            true => format!("{low:.2}"),
            false => format!("{low:.2} to {high:.2}"),
        };
        let overlap = cells.iter().all(|(.., compared)| compared.overlap);
        let note = if overlap { " (their spreads overlap)" } else { "" };
        lines.push(format!(
            "| {where_} | {} | {times} times {}{note} | {} |",
            comparison.ours, comparison.peer, comparison.why
        ));
    }
    if lines.is_empty() {
        lines.push("| none | | | |".to_owned());
    }
    format!("{}{}\n", text::BEHIND, lines.join("\n"))
}

/// How KVolt and another library do in one cell.
struct Compared {
    ratio: f64,
    is_behind: bool,
    overlap: bool,
}

fn compare(
    results: &Results,
    comparison: &Comparison,
    table: &str,
    column: &str,
    unit: &str,
) -> Option<Compared> {
    let cell = |row| {
        let cell = results.cell(comparison.part, table, row, column)?;
        match comparison.above {
            Some(floor) => {
                Some(cell.above(&results.cell(comparison.part, table, floor, column)?))
            }
            None => Some(cell),
        }
    };
    let (ours, theirs) = (cell(comparison.ours)?, cell(comparison.peer)?);
    let is_behind = match unit {
        "per s" => ours.median() < theirs.median(),
        _ => ours.median() > theirs.median(),
    };
    let overlap = match (ours.spread(), theirs.spread()) {
        (Some(ours), Some(theirs)) => ours.0 <= theirs.1 && theirs.0 <= ours.1,
        _ => false,
    };
    Some(Compared { ratio: ours.median() / theirs.median(), is_behind, overlap })
}

fn security() -> String {
    let mut out = String::from(text::SECURITY_BEGINNING);
    for (library, short, long) in SECURITY {
        let _ = writeln!(out, "| {library} | {short} | {long} |");
    }
    out
}

/// The short security level of the library of a row, where it is one.
fn level(row: &str) -> Option<&'static str> {
    let of = |(library, short, _): &(&str, &'static str, &str)| {
        let row = row.rsplit(": ").next().unwrap_or(row);
        row.starts_with(library).then_some(*short)
    };
    SECURITY.iter().find_map(of)
}

fn section(results: &Results, section: &Section) -> String {
    let mut out = format!("\n## {}\n\n{}", section.title, section.about);
    if !section.about.is_empty() {
        out.push('\n');
    }
    for table in results.tables(section.part) {
        let _ = write!(out, "\n### {}\n\n", capital(table));
        out.push_str(&self::table(results, section, table));
        for (_, note) in section.notes.iter().filter(|(of, _)| table.starts_with(of)) {
            let _ = write!(out, "\n{note}\n");
        }
    }
    out
}

fn table(results: &Results, section: &Section, table: &str) -> String {
    let part = section.part;
    let (rows, columns) = (results.rows(part, table), results.columns(part, table));
    let gap = section.gaps.iter().find(|(of, _)| table.starts_with(of)).map(|(_, gap)| gap);
    let has_levels = section.levels && rows.iter().any(|row| level(row).is_some());
    let mut heads: Vec<String> = Vec::new();
    for (index, (column, unit)) in columns.iter().enumerate() {
        let unit = if unit.is_empty() { String::new() } else { format!(", {unit}") };
        heads.push(format!("{column}{unit}"));
        if index == 0 {
            heads.extend(gap.iter().flat_map(|gap| gap.heads()));
        }
    }
    if has_levels {
        heads.push("security level".to_owned());
    }
    let mut out = format!("| | {} |\n|---|{}\n", heads.join(" | "), "---|".repeat(heads.len()));
    for row in rows {
        let mut cells = Vec::new();
        for (index, (column, unit)) in columns.iter().enumerate() {
            let cell = results.cell(part, table, row, column);
            let mut text = cell.as_ref().map_or_else(String::new, value);
            if let (Some(Gap::Cells(floor)), Some(cell)) = (gap, &cell)
                && *floor != row
                && *unit != "%"
                && let Some(floor) = results.cell(part, table, floor, column)
            {
                let _ = write!(text, " · {}×", short(cell.median() / floor.median()));
            }
            cells.push(text);
            if index == 0 {
                let first = |row: &str| results.cell(part, table, row, column);
                cells.extend(gap.iter().flat_map(|gap| {
                    gap_cells(results, section.part, gap, &first, row, cell.as_ref())
                }));
            }
        }
        if has_levels {
            cells.push(level(row).unwrap_or_default().to_owned());
        }
        let _ = writeln!(out, "| {row} | {} |", cells.join(" | "));
    }
    out
}

/// The cells after the first column, which compare it with floors.
fn gap_cells(
    results: &Results,
    part: &str,
    gap: &Gap,
    in_column: &dyn Fn(&str) -> Option<Cell>,
    row: &str,
    cell: Option<&Cell>,
) -> Vec<String> {
    match gap {
        Gap::Cells(_) => Vec::new(),
        Gap::Added { bare, floor } => {
            let above = |row: &str| Some(in_column(row)?.above(&in_column(bare)?));
            let added = if row == *bare { None } else { above(row) };
            let times = added.as_ref().zip(above(floor)).filter(|_| row != *floor);
            let times = times.map(|(added, floor)| added.median() / floor.median());
            let mut cells = vec![added.as_ref().map_or_else(String::new, value)];
            // A comparison with the bare route has no floor between the two.
            if bare != floor {
                cells.push(times.map_or_else(String::new, |times| format!("{}×", short(times))));
            }
            cells
        }
        Gap::Shares(floors) => floors
            .iter()
            .map(|(_, table, floor)| {
                let floor = results.first(part, table, floor).filter(|_| row != *floor);
                let share = cell.zip(floor).map(|(cell, floor)| cell.median() / floor.median());
                share.map_or_else(String::new, |share| format!("{share:.2}"))
            })
            .collect(),
    }
}

/// The median, and its spread.
fn value(cell: &Cell) -> String {
    let median = number(cell.median());
    match cell.spread().map(|(low, high)| (number(low), number(high))) {
        Some((low, high)) if low != high => format!("{median} ({low} to {high})"),
        _ => median,
    }
}

fn short(times: f64) -> String {
    if times < 9.95 { format!("{times:.2}") } else { format!("{times:.0}") }
}

/// With three digits that count, and commas.
pub(super) fn number(number: f64) -> String {
    let size = number.abs();
    if number.fract() == 0.0 {
        return grouped(number);
    }
    match size {
        ..10.0 => format!("{number:.2}"),
        ..100.0 => format!("{number:.1}"),
        _ => grouped(number),
    }
}

/// Whole, with a comma after each three digits.
fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::from(if number < 0.0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::super::results::Measure;
    use super::*;

    fn results(rows: &[(&str, &[f64])]) -> Results {
        let measure = |(row, samples): &(&str, &[f64])| Measure {
            part: "http".into(),
            table: "plain requests".into(),
            row: (*row).into(),
            column: "a request".into(),
            unit: "ns".into(),
            samples: samples.to_vec(),
        };
        Results { measures: rows.iter().map(measure).collect(), ..Results::default() }
    }

    #[test]
    fn a_request_is_compared_with_the_floor_round_by_round() {
        let rows = results(&[
            ("a bare route", &[600.0, 1_600.0, 620.0]),
            ("a hand-written layer", &[900.0, 1_900.0, 920.0]),
            ("KVolt", &[1_050.0, 2_050.0, 1_070.0]),
        ]);
        let text = part(&rows, "http");
        let line = text.lines().find(|line| line.starts_with("| KVolt")).unwrap();
        assert!(line.starts_with("| KVolt | 1,070 (1,050 to 2,050) | 450 | 1.50× |"), "{line}");
        assert!(line.contains("token hashed"), "{line}");
    }

    #[test]
    fn a_row_on_which_another_is_ahead_is_listed() {
        let rows = |kvolt| {
            let tower = ("tower-sessions, not sliding", &[900.0, 910.0][..]);
            results(&[("a bare route", &[600.0, 600.0]), ("KVolt", kvolt), tower])
        };
        assert!(behind(&rows(&[700.0, 700.0])).contains("| none |"));
        let text = behind(&rows(&[1_200.0, 1_200.0]));
        assert!(text.contains("1.94 times tower-sessions, not sliding |"), "{text}");
    }

    #[test]
    fn numbers_have_three_digits_that_count() {
        let all = [0.041, 1.256, 38.49, 137_745.3, 5.0, -12.0].map(number);
        assert_eq!(all, ["0.04", "1.26", "38.5", "137,745", "5", "-12"]);
    }
}
