//! Counts the instructions of the hot paths in memory, by callgrind, and checks them against the
//! committed baseline.
//!
//! They are compared where the compiler, valgrind and the processor's model are those that the
//! baseline names. With `KVOLT_COUNTS=renew`, as `cargo xtask counts --renew` sets it, writes the
//! baseline again.

#![allow(clippy::print_stdout, reason = "the program prints what it counts")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use kvolt_counts::{Baseline, Counter, Counts, in_memory, is_renewal, report};

/// Odd, so that a median was counted.
const SAMPLES: usize = 9;

/// The argument with which callgrind runs this program.
const COUNTED: &str = "counted";

/// The function whose instructions callgrind counts, as patterns. It writes a part of its file after
/// each call. Of two equal patterns, callgrind follows the first only.
const COUNT_IN: &str = "kvolt_instructions::counted_call*";
const WRITE_AFTER: &str = "*::counted_call*";

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|argument| argument == COUNTED) {
        in_memory(&mut Instructions, SAMPLES);
        return ExitCode::SUCCESS;
    }
    let by = tools();
    let present = counts();
    let mut baseline = Baseline::read();
    if is_renewal() {
        report(&baseline.instructions, &present, true);
        baseline.instructions_by = by;
        baseline.instructions = present;
        baseline.write();
        return ExitCode::SUCCESS;
    }
    if baseline.instructions_by != by {
        not_compared(&baseline, &by, &present);
        return ExitCode::SUCCESS;
    }
    match report(&baseline.instructions, &present, true) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Makes the calls, and prints their paths in the order of callgrind's parts.
struct Instructions;

impl Counter for Instructions {
    fn count(&mut self, path: &str, call: &mut dyn FnMut()) {
        counted_call(call);
        println!("{path}");
    }
}

#[inline(never)]
fn counted_call(call: &mut dyn FnMut()) {
    call();
    // Without it, the call is a jump, and the function never returns.
    std::hint::black_box(());
}

/// Runs this program under callgrind.
fn counts() -> BTreeMap<String, Counts> {
    let file = std::env::temp_dir().join(format!("kvolt-instructions-{}", std::process::id()));
    let program = std::env::current_exe().expect("the program has a path");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--combine-dumps=yes"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .args([format!("--toggle-collect={COUNT_IN}"), format!("--dump-after={WRITE_AFTER}")])
        .arg(program)
        .arg(COUNTED)
        .stdin(Stdio::null())
        .output()
        .expect("valgrind starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let totals = totals(&file);
    let paths = String::from_utf8_lossy(&output.stdout);
    let paths: Vec<&str> = paths.lines().collect();
    assert_eq!(paths.len(), totals.len(), "a part for each call");
    let mut samples: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (path, total) in paths.into_iter().zip(totals) {
        samples.entry(path).or_default().push(total);
    }
    let median = |(path, mut samples): (&str, Vec<u64>)| {
        samples.sort_unstable();
        let median = samples[samples.len() / 2];
        (path.to_owned(), Counts::from([(String::from("instructions"), median)]))
    };
    samples.into_iter().map(median).collect()
}

/// The instructions of each part of callgrind's file that a call caused.
fn totals(file: &Path) -> Vec<u64> {
    let text = fs::read_to_string(file).expect("callgrind wrote its file");
    let _ = fs::remove_file(file);
    let mut totals = Vec::new();
    let mut is_after_call = false;
    for line in text.lines() {
        if let Some(trigger) = line.strip_prefix("desc: Trigger: ") {
            is_after_call = trigger.starts_with("--dump-after=");
        } else if let Some(total) = line.strip_prefix("totals: ")
            && is_after_call
        {
            totals.push(total.trim().parse().expect("a number"));
        }
    }
    totals
}

/// What the counts depend on, beside this repository.
fn tools() -> BTreeMap<String, String> {
    let said = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output();
        output.map_or_else(
            |_| String::from("unknown"),
            |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        )
    };
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let mut lines = processor.lines().filter_map(|line| line.split_once(':'));
        let value = lines.find(|(field, _)| field.trim() == name).map(|(_, value)| value.trim());
        value.unwrap_or("unknown").to_owned()
    };
    let model = ["model name", "cpu family", "model"].map(field);
    BTreeMap::from([
        (String::from("compiler"), said("rustc", "--version")),
        (
            String::from("processor"),
            format!("{}, family {}, model {}", model[0], model[1], model[2]),
        ),
        (String::from("valgrind"), said("valgrind", "--version")),
    ])
}

fn not_compared(
    baseline: &Baseline,
    by: &BTreeMap<String, String>,
    present: &BTreeMap<String, Counts>,
) {
    println!("not compared, because the baseline was counted by others:");
    for (what, now) in by {
        let then = baseline.instructions_by.get(what).map_or("unknown", String::as_str);
        println!("  {what}: baseline {then}; present {now}");
    }
    let count = |counts: Option<&Counts>| {
        counts.and_then(|counts| counts.get("instructions")).map_or(0, |count| *count)
    };
    println!("  {:<44} {:>10} {:>10}", "instructions", "baseline", "present");
    for (path, counts) in present {
        let (then, now) = (count(baseline.instructions.get(path)), count(Some(counts)));
        println!("  {path:<44} {then:>10} {now:>10}");
    }
}
