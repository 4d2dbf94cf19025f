//! A session as an operator sees it: what the store and the record's envelope say, but no secret.
//!
//! The envelope is read by the documented format (`docs/formats.md`). Its secrets are skipped, and
//! so never reach this program's own types.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str;

use kvolt::SessionId;
use kvolt::cache::{Entry, Timestamp};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::output::{printable, rfc3339, span, time};

/// The highest format of a record whose fields this program knows.
const FORMAT: u64 = 2;

/// A session, with the fields that `--json` prints. Times are in UTC, as RFC 3339 has them.
#[derive(Debug, Serialize)]
pub(crate) struct SessionView {
    id: String,
    /// The owner that the store files it under; in an impersonation, the user.
    owner: Option<String>,
    pub(crate) kind: &'static str,
    created: Option<String>,
    last_used: Option<String>,
    /// The end if it is not used.
    expires: Option<String>,
    /// The end, however often it is used.
    ends: Option<String>,
    idle_seconds: Option<f64>,
    remembered: bool,
    device_bound: bool,
    /// Whether it is bound to a value of the account.
    account_bound: bool,
    /// When each level was last proved.
    levels: BTreeMap<String, String>,
    user_agent: Option<String>,
    address: Option<IpAddr>,
    /// In an impersonation, the administrator.
    impersonator: Option<String>,
    previous_tokens: usize,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
    #[serde(skip)]
    times: Times,
}

#[derive(Debug, Clone, Copy)]
struct Times {
    created: Option<Timestamp>,
    last_used: Option<Timestamp>,
    expires: Option<Timestamp>,
    ends: Option<Timestamp>,
}

/// The fields of an envelope that are no secrets.
#[derive(Deserialize)]
struct Envelope {
    v: u64,
    created: u64,
    #[serde(default)]
    proved: BTreeMap<u8, u64>,
    #[serde(default)]
    remembered: bool,
    #[serde(default)]
    device: Device,
    #[serde(default)]
    rare: Rare,
}

#[derive(Default, Deserialize)]
struct Device {
    user_agent: Option<String>,
    address: Option<IpAddr>,
}

#[derive(Default, Deserialize)]
struct Rare {
    binding: Option<IgnoredAny>,
    #[serde(default)]
    previous: Vec<IgnoredAny>,
    impersonator: Option<Impersonator>,
    device_binding: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Impersonator {
    owner: String,
}

impl SessionView {
    pub(crate) fn of(entry: &Entry<Vec<u8>>, with_data: bool) -> Self {
        let deadlines = &entry.deadlines;
        let (envelope, data) = read(&entry.value);
        let created = envelope.as_ref().map(|envelope| Timestamp::from_millis(envelope.created));
        let times = Times {
            created: created.or(entry.created),
            last_used: deadlines.last_used(),
            expires: deadlines.expires_at(),
            ends: deadlines.absolute(),
        };
        let mut view = Self {
            id: SessionId::from_key(&entry.key).to_string(),
            owner: entry.owner.as_ref().map(|owner| owner.as_str().to_owned()),
            // The first byte of a sealed value is the number of its format, 1.
            kind: if entry.value.first() == Some(&1) { "encrypted" } else { "unreadable" },
            created: times.created.map(rfc3339),
            last_used: times.last_used.map(rfc3339),
            expires: times.expires.map(rfc3339),
            ends: times.ends.map(rfc3339),
            idle_seconds: deadlines.idle_timeout().map(|idle| idle.as_secs_f64()),
            remembered: false,
            device_bound: false,
            account_bound: false,
            levels: BTreeMap::new(),
            user_agent: None,
            address: None,
            impersonator: None,
            previous_tokens: 0,
            bytes: entry.value.len(),
            data: None,
            times,
        };
        let Some(Envelope { proved, remembered, device, rare, .. }) = envelope else { return view };
        view.kind = match (&rare.impersonator, proved.is_empty()) {
            (Some(_), _) => "impersonation",
            (None, true) => "anonymous",
            (None, false) => "signed_in",
        };
        view.remembered = remembered;
        view.device_bound = rare.device_binding.is_some();
        view.account_bound = rare.binding.is_some();
        let level =
            |(level, at): (u8, u64)| (level.to_string(), rfc3339(Timestamp::from_millis(at)));
        view.levels = proved.into_iter().map(level).collect();
        view.user_agent = device.user_agent;
        view.address = device.address;
        view.impersonator = rare.impersonator.map(|impersonator| impersonator.owner);
        view.previous_tokens = rare.previous.len();
        view.data = with_data.then(|| serde_json::from_slice(data).unwrap_or(Value::Null));
        view
    }

