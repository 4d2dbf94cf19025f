//! Redis and Valkey.

use std::collections::BTreeMap;

use kvolt::RedisStore;
use kvolt::cache::{Clock, Timestamp};

use super::Report;
use crate::url::StoreUrl;

pub(super) async fn inspect(url: &StoreUrl, store: &RedisStore, report: &mut Report) {
    let is_encrypted = url.url.starts_with("rediss") || url.url.starts_with("valkeys");
    if is_encrypted && url.settings.accepts_any_certificate {
        report.error(
            "tls",
            "any certificate is accepted: an attacker between client and server can read and end \
             sessions",
            "remove insecure_accept_any_certificate, and set ca_file",
        );
    } else if is_encrypted {
        report.ok("tls", "the connection is encrypted, and the server's certificate was verified");
    } else if url.url.starts_with("unix:") || url.is_loopback() {
        report.ok("tls", "not needed on this machine");
    } else {
        report.warning(
            "tls",
            "the connection is plain text: the network can read the password and all sessions",
            "use rediss://",
        );
    }
    let before = Clock::system().now();
    match store.ask_masters(&["TIME"]).await {
        Ok(replies) => {
            let after = Clock::system().now();
            for (_, reply) in replies {
                if let [seconds, micros] = &reply[..]
                    && let (Ok(seconds), Ok(micros)) =
                        (seconds.parse::<u64>(), micros.parse::<u64>())
                {
                    let server = Timestamp::from_millis(seconds * 1_000 + micros / 1_000);
                    report.clock(before, server, after);
                }
            }
        }
        Err(error) => report.warning("clock", error.to_string(), "permit TIME"),
    }
    let infos = match store.ask_masters(&["INFO"]).await {
        Ok(infos) => infos,
        Err(error) => {
            report.warning("server", error.to_string(), "permit INFO");
            return;
        }
    };
    let settings = store.ask_masters(&["CONFIG", "GET", "*"]).await.unwrap_or_default();
    let settings: BTreeMap<&str, BTreeMap<&str, &str>> = settings
        .iter()
        .map(|(address, reply)| {
            let pairs = reply.chunks_exact(2).map(|pair| (&*pair[0], &*pair[1]));
            (&**address, pairs.collect())
        })
        .collect();
    if settings.is_empty() {
        report.warning(
            "settings",
            "the user may not read the server's settings (CONFIG GET): appendfsync and \
             min-replicas-to-write were not checked",
            "check them by hand, or permit CONFIG|GET for this command",
        );
    }
    let is_alone = infos.len() == 1;
    for (address, reply) in &infos {
        let text = reply.join("\n");
        let none = BTreeMap::new();
        let settings = settings.get(&**address).unwrap_or(&none);
        let node = Node { address, info: &text, settings, is_alone };
        node.judge(report);
    }
}

/// A master.
struct Node<'a> {
    address: &'a str,
    info: &'a str,
    settings: &'a BTreeMap<&'a str, &'a str>,
    is_alone: bool,
}

