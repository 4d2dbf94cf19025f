//! The plots: what a request adds, requests per second by store, and memory of a session.

use super::report::number;
use super::results::{Cell, Results};
use super::svg::{Bar, Chart, Group, Kind, Row};

pub(super) struct Plot {
    /// The file, without its folder and `-light.svg` or `-dark.svg`.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    chart: fn(&Results) -> Vec<Group>,
    panels: &'static [&'static str],
}

pub(super) const PLOTS: [Plot; 3] = [
    Plot {
        name: "request",
        title: "What a session layer adds to a request, in memory",
        chart: request,
        panels: &["nanoseconds added to a bare route; less is better"],
    },
    Plot {
        name: "stores",
        title: "Requests with a session, by store",
        chart: stores,
        panels: &["requests per second; more is better", "p99 in microseconds; less is better"],
    },
    Plot {
        name: "memory",
        title: "What a session takes, by store",
        chart: memory,
        panels: &["bytes a session, of some 130 bytes of data; less is better"],
    },
];

/// The files of all plots that have results, with their paths from the root.
pub(super) fn all(results: &Results) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for plot in &PLOTS {
        let chart = Chart {
            title: plot.title.to_owned(),
            panels: plot.panels.iter().map(|panel| (*panel).to_owned()).collect(),
            groups: (plot.chart)(results),
            note: "medians; lines are the middle half of the rounds".to_owned(),
        };
        files.push((format!("docs/plots/{}-light.svg", plot.name), chart.light()));
        files.push((format!("docs/plots/{}-dark.svg", plot.name), chart.dark()));
    }
    files
}

fn request(results: &Results) -> Vec<Group> {
    let group = |name: &str, part: &str, table: &str| {
        let bare = results.first(part, table, "a bare route");
        let rows = results.rows(part, table).into_iter();
        let rows = rows.filter(|row| !matches!(*row, "a bare route" | "a layer that does nothing"));
        let added = |row: &str| Some(results.first(part, table, row)?.above(bare.as_ref()?));
        let rows = rows.map(|row| line(row, vec![added(row).map(bar)])).collect();
        Group { name: name.to_owned(), rows }
    };
    vec![group("axum", "http", "plain requests"), group("actix-web", "actix", "requests")]
}

fn stores(results: &Results) -> Vec<Group> {
    let group = |table: &&str| {
        let cell = |row: &str, column| results.cell("serve", table, row, column).map(bar);
        let rows = results.rows("serve", table).into_iter();
        let rows =
            rows.map(|row| line(row, vec![cell(row, "requests"), cell(row, "p99")])).collect();
        Group { name: (*table).to_owned(), rows }
    };
    let tables = ["memory", "Redis", "PostgreSQL", "SQLite"];
    tables.iter().filter(|table| !results.rows("serve", table).is_empty()).map(group).collect()
}

fn memory(results: &Results) -> Vec<Group> {
    let group = |name: &str, part: &str, table: &str| {
        let rows = results.rows(part, table).into_iter();
        // Sliding or not, a session has the same size.
        let label = |row: &str| row.replace(", not sliding", "");
        let rows = rows
            .map(|row| line(&label(row), vec![results.first(part, table, row).map(bar)]))
            .collect();
        Group { name: name.to_owned(), rows }
    };
    let mut groups = vec![group("memory", "memory", "sessions in memory")];
    groups.extend(["Redis", "PostgreSQL", "SQLite"].map(|store| {
        let where_ = if store == "Redis" { "its memory" } else { "on disk" };
        group(&format!("{store}, {where_}"), "stored", store)
    }));
    groups
}

fn line(name: &str, bars: Vec<Option<Bar>>) -> Row {
    let kind = match name {
        "a bare route" | "a hand-written layer" => Kind::Floor,
        _ if name.ends_with("driver") => Kind::Floor,
        _ if name.starts_with("KVolt") => Kind::Ours,
        _ => Kind::Other,
    };
    let label = name
        .replace("a bare route and one round trip of the driver", "one round trip of the driver")
        .replace(" at each use", "");
    Row { label, kind, bars }
}

fn bar(cell: Cell) -> Bar {
    Bar { value: cell.median(), spread: cell.spread(), label: number(cell.median()) }
}

#[cfg(test)]
mod tests {
    use super::super::results::Measure;
    use super::*;

    #[test]
    fn a_plot_has_a_bar_and_a_label_for_each_library() {
        let measure = |row: &str, samples: [f64; 2]| Measure {
            part: "http".into(),
            table: "plain requests".into(),
            row: row.into(),
            column: "a request".into(),
            unit: "ns".into(),
            samples: samples.to_vec(),
        };
        let measures =
            vec![measure("a bare route", [600.0, 601.0]), measure("KVolt", [1_000.0, 1_002.0])];
        let results = Results { measures, ..Results::default() };
        let files = all(&results);
        let (_, light) =
            files.iter().find(|(name, _)| name.ends_with("request-light.svg")).unwrap();
        assert!(light.contains(">KVolt</text>") && light.contains(">401</text>"), "{light}");
        assert!(!light.contains(">a bare route</text>"), "it adds nothing to itself");
        assert_eq!(files.len(), 6);
    }
}
