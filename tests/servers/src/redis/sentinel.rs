use super::builder::Role;
use super::{Redis, RedisBuilder, info_field};
use crate::failure::OrPanic;
use crate::{Failure, wait};

/// A Redis master with two replicas, monitored by three sentinels with a quorum of two.
///
/// A master that is down for two seconds is replaced. A shorter time could cause unwanted
/// failovers on a busy machine. A test that needs one sends `SENTINEL SET kvolt
/// down-after-milliseconds 500` to each of the [`sentinels`](Self::sentinels).
#[derive(Debug)]
pub struct RedisSentinel {
    stores: Vec<Redis>,
    sentinels: Vec<Redis>,
}

const MASTER_NAME: &str = "kvolt";
const STORES: usize = 3;
const SENTINELS: usize = 3;

/// Shorter intervals, as in Redis's own tests.
const SHORT_INTERVALS: [&str; 8] =
    ["SENTINEL", "DEBUG", "INFO-PERIOD", "500", "PUBLISH-PERIOD", "500", "ASK-PERIOD", "200"];

impl RedisSentinel {
    /// Starts Debian's servers, and waits until all servers and sentinels know each other.
    ///
    /// # Panics
    ///
    /// Panics if the package is not installed or the servers do not start.
    #[track_caller]
    pub fn start() -> Self {
        Self::of(Redis::builder())
    }

    /// Starts the servers with these settings for the master and the replicas. TLS is not
    /// supported.
    ///
    /// # Panics
    ///
    /// Panics if the package is not installed or the servers do not start.
    #[track_caller]
    pub fn of(store: RedisBuilder) -> Self {
        Self::try_of(&store).or_panic()
    }

    fn try_of(store: &RedisBuilder) -> Result<Self, Failure> {
        if store.tls.is_some() {
            return Err(Failure::fatal("sentinels with TLS are not supported here"));
        }
        let master = store.try_start()?;
        let port = master.port();
        let replica = store.clone().config("replicaof", &format!("127.0.0.1 {port}"));
        let mut stores = vec![master];
        for _ in 1..STORES {
            stores.push(replica.try_start()?);
        }
        let mut sentinel = Redis::builder()
            .flavour(store.flavour)
            .role(Role::Sentinel)
            .config("sentinel", &format!("monitor {MASTER_NAME} 127.0.0.1 {port} 2"))
            .config("sentinel", &format!("down-after-milliseconds {MASTER_NAME} 2000"))
            // Also blocks a second failover for twice this time.
            .config("sentinel", &format!("failover-timeout {MASTER_NAME} 3000"))
            .config("sentinel", &format!("parallel-syncs {MASTER_NAME} 2"));
        if let Some(password) = &store.password {
            sentinel = sentinel.config("sentinel", &format!("auth-pass {MASTER_NAME} {password}"));
        }
        let sentinels: Vec<Redis> =
            (0..SENTINELS).map(|_| sentinel.try_start()).collect::<Result<_, _>>()?;
        for sentinel in &sentinels {
            // Shortens the sentinels' intervals of two and ten seconds. Redis 6.2 does not
            // support this and is slower.
            let _ = sentinel.try_cli(&SHORT_INTERVALS);
        }
        let started = Self { stores, sentinels };
        wait::until("sentinels", || started.is_complete())?;
        Ok(started)
    }

