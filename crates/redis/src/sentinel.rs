//! Finding the master that sentinels watch.

use std::time::Duration;

use tokio::time::timeout;

use crate::connect::{Link, Options};
use crate::errors::Fault;
use crate::reply;
use crate::url::Address;

/// How long one sentinel may take before the next is asked.
const PATIENCE: Duration = Duration::from_millis(500);

/// Sentinels, and the name of the master.
pub(crate) struct Sentinels {
    sentinels: Vec<Address>,
    master: String,
    options: Options,
}

impl Sentinels {
    /// `options` are those for the sentinels, which have passwords of their own.
    pub(crate) fn new(sentinels: Vec<Address>, master: String, options: Options) -> Self {
        Self { sentinels, master, options }
    }

    /// A connection to the master.
    pub(crate) async fn open_master(&self, options: &Options) -> Result<Link, Fault> {
        let mut fault = None;
        for sentinel in &self.sentinels {
            match self.open_by(sentinel, options).await {
                Ok(link) => return Ok(link),
                // What a person has to see is told rather than that another is down.
                Err(now)
                    if fault.as_ref().is_none_or(|before: &Fault| !before.is_misconfigured()) =>
                {
                    fault = Some(now);
                }
                Err(_) => {}
            }
        }
        Err(fault.unwrap_or_else(|| Fault::misconfigured("no sentinel is named")))
    }

    /// Where the master is, by the first sentinel that says it.
    pub(crate) async fn master(&self) -> Result<Address, Fault> {
        let mut fault = Fault::misconfigured("no sentinel is named");
        for sentinel in &self.sentinels {
            match self.ask_within(sentinel).await {
                Ok(address) => return Ok(address),
                Err(now) => fault = now,
            }
        }
        Err(fault)
    }

    async fn ask_within(&self, sentinel: &Address) -> Result<Address, Fault> {
        let patience = PATIENCE.min(self.options.timeout);
        timeout(patience, self.ask(sentinel)).await.unwrap_or_else(|_| {
            Err(Fault::unavailable(format!("the sentinel {sentinel} did not answer")))
        })
    }

    async fn open_by(&self, sentinel: &Address, options: &Options) -> Result<Link, Fault> {
        let master = self.ask_within(sentinel).await?;
        let link = Link::open(&master, options).await?;
        // A sentinel may not have heard yet that there is another master.
        match role(&link).await? {
            role if role == "master" => Ok(link),
            role => Err(Fault::unavailable(format!(
                "{master} is a {role}, and the sentinels have not agreed on another master yet"
            ))),
        }
    }

    async fn ask(&self, sentinel: &Address) -> Result<Address, Fault> {
        let link = Link::open(sentinel, &self.options).await?;
        let mut command = redis::cmd("SENTINEL");
        command.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.master);
        let answer = reply::array(link.send(&command).await?).ok_or_else(|| {
            Fault::misconfigured(format!(
                "the sentinel {sentinel} watches no master of the name `{}`",
                self.master
            ))
        })?;
        let mut parts = answer.into_iter().filter_map(reply::text);
        let strange = || Fault::misconfigured(format!("{sentinel} answers as no sentinel does"));
        let (host, port) = parts.next().zip(parts.next()).ok_or_else(strange)?;
        let port = port.parse().map_err(|_| strange())?;
        Ok(Address::Tcp { host, port })
    }
}

/// What the server is: `master`, `slave`.
pub(crate) async fn role(link: &Link) -> Result<String, Fault> {
    let mut info = redis::cmd("INFO");
    info.arg("replication");
    let text = reply::text(link.send(&info).await?).unwrap_or_default();
    Ok(String::from(field(&text, "role").unwrap_or("server that does not tell its role")))
}

/// A field of what INFO says.
pub(crate) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}
