//! How far a copy is: a bar on a terminal, and nothing else where no terminal is.

use std::fmt::Write;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

const TEMPLATE: &str = "{msg:10} {bar:30} {pos}/{len} ({percent} %)  {rate}/s  {eta} left";

pub(super) struct Progress(ProgressBar);

impl Progress {
    pub(super) fn new(total: u64, is_hidden: bool) -> Self {
        let target = match is_hidden {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr(),
        };
        let style = ProgressStyle::with_template(TEMPLATE).expect("the template is valid");
        let style = style.with_key("rate", |state: &ProgressState, text: &mut dyn Write| {
            // A string takes any text.
            let _ = write!(text, "{:.0}", state.per_sec());
        });
        let bar = ProgressBar::with_draw_target(Some(total), target).with_style(style);
        bar.set_message("copying");
        Self(bar)
    }

    pub(super) fn add(&self, entries: usize) {
        self.0.inc(entries as u64);
    }

    pub(super) fn restart(&self, doing: &'static str) {
        self.0.reset();
        self.0.set_message(doing);
    }

    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
