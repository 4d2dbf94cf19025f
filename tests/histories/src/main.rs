//! Runs clients on a store under fault injection, and reports whether its promises held.
#![expect(clippy::print_stdout, reason = "the output is the purpose of this program")]

use std::process::ExitCode;
use std::time::Duration;

use kvolt_histories::checker::check;
use kvolt_histories::stores::{StoreKind, StoreOptions, open};
use kvolt_histories::{Plan, Summary, record};

const USAGE: &str = "\
Usage: kvolt-histories --store STORE [--seconds N] [--seed S] [--clients N] [--near-cache TIME] [--calm]

  --store STORE      memory, redis, redis-sentinel, redis-cluster, postgres,
                     mariadb or sqlite
  --seconds N        duration of the run (default: 20)
  --seed S           seed of all random choices (default: the process id, printed)
  --clients N        number of concurrent clients (default: 24)
  --ops N            maximum number of operations (default: 2000000)
  --near-cache TIME  use a near cache with this bound in each process, such as 1s or 200ms
  --wait-replicas N  number of replicas that must have a change before it is acknowledged (Redis)
  --only FAULT       the only fault of a single server: kill -9, stop, pause, cut, blackhole,
                     replies held or connections dropped
  --calm             inject no faults

Exits with 1 if a promise was broken or the store did not recover.";

#[tokio::main]
async fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            println!("{error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(options).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            println!("{error}");
            ExitCode::from(2)
        }
    }
}

struct Options {
    store: StoreKind,
    store_options: StoreOptions,
    plan: Plan,
}

async fn run(options: Options) -> Result<bool, String> {
    let Options { store, store_options, plan } = options;
    let StoreOptions { near_cache, wait_replicas, .. } = store_options;
    let near = near_cache.map_or(String::new(), |bound| format!(" --near-cache {bound:?}"));
    let (seconds, seed, clients) = (plan.time.as_secs(), plan.seed, plan.clients);
    println!(
        "--store {store}{near} --wait-replicas {wait_replicas} --seconds {seconds} --seed {seed} --clients {clients}"
    );
    let setup = open(store, store_options).await?;
    let recording = record(setup.processes, &plan, Some(setup.injector)).await;
    let summary = Summary::of(&recording);
    let report = check(&recording.history, &setup.rules);
    println!("{summary}{report}");
    Ok(report.is_clean() && summary.has_recovered())
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut store = None;
    let mut store_options = StoreOptions::default();
    let mut plan = Plan {
        seed: std::process::id().into(),
        time: Duration::from_secs(20),
        ops_max: 2_000_000,
        ..Plan::default()
    };
    while let Some(name) = args.next() {
        if name == "--calm" {
            plan.without_faults = true;
            continue;
        }
        let value = args.next().ok_or_else(|| format!("{name} requires a value"))?;
        let number =
            || value.parse::<u64>().map_err(|_| format!("{name}: {value} is not a number"));
        match name.as_str() {
            "--store" => store = Some(value.parse()?),
            "--near-cache" => store_options.near_cache = Some(time(&value)?),
            "--only" => store_options.only = Some(value),
            "--wait-replicas" => store_options.wait_replicas = number()? as u32,
            "--seconds" => plan.time = Duration::from_secs(number()?),
            "--seed" => plan.seed = number()?,
            "--clients" => plan.clients = number()? as usize,
            "--ops" => plan.ops_max = number()? as usize,
            _ => return Err(format!("unknown option {name}")),
        }
    }
    plan.bound = store_options.near_cache.unwrap_or_default() + Duration::from_millis(50);
    let store = store.ok_or("--store is required")?;
    Ok(Options { store, store_options, plan })
}

fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.trim_end_matches('s'), 1_000),
    };
    let number: u64 =
        number.parse().map_err(|_| format!("{text} is not a time such as 1s or 200ms"))?;
    Ok(Duration::from_millis(number * unit))
}
