//! Measurements, and the machine and versions that they are of.

use serde::{Deserialize, Serialize};

use crate::Failure;

/// The results of a run, as they are written to JSON.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Results {
    /// The machine, the versions, the settings.
    pub(super) facts: Vec<Fact>,
    pub(super) measures: Vec<Measure>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fact {
    pub(super) name: String,
    pub(super) value: String,
}

/// All samples of a cell of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Measure {
    pub(super) part: String,
    pub(super) table: String,
    pub(super) row: String,
    pub(super) column: String,
    pub(super) unit: String,
    /// In the order of the rounds, in which contenders took turns.
    pub(super) samples: Vec<f64>,
}

impl Results {
    pub(super) fn from_json(text: &str) -> Result<Self, Failure> {
        serde_json::from_str(text).map_err(|error| format!("the results can't be read: {error}"))
    }

    /// A line for each fact and each measure.
    pub(super) fn to_json(&self) -> String {
        fn lines<T: Serialize>(items: &[T]) -> String {
            let json = |item| serde_json::to_string(item).unwrap_or_default();
            items.iter().map(json).collect::<Vec<_>>().join(",\n")
        }
        format!(
            "{{\"facts\": [\n{}\n],\n\"measures\": [\n{}\n]}}\n",
            lines(&self.facts),
            lines(&self.measures)
        )
    }

    pub(super) fn add_fact(&mut self, name: &str, value: &str) {
        let fact = Fact { name: name.to_owned(), value: value.to_owned() };
        if !self.facts.contains(&fact) {
            self.facts.push(fact);
        }
    }

    pub(super) fn fact(&self, name: &str) -> &str {
        self.facts.iter().find(|fact| fact.name == name).map_or("unknown", |fact| &fact.value)
    }

    /// The names of the tables of a part.
    pub(super) fn tables<'a>(&'a self, part: &str) -> Vec<&'a str> {
        let of_part = self.measures.iter().filter(|measure| measure.part == part);
        unique(of_part.map(|measure| &*measure.table))
    }

    pub(super) fn rows<'a>(&'a self, part: &str, table: &str) -> Vec<&'a str> {
        unique(self.of(part, table).map(|measure| &*measure.row))
    }

    /// The names and units of the columns of a table.
    pub(super) fn columns<'a>(&'a self, part: &str, table: &str) -> Vec<(&'a str, &'a str)> {
        unique(self.of(part, table).map(|measure| (&*measure.column, &*measure.unit)))
    }

    fn of<'a>(&'a self, part: &str, table: &str) -> impl Iterator<Item = &'a Measure> {
        self.measures.iter().filter(move |measure| measure.part == part && measure.table == table)
    }

    pub(super) fn cell(&self, part: &str, table: &str, row: &str, column: &str) -> Option<Cell> {
        let mut cells = self.of(part, table);
        let found = cells.find(|measure| measure.row == row && measure.column == column)?;
        Some(Cell { samples: found.samples.clone() })
    }

    /// A cell of the first column.
    pub(super) fn first(&self, part: &str, table: &str, row: &str) -> Option<Cell> {
        let columns = self.columns(part, table);
        self.cell(part, table, row, columns.first()?.0)
    }
}

fn unique<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut found = Vec::new();
    for item in items {
        if !found.contains(&item) {
            found.push(item);
        }
    }
    found
}

/// The samples of one cell; there is one at least.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cell {
    samples: Vec<f64>,
}

impl Cell {
    pub(super) fn median(&self) -> f64 {
        let mut sorted = self.samples.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// The quarter of the samples at each end is left out: what else ran on the machine is in it.
    pub(super) fn spread(&self) -> Option<(f64, f64)> {
        if self.samples.len() < 2 {
            return None;
        }
        let mut sorted = self.samples.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let cut = sorted.len() / 4;
        Some((sorted[cut], sorted[sorted.len() - 1 - cut]))
    }

    /// Round by round, what this took beyond the other.
    pub(super) fn above(&self, floor: &Self) -> Self {
        let pairs = self.samples.iter().zip(&floor.samples);
        Self { samples: pairs.map(|(sample, floor)| sample - floor).collect() }
    }
}

/// Four digits are more than a measurement is worth.
pub(super) fn rounded(sample: f64) -> f64 {
    if sample == 0.0 || !sample.is_finite() {
        return 0.0;
    }
    let digits = 3 - sample.abs().log10().floor() as i32;
    match digits {
        0.. => (sample * 10_f64.powi(digits)).round() / 10_f64.powi(digits),
        _ => sample.round(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read_as_they_were_written() {
        let mut results = Results::default();
        results.add_fact("kernel", "6.1");
        results.measures.push(Measure {
            part: "http".into(),
            table: "plain requests".into(),
            row: "KVolt".into(),
            column: "a request".into(),
            unit: "ns".into(),
            samples: vec![1.5, 2.0],
        });
        assert_eq!(Results::from_json(&results.to_json()), Ok(results));
    }

    #[test]
    fn median_and_spread_leave_outliers_out() {
        let cell = Cell { samples: vec![5.0, 1.0, 900.0, 4.0, 3.0] };
        assert_eq!((cell.median(), cell.spread()), (4.0, Some((3.0, 5.0))));
        assert_eq!(Cell { samples: vec![7.0] }.spread(), None);
    }

    #[test]
    fn samples_keep_four_digits() {
        assert_eq!(
            [1_234_567.8, 12.345_67, 0.0, 0.001_234_56].map(rounded),
            [1_234_568.0, 12.35, 0.0, 0.001_235]
        );
    }
}
