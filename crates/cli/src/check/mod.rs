//! Settings and states of a server that would lose sessions, or undo a promise of the store.

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
mod probe;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::collections::BTreeMap;
use std::time::Duration;

use kvolt::cache::{Clock, Timestamp};
use serde::Serialize;
use serde_json::json;

use crate::args::StoreArgs;
use crate::failure::{Done, Failure};
use crate::output::Output;
use crate::sessions::count_of;
use crate::store::{Opened, Purpose, namespace, open, open_url};
use crate::url::{Kind, StoreUrl};

/// How much the clocks of the server and of this machine may differ without a warning.
const MAX_CLOCK_DIFFERENCE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    Ok,
    Warning,
    Error,
}

/// A thing that was checked, with the fields that `--json` prints.
#[derive(Debug, Serialize)]
struct Finding {
    level: Level,
    /// The name of the check.
    check: &'static str,
    /// The finding, and its meaning.
    message: String,
    /// The operator's next step.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<&'static str>,
}

/// The facts and findings about a server.
#[derive(Debug, Default)]
struct Report {
    /// Its version and settings.
    facts: BTreeMap<String, String>,
    findings: Vec<Finding>,
}

impl Report {
    fn fact(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.facts.insert(name.into(), value.into());
    }

    fn ok(&mut self, check: &'static str, message: impl Into<String>) {
        let message = message.into();
        self.findings.push(Finding { level: Level::Ok, check, message, advice: None });
    }

    fn warning(&mut self, check: &'static str, message: impl Into<String>, advice: &'static str) {
        let (level, message) = (Level::Warning, message.into());
        self.findings.push(Finding { level, check, message, advice: Some(advice) });
    }

    fn error(&mut self, check: &'static str, message: impl Into<String>, advice: &'static str) {
        let (level, message) = (Level::Error, message.into());
        self.findings.push(Finding { level, check, message, advice: Some(advice) });
    }

    /// Compares the server's clock, which was read between two readings of this machine's.
    fn clock(&mut self, before: Timestamp, server: Timestamp, after: Timestamp) {
        let ahead = server.since(after);
        let behind = before.since(server);
        let difference = ahead.max(behind);
        let which = if ahead > behind { "ahead of" } else { "behind" };
        self.fact("clock_difference_ms", difference.as_millis().to_string());
        if difference > MAX_CLOCK_DIFFERENCE {
            self.warning(
                "clock",
                format!(
                    "the server's clock is {:.1} s {which} this machine's: sessions end too early or \
                     too late by as much where the clock of the application's machine decides",
                    difference.as_secs_f64()
                ),
                "synchronize both clocks (NTP)",
            );
        } else {
            let millis = difference.as_millis();
            self.ok("clock", format!("differs from this machine's by at most {millis} ms"));
        }
    }
}

pub(crate) async fn check(args: &StoreArgs, output: &mut Output) -> Result<Done, Failure> {
    let url = StoreUrl::parse(&args.store)?;
    url.warn();
    namespace(&args.namespace)?;
    let mut report = Report::default();
    let before = Clock::boot().now();
    let opened = match open_url(&url, &args.namespace, Purpose::Operate).await {
        Ok(opened) => {
            let millis = Clock::boot().now().since(before).as_millis();
            report.ok("reach", format!("{} opens in {millis} ms", url.shown()));
            Some(opened)
        }
        Err(failure) if failure.is_usage => return Err(failure),
        Err(failure) => {
            report.error(
                "reach",
                failure.message,
                "correct the URL, the server or the permissions; `kvolt schema` prints the tables",
            );
            None
        }
    };
    inspect(&url, args, opened.as_ref(), &mut report).await;
    if let Some(opened) = &opened {
        probe::run(&opened.bytes, &mut report).await;
    }
    let has_findings = report.findings.iter().any(|finding| finding.level != Level::Ok);
    if output.is_json {
        for finding in &report.findings {
            output.json(finding)?;
        }
        return Ok(Done::unless(has_findings));
    }
    for Finding { level, check, message, advice } in &report.findings {
        let level = match level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Error => "ERROR",
        };
        output.line(&format!("{level:<8} {check:<12} {message}"))?;
        if let Some(advice) = advice {
            output.line(&format!("{:<8} {:<12} -> {advice}", "", ""))?;
        }
    }
    Ok(Done::unless(has_findings))
}

pub(crate) async fn info(args: &StoreArgs, output: &mut Output) -> Result<Done, Failure> {
    let (url, opened) = open(args).await?;
    let mut report = Report::default();
    inspect(&url, args, Some(&opened), &mut report).await;
    let sessions = count_of(&opened.bytes).await?;
    let about = [
        ("kvolt", env!("CARGO_PKG_VERSION").to_owned()),
        ("system", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)),
        ("store", url.kind.name().to_owned()),
        ("url", url.shown().to_owned()),
        ("namespace", args.namespace.namespace.clone()),
        ("timeout_seconds", args.namespace.timeout.as_secs_f64().to_string()),
        ("sessions", sessions.to_string()),
    ];
    if output.is_json {
        let mut all = json!({ "server": report.facts });
        for (name, value) in about {
            all[name] = match name {
                "sessions" => json!(sessions),
                _ => json!(value),
            };
        }
        output.json(&all)?;
        return Ok(Done::Fully);
    }
    let server = report.facts.into_iter().map(|(name, value)| (format!("server {name}"), value));
    let about = about.into_iter().map(|(name, value)| (name.to_owned(), value));
    let lines: Vec<_> = about.chain(server).collect();
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, value) in lines {
        output.line(&format!("{name:<width$}  {value}"))?;
    }
    Ok(Done::Fully)
}

/// Reads the server's version and settings, and judges them.
async fn inspect(url: &StoreUrl, args: &StoreArgs, opened: Option<&Opened>, report: &mut Report) {
    match url.kind {
        #[cfg(feature = "redis")]
        Kind::Redis => {
            if let Some(store) = opened.and_then(|opened| opened.redis.as_ref()) {
                redis::inspect(url, store, report).await;
            }
        }
        #[cfg(feature = "postgres")]
        Kind::Postgres => postgres::inspect(url, args, report).await,
        #[cfg(feature = "mysql")]
        Kind::MySql => mysql::inspect(url, args, report).await,
        #[cfg(feature = "sqlite")]
        Kind::Sqlite => sqlite::inspect(url, report).await,
        #[cfg(not(all(
            feature = "redis",
            feature = "postgres",
            feature = "mysql",
            feature = "sqlite"
        )))]
        _ => {}
    }
}
