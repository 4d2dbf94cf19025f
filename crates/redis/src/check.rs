//! Whether the server can do what the store needs.

use kvolt_cache::{Error, Result};

use crate::RedisStore;
use crate::names::PARTS;
use crate::reply;
use crate::script::{self, Call};
use crate::sentinel::field;
use crate::server::Server;

pub(crate) async fn check(store: &RedisStore) -> Result<()> {
    store.in_time(check_now(store)).await
}

async fn check_now(store: &RedisStore) -> Result<()> {
    for node in store.server().masters().await? {
        let info = Server::ask(&node, &redis::cmd("INFO")).await?;
        check_info(&reply::text(info).unwrap_or_default(), store.server())?;
        Server::ask(&node, redis::cmd("SCAN").arg(0).arg("COUNT").arg(1)).await?;
        Server::ask(&node, &redis::cmd("TIME")).await?;
        if node.options().replicas.is_some() {
            // For none, which is answered at once: whether it may be asked.
            Server::ask(&node, redis::cmd("WAIT").arg(0).arg(1)).await?;
        }
    }
    let part = PARTS - 1;
    let keys = [store.names().probe(part), format!("{}{part}}}:", store.names().indexes())];
    let call = Call::script(&script::CHECK, part, &keys);
    let answer = store.server().run(&call).await?;
    if answer.status != "refused" {
        return Ok(());
    }
    let mut rest = answer.rest.into_iter().filter_map(reply::text);
    let (command, why) = (rest.next().unwrap_or_default(), rest.next().unwrap_or_default());
    Err(Error::misconfigured(format!(
        "the user lacks the permission for {command}, or for the keys of the namespace \
         (the README has the ACL line that is needed): {why}"
    )))
}

fn check_info(info: &str, server: &Server) -> Result<()> {
    let version = field(info, "redis_version").unwrap_or_default();
    let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
    let version_is_old = match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => (major, minor) < (6, 2),
        _ => false,
    };
    if version_is_old {
        return Err(Error::misconfigured(format!(
            "the server is Redis {version}; this store works with Redis 6.2 or later, and with Valkey"
        )));
    }
    let is_cluster = field(info, "cluster_enabled") == Some("1");
    if is_cluster && !server.is_in_parts() {
        return Err(Error::misconfigured(
            "the server belongs to a cluster: write redis+cluster:// in the URL",
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
            "the server evicts keys when its memory is full: sessions then end early, and those \
             whose owner's index is evicted are not found by their owner; set maxmemory-policy noeviction"
        );
    }
    Ok(())
}