impl Node<'_> {
    fn field(&self, name: &str) -> &str {
        let mut lines = self.info.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.map(str::trim).unwrap_or_default()
    }

    fn number(&self, name: &str) -> u64 {
        self.field(name).parse().unwrap_or(0)
    }

    /// A message, with the address if there are several masters.
    fn says(&self, message: String) -> String {
        if self.is_alone { message } else { format!("{}: {message}", self.address) }
    }

    fn judge(&self, report: &mut Report) {
        self.facts(report);
        let valkey = self.field("valkey_version");
        let version = match valkey {
            "" => format!("Redis {}", self.field("redis_version")),
            version => format!("Valkey {version}"),
        };
        report.ok("version", self.says(format!("{version}, {}", self.field("redis_mode"))));
        self.judge_memory(report);
        self.judge_persistence(report);
        self.judge_replication(report);
    }

    fn facts(&self, report: &mut Report) {
        const FIELDS: &[&str] = &[
            "redis_version",
            "valkey_version",
            "redis_mode",
            "os",
            "role",
            "connected_slaves",
            "maxmemory",
            "maxmemory_policy",
            "used_memory",
            "evicted_keys",
            "aof_enabled",
            "rdb_last_bgsave_status",
            "aof_last_write_status",
            "uptime_in_seconds",
        ];
        const SETTINGS: &[&str] = &[
            "appendfsync",
            "appendonly",
            "min-replicas-to-write",
            "save",
            "tracking-table-max-keys",
        ];
        let name = |name: &str| {
            if self.is_alone { name.to_owned() } else { format!("{} {name}", self.address) }
        };
        for field in FIELDS.iter().filter(|field| !self.field(field).is_empty()) {
            report.fact(name(field), self.field(field));
        }
        for setting in SETTINGS {
            if let Some(value) = self.settings.get(setting) {
                report.fact(name(setting), *value);
            }
        }
    }

    fn judge_memory(&self, report: &mut Report) {
        let (policy, max) = (self.field("maxmemory_policy"), self.number("maxmemory"));
        let (used, evicted) = (self.number("used_memory"), self.number("evicted_keys"));
        if policy != "noeviction" && max > 0 {
            report.error(
                "eviction",
                self.says(format!(
                    "maxmemory-policy is {policy}: once {max} bytes are full, the server deletes \
                     sessions, and indexes by which they are listed and revoked ({evicted} keys were \
                     evicted so far)"
                )),
                "CONFIG SET maxmemory-policy noeviction, and alert on used_memory",
            );
        } else if policy != "noeviction" {
            report.warning(
                "eviction",
                self.says(format!(
                    "maxmemory-policy is {policy}; it has no effect while maxmemory is 0, and deletes \
                     sessions once that is set"
                )),
                "CONFIG SET maxmemory-policy noeviction",
            );
        } else {
            report.ok("eviction", self.says(String::from("maxmemory-policy is noeviction")));
        }
        if max > 0 && used > max / 10 * 9 {
            report.warning(
                "memory",
                self.says(format!("{used} of {max} bytes are used: sign-ins fail once it is full")),
                "raise maxmemory",
            );
        }
    }

    fn judge_persistence(&self, report: &mut Report) {
        let (aof, save) = (self.field("aof_enabled") == "1", self.settings.get("save"));
        let fsync = self.settings.get("appendfsync").copied().unwrap_or("unknown");
        match (aof, fsync) {
            (true, "always") => {
                report.ok("durability", self.says(String::from("appendfsync is always")));
            }
            (true, "no") => report.warning(
                "durability",
                self.says(String::from(
                    "appendfsync is no: a power failure may undo half a minute of changes, and a \
                     session that was ended then is live again",
                )),
                "set appendfsync to always, or to everysec if a second may be undone",
            ),
            (true, _) => report.ok(
                "durability",
                self.says(format!(
                    "append-only file, appendfsync {fsync}: a power failure may undo about the last \
                     second"
                )),
            ),
            (false, _) if save.is_some_and(|save| save.is_empty()) => report.warning(
                "durability",
                self.says(String::from(
                    "no append-only file and no snapshots: a restart of the server ends all sessions",
                )),
                "set appendonly yes, unless every restart may sign all users out",
            ),
            (false, _) => report.warning(
                "durability",
                self.says(String::from(
                    "no append-only file: a restart returns to the last snapshot, so later sessions \
                     are lost, and sessions that were ended since are live again",
                )),
                "set appendonly yes",
            ),
        }
        for (field, what) in
            [("rdb_last_bgsave_status", "snapshot"), ("aof_last_write_status", "append-only write")]
        {
            if self.field(field) == "err" {
                report.error(
                    "disk",
                    self.says(format!("the last {what} failed: the server may reject all writes")),
                    "read the server's log, and make room on its disk",
                );
            }
        }
    }

    fn judge_replication(&self, report: &mut Report) {
        let replicas = self.number("connected_slaves");
        let min = self.settings.get("min-replicas-to-write").copied().unwrap_or("0");
        if replicas == 0 {
            report.ok("replication", self.says(String::from("no replica, so no failover")));
        } else if min == "0" {
            report.warning(
                "replication",
                self.says(format!(
                    "{replicas} replicas, and min-replicas-to-write is 0: a master that was cut off \
                     accepts changes, which the failover undoes"
                )),
                "set min-replicas-to-write 1, and wait_replicas in the application",
            );
        } else {
            report.ok(
                "replication",
                self.says(format!("{replicas} replicas, min-replicas-to-write {min}")),
            );
        }
    }
}