    /// The titles of [`cells`](Self::cells).
    pub(crate) const TITLES: &[&str] =
        &["ID", "OWNER", "KIND", "CREATED", "LAST USE", "EXPIRES", "FROM"];

    /// The cells of a row in a list.
    pub(crate) fn cells(&self) -> Vec<String> {
        let minute = |at: Option<Timestamp>| {
            at.map_or(String::from("-"), |at| rfc3339(at)[..16].replace('T', " "))
        };
        let distance =
            |at: Option<Timestamp>| at.map_or(String::from("-"), crate::output::distance);
        let mut kind = self.kind.to_owned();
        for (is_set, word) in [(self.device_bound, "bound"), (self.remembered, "remembered")] {
            if is_set {
                kind = format!("{kind}, {word}");
            }
        }
        let address = self.address.map_or(String::new(), |address| address.to_string());
        let agent = self.user_agent.as_deref().map(printable).unwrap_or_default();
        let owner = self.owner.as_deref().map_or(String::from("-"), printable);
        vec![
            self.id.clone(),
            crate::output::shortened(&owner, 40),
            kind,
            minute(self.times.created),
            distance(self.times.last_used),
            distance(self.times.expires),
            crate::output::shortened(format!("{address} {agent}").trim(), 60),
        ]
    }

    /// The lines of a whole session.
    pub(crate) fn lines(&self) -> Vec<(&'static str, String)> {
        let at = |at: Option<Timestamp>| at.map_or(String::from("-"), time);
        let text = |text: &Option<String>| text.as_deref().map_or(String::from("-"), printable);
        let yes = |is_set: bool| String::from(if is_set { "yes" } else { "no" });
        let mut lines = vec![
            ("id", self.id.clone()),
            ("owner", text(&self.owner)),
            ("kind", self.kind.to_owned()),
            ("created", at(self.times.created)),
            ("last use", at(self.times.last_used)),
            ("expires", at(self.times.expires)),
            ("ends", at(self.times.ends)),
            (
                "idle time",
                self.idle_seconds.map_or(String::from("-"), |seconds| {
                    span(std::time::Duration::from_secs_f64(seconds))
                }),
            ),
            ("size", format!("{} bytes", self.bytes)),
        ];
        if matches!(self.kind, "encrypted" | "unreadable") {
            return lines;
        }
        let levels: Vec<_> =
            self.levels.iter().map(|(level, at)| format!("{level} at {at}")).collect();
        lines.extend([
            ("levels", if levels.is_empty() { String::from("-") } else { levels.join(", ") }),
            ("remembered", yes(self.remembered)),
            ("device-bound", yes(self.device_bound)),
            ("account-bound", yes(self.account_bound)),
            ("previous tokens", self.previous_tokens.to_string()),
            ("address", self.address.map_or(String::from("-"), |address| address.to_string())),
            ("user agent", text(&self.user_agent)),
        ]);
        if self.impersonator.is_some() {
            lines.push(("impersonator", text(&self.impersonator)));
        }
        if let Some(data) = &self.data {
            lines.push(("data", printable(&data.to_string())));
        }
        lines
    }
}

/// The envelope, and the application's data.
fn read(value: &[u8]) -> (Option<Envelope>, &[u8]) {
    let Some(end) = value.iter().position(|byte| *byte == b'\n') else { return (None, &[]) };
    let envelope = str::from_utf8(&value[..end]).ok();
    let envelope = envelope.and_then(|line| serde_json::from_str::<Envelope>(line).ok());
    (envelope.filter(|envelope| (1..=FORMAT).contains(&envelope.v)), &value[end + 1..])
}
