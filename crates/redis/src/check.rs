//! Whether the servers can do what the store needs.

use kvolt_cache::{Error, Result};

use crate::names::{Names, PARTS};
use crate::reply::{self, field};
use crate::script::{self, Call};
use crate::servers::Servers;

pub(crate) async fn check(servers: &Servers, names: &Names) -> Result<()> {
    for node in servers.refresh().await?.masters() {
        let info: String = reply::parse(node.send(&redis::cmd("INFO")).await?).unwrap_or_default();
        check_info(&info, servers.is_cluster())?;
        node.send(redis::cmd("SCAN").arg(0).arg("COUNT").arg(1)).await?;
        node.send(&redis::cmd("TIME")).await?;
        if servers.options.replicas.is_some() {
            // Checks the permission. Waiting for no replica ends at once.
            node.send(redis::cmd("WAIT").arg(0).arg(1)).await?;
        }
    }
    let part = PARTS - 1;
    let keys = [names.probe(part), format!("{}{part}}}:", names.indexes())];
    let answer = servers.run(&Call::script(&script::CHECK, part, &keys)).await?;
    if answer.status != "denied" {
        return Ok(());
    }
    let mut rest = answer.texts()?.into_iter();
    let (command, why) = (rest.next().unwrap_or_default(), rest.next().unwrap_or_default());
    Err(Error::misconfigured(format!(
        "the user lacks the permission for {command}, or for the keys of the namespace \
         (the README has the ACL rule that is needed): {why}"
    )))
}

fn check_info(info: &str, expects_cluster: bool) -> Result<()> {
    let version = field(info, "redis_version").unwrap_or_default();
    let numbers: Vec<u32> = version.split('.').map_while(|number| number.parse().ok()).collect();
    if !numbers.is_empty() && numbers[..] < [6, 2][..] {
        return Err(Error::misconfigured(format!(
            "the server is Redis {version}; this store works with Redis 6.2 or later, and with Valkey"
        )));
    }
    if field(info, "cluster_enabled") == Some("1") && !expects_cluster {
        return Err(Error::misconfigured(
            "the server belongs to a cluster, which needs a URL with redis+cluster://",
        ));
    }
    if field(info, "loading") == Some("1") {
        return Err(Error::unavailable("the server is still loading its data"));
    }
    if field(info, "role") == Some("slave") {
        return Err(Error::misconfigured(
            "the server is a replica: name the master, or the sentinels (redis+sentinel://)",
        ));
    }
    let policy = field(info, "maxmemory_policy").unwrap_or("noeviction");
    if policy != "noeviction" && field(info, "maxmemory") != Some("0") {
        tracing::warn!(
            policy,
            "the server evicts keys when its memory is full: sessions then end early, and can't be \
             listed or revoked by their owner if its index is evicted; set maxmemory-policy noeviction"
        );
    }
    Ok(())
}
