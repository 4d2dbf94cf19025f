//! Bar charts as SVG, for a light and for a dark page.

use std::fmt::Write;

/// The meaning of a bar; each has a colour of its own, and labels say the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ours,
    Other,
    /// No session library can be better.
    Floor,
}

/// A bar for each panel of the chart.
pub(super) struct Row {
    pub(super) label: String,
    pub(super) kind: Kind,
    pub(super) bars: Vec<Option<Bar>>,
}

pub(super) struct Bar {
    pub(super) value: f64,
    pub(super) spread: Option<(f64, f64)>,
    pub(super) label: String,
}

impl Bar {
    fn end(&self) -> f64 {
        self.spread.map_or(self.value, |spread| spread.1.max(self.value))
    }
}

pub(super) struct Group {
    pub(super) name: String,
    pub(super) rows: Vec<Row>,
}

pub(super) struct Chart {
    pub(super) title: String,
    /// The quantity that each panel shows, with its unit.
    pub(super) panels: Vec<String>,
    pub(super) groups: Vec<Group>,
    pub(super) note: String,
}

struct Palette {
    page: &'static str,
    text: &'static str,
    quiet: &'static str,
    ours: &'static str,
    other: &'static str,
    floor: &'static str,
}

const LIGHT: Palette = Palette {
    page: "#ffffff",
    text: "#1f2328",
    quiet: "#57606a",
    ours: "#0860ca",
    other: "#818b98",
    floor: "#bc4c00",
};

const DARK: Palette = Palette {
    page: "#0d1117",
    text: "#f0f6fc",
    quiet: "#9198a1",
    ours: "#58a6ff",
    other: "#7d8590",
    floor: "#f0883e",
};

const WIDTH: f64 = 920.0;
const LABELS: f64 = 290.0;
const VALUES: f64 = 84.0;
const ROW: f64 = 25.0;
const BAR: f64 = 15.0;

impl Chart {
    pub(super) fn light(&self) -> String {
        self.draw(&LIGHT)
    }

    pub(super) fn dark(&self) -> String {
        self.draw(&DARK)
    }

    fn draw(&self, palette: &Palette) -> String {
        let rows: usize = self.groups.iter().map(|group| group.rows.len()).sum();
        let height = 132.0 + ROW * rows as f64 + 32.0 * self.groups.len() as f64;
        let panel = (WIDTH - LABELS - 24.0) / self.panels.len() as f64;
        let bars = panel - VALUES - 12.0;
        let left = |index: usize| LABELS + panel * index as f64;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             width=\"{WIDTH}\" height=\"{height}\" role=\"img\" aria-label=\"{title}\" \
             font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\" font-size=\"13\">\n\
             <title>{title}</title>\n\
             <rect width=\"{WIDTH}\" height=\"{height}\" rx=\"8\" fill=\"{page}\"/>\n\
             <text x=\"20\" y=\"34\" font-size=\"18\" font-weight=\"600\" fill=\"{text}\">{title}</text>\n",
            title = escape(&self.title),
            page = palette.page,
            text = palette.text,
        );
        for (index, name) in self.panels.iter().enumerate() {
            let _ = writeln!(
                out,
                "<text x=\"{:.0}\" y=\"62\" fill=\"{}\">{}</text>",
                left(index),
                palette.quiet,
                escape(name)
            );
        }
        let mut y = 74.0;
        for group in &self.groups {
            y += 26.0;
            let _ = writeln!(
                out,
                "<text x=\"20\" y=\"{y:.0}\" font-weight=\"600\" fill=\"{}\">{}</text>",
                palette.text,
                escape(&group.name)
            );
            y += 6.0;
            for row in &group.rows {
                let middle = y + ROW / 2.0;
                let weight = if row.kind == Kind::Ours { " font-weight=\"600\"" } else { "" };
                let _ = writeln!(
                    out,
                    "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\"{weight} fill=\"{}\">{}</text>",
                    LABELS - 10.0,
                    middle + 4.5,
                    palette.text,
                    escape(&row.label)
                );
                for (index, bar) in row.bars.iter().enumerate() {
                    if let Some(bar) = bar {
                        let panel =
                            Panel { left: left(index), width: bars, most: self.most(index) };
                        panel.draw(&mut out, palette, row.kind, bar, middle);
                    }
                }
                y += ROW;
            }
        }
        self.legend(&mut out, palette, height - 22.0);
        out.push_str("</svg>\n");
        out
    }

    /// Where a panel ends: at its largest value, unless the others would then be too short to compare.
    /// A longer bar is cut there, with a mark.
    fn most(&self, panel: usize) -> f64 {
        let rows = self.groups.iter().flat_map(|group| &group.rows);
        let ends = rows.filter_map(|row| row.bars.get(panel)?.as_ref());
        let mut ends: Vec<f64> = ends.map(Bar::end).collect();
        ends.sort_unstable_by(f64::total_cmp);
        let middle = ends.get(ends.len() / 2).copied().unwrap_or(f64::MIN_POSITIVE);
        ends.last().copied().unwrap_or(f64::MIN_POSITIVE).min(4.0 * middle).max(f64::MIN_POSITIVE)
    }

    fn legend(&self, out: &mut String, palette: &Palette, y: f64) {
        let mut x = 20.0;
        for (kind, name) in
            [(Kind::Ours, "KVolt"), (Kind::Other, "other libraries"), (Kind::Floor, "floor")]
        {
            let _ = writeln!(
                out,
                "<rect x=\"{x:.0}\" y=\"{:.0}\" width=\"12\" height=\"12\" rx=\"2\" {}/>\
                 <text x=\"{:.0}\" y=\"{y:.0}\" fill=\"{}\">{name}</text>",
                y - 11.0,
                fill(palette, kind),
                x + 18.0,
                palette.quiet
            );
            x += 18.0 + 8.0 * name.len() as f64 + 14.0;
        }
        let _ = writeln!(
            out,
            "<text x=\"{:.0}\" y=\"{y:.0}\" text-anchor=\"end\" fill=\"{}\">{}</text>",
            WIDTH - 20.0,
            palette.quiet,
            escape(&self.note)
        );
    }
}

