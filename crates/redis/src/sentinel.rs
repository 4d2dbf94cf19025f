//! Asking a sentinel.

use crate::connect::{Link, Options};
use crate::errors::Fault;
use crate::reply;
use crate::url::Address;

/// The address of the master that a sentinel monitors under this name.
pub(crate) async fn master_of(
    sentinel: &Address,
    name: &str,
    options: &Options,
) -> Result<Address, Fault> {
    let link = Link::open(sentinel, options, None).await?;
    let mut command = redis::cmd("SENTINEL");
    command.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
    let reply = link.send(&command).await?;
    let unexpected = || Fault::misconfigured(format!("{sentinel} does not reply as a sentinel"));
    let master: Option<(String, u16)> = reply::parse(reply).ok_or_else(unexpected)?;
    let (host, port) = master.ok_or_else(|| {
        Fault::misconfigured(format!("the sentinel {sentinel} monitors no master named `{name}`"))
    })?;
    Ok(Address::Tcp { host, port })
}