    /// Returns the service name of the master, as clients pass it to the sentinels.
    pub fn master_name(&self) -> &'static str {
        MASTER_NAME
    }

    /// Returns the addresses of the sentinels, as `127.0.0.1:PORT`.
    pub fn sentinel_addresses(&self) -> Vec<String> {
        self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port())).collect()
    }

    /// Returns the sentinels, for example to stop or pause one.
    pub fn sentinels(&self) -> &[Redis] {
        &self.sentinels
    }

    /// Returns the data servers; the first one is the initial master.
    pub fn stores(&self) -> &[Redis] {
        &self.stores
    }

    /// Returns the index of the store that the sentinels consider the master.
    ///
    /// # Panics
    ///
    /// Panics if no sentinel runs.
    #[track_caller]
    pub fn master(&self) -> usize {
        self.agreed_master().or_panic()
    }

    /// Makes the sentinels promote a replica while the master runs; returns the new master.
    ///
    /// # Panics
    ///
    /// Panics if no replica is promoted in time.
    #[track_caller]
    pub fn fail_over(&self) -> usize {
        let former = self.master();
        // A sentinel rejects a failover shortly after the previous one.
        wait::until("a failover", || self.on_any(&["SENTINEL", "FAILOVER", MASTER_NAME]))
            .or_panic();
        self.wait_until_replaced(former)
    }

    /// Kills the master and waits until a replica is promoted; returns the new master.
    ///
    /// # Panics
    ///
    /// Panics if no replica is promoted in time.
    #[track_caller]
    pub fn kill_master(&self) -> usize {
        let former = self.master();
        self.stores[former].kill();
        self.wait_until_replaced(former)
    }

    /// Waits until another store is the master and all other running stores replicate it,
    /// for example after the previous master was killed or paused; returns the new master.
    ///
    /// # Panics
    ///
    /// Panics if the master is not replaced in time.
    #[track_caller]
    pub fn wait_until_replaced(&self, former: usize) -> usize {
        wait::until("a promotion", || match self.agreed_master()? {
            master if master == former => Err(Failure::new("the master has not changed")),
            master => self.is_in_step(master).map(|()| master),
        })
        .or_panic()
    }

    /// Waits until all running sentinels agree, and all running stores replicate the
    /// master. After a restart this takes some ten seconds.
    ///
    /// # Panics
    ///
    /// Panics if this does not happen in time.
    #[track_caller]
    pub fn wait_until_whole(&self) {
        wait::until("sentinels", || self.is_complete()).or_panic();
    }

    fn is_complete(&self) -> Result<(), Failure> {
        self.is_in_step(self.agreed_master()?)?;
        let running = self.stores.iter().filter(|store| store.is_running()).count();
        for sentinel in self.running_sentinels() {
            sentinel.try_cli(&["SENTINEL", "CKQUORUM", MASTER_NAME])?;
            let state = sentinel.try_cli(&["SENTINEL", "MASTER", MASTER_NAME])?;
            let field = |name| pair(&state, name).and_then(|value| value.parse::<usize>().ok());
            let others = field("num-other-sentinels");
            let replicas = field("num-slaves");
            if others != Some(SENTINELS - 1) || replicas.is_none_or(|count| count + 1 < running) {
                let known = format!("{others:?} others and {replicas:?} replicas");
                return Err(Failure::new(format!("a sentinel knows {known}")));
            }
        }
        Ok(())
    }

    /// Checks that every running store is the master or replicates it.
    fn is_in_step(&self, master: usize) -> Result<(), Failure> {
        let port = self.stores[master].port().to_string();
        for (at, store) in self.stores.iter().enumerate().filter(|(_, store)| store.is_running()) {
            let info = store.try_cli(&["INFO", "replication"])?;
            let is_healthy = match at == master {
                true => info_field(&info, "role") == "master",
                false => {
                    info_field(&info, "master_port") == port
                        && info_field(&info, "master_link_status") == "up"
                }
            };
            if !is_healthy {
                return Err(Failure::new(format!("store {at} reports:\n{info}")));
            }
        }
        Ok(())
    }

    /// Returns the master on which all running sentinels agree.
    fn agreed_master(&self) -> Result<usize, Failure> {
        let mut agreed = None;
        for sentinel in self.running_sentinels() {
            let address =
                sentinel.try_cli(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME])?;
            let named = address.lines().nth(1).and_then(|port| port.parse::<u16>().ok());
            let is_named = |store: &Redis| Some(store.port()) == named;
            let master = self.stores.iter().position(is_named);
            let master = master.ok_or_else(|| {
                Failure::new(format!("the master's address {address} is unknown"))
            })?;
            if agreed.is_some_and(|other| other != master) {
                return Err(Failure::new("the sentinels do not agree"));
            }
            agreed = Some(master);
        }
        agreed.ok_or_else(|| Failure::fatal("no sentinel runs"))
    }

    fn on_any(&self, args: &[&str]) -> Result<String, Failure> {
        let mut running = self.running_sentinels();
        running.next().ok_or_else(|| Failure::fatal("no sentinel runs"))?.try_cli(args)
    }

    fn running_sentinels(&self) -> impl Iterator<Item = &Redis> {
        self.sentinels.iter().filter(|sentinel| sentinel.is_running())
    }
}

/// Returns the value after a name, in a list with alternating lines of names and values.
fn pair<'a>(list: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = list.lines();
    lines.find(|line| *line == name)?;
    lines.next()
}