fn fill(palette: &Palette, kind: Kind) -> String {
    match kind {
        Kind::Ours => format!("fill=\"{}\"", palette.ours),
        Kind::Other => format!("fill=\"{}\"", palette.other),
        Kind::Floor => {
            format!("fill=\"none\" stroke=\"{}\" stroke-width=\"1.5\"", palette.floor)
        }
    }
}

/// Where the bars of a panel are.
struct Panel {
    left: f64,
    width: f64,
    /// The value at its right end.
    most: f64,
}

impl Panel {
    fn x(&self, value: f64) -> f64 {
        self.left + self.width * (value / self.most).clamp(0.0, 1.0)
    }

    fn draw(&self, out: &mut String, palette: &Palette, kind: Kind, bar: &Bar, middle: f64) {
        let (left, right) = (self.left, self.x(bar.value).max(self.left + 1.0));
        let _ = writeln!(
            out,
            "<rect x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\" {}/>",
            middle - BAR / 2.0,
            right - left,
            fill(palette, kind)
        );
        let mut end = right;
        if bar.end() > self.most {
            // Two slanted gaps: the bar is longer than the panel.
            let top = middle - BAR / 2.0 - 2.0;
            let _ = writeln!(
                out,
                "<path d=\"M{:.1} {top:.1}l-6 {height}m6 0l6 -{height}\" stroke=\"{}\" \
                 stroke-width=\"3\" fill=\"none\"/>",
                right - 20.0,
                palette.page,
                height = BAR + 4.0,
            );
        } else if let Some((low, high)) = bar.spread {
            let (low, high) = (self.x(low), self.x(high));
            let _ = writeln!(
                out,
                "<path d=\"M{low:.1} {middle:.1}H{high:.1}M{low:.1} {:.1}v6M{high:.1} {:.1}v6\" \
                 stroke=\"{}\" stroke-width=\"1\" fill=\"none\"/>",
                middle - 3.0,
                middle - 3.0,
                palette.text
            );
            end = end.max(high);
        }
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{}\">{}</text>",
            end + 7.0,
            middle + 4.5,
            palette.text,
            escape(&bar.label)
        );
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
