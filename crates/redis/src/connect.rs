//! Making a connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kvolt_cache::Clock;
use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Cmd, Pipeline, ProtocolVersion, RedisConnectionInfo, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use crate::errors::Fault;
use crate::reply;
use crate::sentinel::field;
use crate::server_time::ServerTime;
#[cfg(feature = "tls")]
use crate::tls::Tls;
use crate::url::Address;

/// How to connect, whichever server it is.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: u32,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Tls>,
    pub(crate) timeout: Duration,
    /// How many replicas have to have a change before it is answered, and how long that may take.
    pub(crate) replicas: Option<(u32, Duration)>,
}

/// A connection that many callers share.
///
/// It is closed when the last of them lets go of it.
pub(crate) struct Link {
    connection: MultiplexedConnection,
    driver: AbortHandle,
    address: Address,
    /// Which process answers; `None` where it was not asked, or does not say.
    run_id: Option<String>,
    time: ServerTime,
    born: Instant,
    /// When the last answer came, in microseconds after `born`.
    heard: AtomicU64,
}

impl Link {
    pub(crate) async fn open(address: &Address, options: &Options) -> Result<Self, Fault> {
        Self::open_with(address, options, AsyncConnectionConfig::new()).await
    }

    /// A connection whose pushed messages go to `pushed`.
    pub(crate) async fn open_pushed(
        address: &Address,
        options: &Options,
        pushed: impl AsyncPushSender,
    ) -> Result<Self, Fault> {
        let config = AsyncConnectionConfig::new().set_push_sender(pushed);
        Self::open_with(address, options, config).await
    }

    async fn open_with(
        address: &Address,
        options: &Options,
        config: AsyncConnectionConfig,
    ) -> Result<Self, Fault> {
        let opening = Self::open_now(address, options, config);
        // Whoever waits for it has to have time left to look elsewhere.
        let limit = options.timeout / 2;
        timeout(limit, opening).await.unwrap_or_else(|_| {
            Err(Fault::unavailable(format!("{address} can't be reached within {limit:?}")))
        })
    }

    async fn open_now(
        address: &Address,
        options: &Options,
        config: AsyncConnectionConfig,
    ) -> Result<Self, Fault> {
        let failed = |error| Fault::io(&format!("{address} can't be reached"), error);
        match address {
            #[cfg(not(unix))]
            Address::Unix(_) => {
                Err(Fault::misconfigured("there are no such sockets on this system"))
            }
            #[cfg(unix)]
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(failed)?;
                Self::greet(stream, address, options, config).await
            }
            Address::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?;
                // Else a command waits for the acknowledgement of the one before it.
                stream.set_nodelay(true).map_err(failed)?;
                #[cfg(feature = "tls")]
                if let Some(tls) = &options.tls {
                    let stream = tls.connect(host, stream).await?;
                    return Self::greet(stream, address, options, config).await;
                }
                Self::greet(stream, address, options, config).await
            }
        }
    }

    async fn greet<S>(
        stream: S,
        address: &Address,
        options: &Options,
        config: AsyncConnectionConfig,
    ) -> Result<Self, Fault>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // RESP3 for pushed messages; and its greeting tells errors as the server words them.
        let mut settings = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_skip_set_lib_name()
            .set_db(i64::from(options.database));
        if let Some(user) = &options.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &options.password {
            settings = settings.set_password(password);
        }
        // Callers have their own limits on the time.
        let config = config.set_response_timeout(None).set_pipeline_buffer_size(1_024);
        let (connection, driver) =
            MultiplexedConnection::new_with_config(&settings, stream, config)
                .await
                .map_err(|error| Fault::of(error, &address.to_string()))?;
        let driver = tokio::spawn(driver).abort_handle();
        let (born, heard) = (Instant::now(), AtomicU64::new(0));
        let (address, time) = (address.clone(), ServerTime::new(Clock::boot()));
        Ok(Self { connection, driver, address, run_id: None, time, born, heard })
    }

    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    /// Asks which process answers.
    pub(crate) async fn identified(mut self) -> Result<Self, Fault> {
        let info = self.send(redis::cmd("INFO").arg("server")).await?;
        let info = reply::text(info).unwrap_or_default();
        self.run_id = field(&info, "run_id").map(String::from);
        Ok(self)
    }

    /// Whether another process answers here than there.
    pub(crate) fn is_of_another(&self, other: &Self) -> bool {
        self.run_id != other.run_id
    }

    /// The clock of the server.
    pub(crate) const fn time(&self) -> &ServerTime {
        &self.time
    }

    /// Whether it has not been found closed.
    pub(crate) fn is_open(&self) -> bool {
        !self.driver.is_finished()
    }

    /// Whether nothing has come from the server since then.
    pub(crate) fn is_silent_since(&self, moment: Instant) -> bool {
        let moment = moment.saturating_duration_since(self.born).as_micros();
        u128::from(self.heard.load(Ordering::Relaxed)) <= moment
    }

    /// Sends a command and awaits its answer.
    pub(crate) async fn send(&self, command: &Cmd) -> Result<Value, Fault> {
        let answer = self.connection.clone().send_packed_command(command).await;
        if answer.is_ok() {
            self.hear();
        }
        answer.and_then(Value::extract_error).map_err(|error| self.fault(error))
    }

    /// Sends commands together, so that nobody's come between them, and awaits their answers.
    /// Each may be an error by itself.
    pub(crate) async fn send_all(
        &self,
        commands: &Pipeline,
    ) -> Result<Vec<Result<Value, Fault>>, Fault> {
        let count = commands.len();
        let answers = self.connection.clone().send_packed_commands(commands, 0, count).await;
        let answers = answers.map_err(|error| self.fault(error))?;
        self.hear();
        let checked = answers.into_iter().map(Value::extract_error);
        Ok(checked.map(|answer| answer.map_err(|error| self.fault(error))).collect())
    }

    fn hear(&self) {
        let passed = u64::try_from(self.born.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.heard.fetch_max(passed, Ordering::Relaxed);
    }

    fn fault(&self, error: redis::RedisError) -> Fault {
        Fault::of(error, &self.address.to_string())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
