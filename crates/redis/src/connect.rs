//! Opening a connection.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kvolt_cache::{Clock, Credentials, CredentialsProvider};
use redis::aio::{ConnectionManager, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, Cmd, Pipeline, ProtocolVersion, PushInfo, RedisConnectionInfo, Value,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::errors::Fault;
use crate::reply;
use crate::server_time::ServerTime;
#[cfg(feature = "tls")]
use crate::tls::Tls;
use crate::url::Address;

/// The shortest pause between two attempts to renew the credentials of a connection.
const MIN_RENEWAL: Duration = Duration::from_secs(1);
/// The longest validity that counts: an instant has no room for any duration.
const MAX_VALIDITY: Duration = Duration::from_secs(365 * 86_400);

/// How to connect, to whichever server.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    /// Asked before each connection, in place of the two.
    pub(crate) provider: Option<CredentialsProvider>,
    pub(crate) database: u32,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Tls>,
    pub(crate) timeout: Duration,
    /// How many replicas must have a change before it is answered, and how long that may take.
    pub(crate) replicas: Option<(u32, Duration)>,
}

impl Options {
    pub(crate) const fn new(timeout: Duration) -> Self {
        Self {
            user: None,
            password: None,
            provider: None,
            database: 0,
            #[cfg(feature = "tls")]
            tls: None,
            timeout,
            replicas: None,
        }
    }
}

/// A connection that many callers share. It is closed when the last of them drops it, unless it
/// belongs to the application.
pub(crate) struct Link {
    connection: Connection,
    address: Address,
    /// Identifies the server's process; `None` before [`identified`](Self::identified).
    pub(crate) run_id: Option<String>,
    pub(crate) time: ServerTime,
    opened: Instant,
    /// When the last reply came, in microseconds after `opened`.
    replied: AtomicU64,
}

enum Connection {
    Own(MultiplexedConnection, AbortHandle),
    /// The application's, which reconnects by itself.
    Existing(ConnectionManager),
}

impl Link {
    /// The application's connection.
    pub(crate) fn existing(connection: ConnectionManager) -> Self {
        Self::new(Connection::Existing(connection), &Address::Existing)
    }

    fn new(connection: Connection, address: &Address) -> Self {
        Self {
            connection,
            address: address.clone(),
            run_id: None,
            time: ServerTime::new(Clock::boot()),
            opened: Instant::now(),
            replied: AtomicU64::new(0),
        }
    }

    /// Opens a connection; pushed messages go to `pushed`.
    pub(crate) async fn open(
        address: &Address,
        options: &Options,
        pushed: Option<UnboundedSender<PushInfo>>,
    ) -> Result<Self, Fault> {
        let given = match &options.provider {
            Some(provider) => Some(credentials(provider, options.timeout).await?),
            None => None,
        };
        // A caller that waits for it must have time left to ask another server.
        let limit = options.timeout / 2;
        timeout(limit, Self::open_now(address, options, given, pushed)).await.unwrap_or_else(|_| {
            Err(Fault::unavailable(format!("{address} can't be reached within {limit:?}")))
        })
    }

    async fn open_now(
        address: &Address,
        options: &Options,
        given: Option<Credentials>,
        pushed: Option<UnboundedSender<PushInfo>>,
    ) -> Result<Self, Fault> {
        let stream = stream(address, options).await?;
        // RESP3 has pushed messages, and its greeting returns errors in the server's own words.
        let mut settings = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_skip_set_lib_name()
            .set_db(i64::from(options.database));
        let (user, password) = match &given {
            Some(given) => (Some(given.user()), Some(given.password())),
            None => (options.user.as_deref(), options.password.as_deref()),
        };
        if let Some(user) = user {
            settings = settings.set_username(user);
        }
        if let Some(password) = password {
            settings = settings.set_password(password);
        }
        // Callers have their own time limits.
        let mut config =
            AsyncConnectionConfig::new().set_response_timeout(None).set_pipeline_buffer_size(1_024);
        if let Some(pushed) = pushed {
            config = config.set_push_sender(pushed);
        }
        let (connection, driver) =
            MultiplexedConnection::new_with_config(&settings, stream, config)
                .await
                .map_err(|error| Fault::from_driver(error, address))?;
        let driver = match (given.and_then(|given| given.validity()), &options.provider) {
            (Some(valid_for), Some(provider)) => {
                let (own, provider) = (connection.clone(), provider.clone());
                let renewing = renew(own, provider, valid_for, address.clone(), options.timeout);
                tokio::spawn(async move {
                    tokio::select! {
                        () = driver => {}
                        () = renewing => {}
                    }
                })
            }
            _ => tokio::spawn(driver),
        };
        let driver = driver.abort_handle();
        Ok(Self::new(Connection::Own(connection, driver), address))
    }

    /// Asks the server's process for its identity.
    pub(crate) async fn identified(mut self) -> Result<Self, Fault> {
        self.run_id = self.identity().await?;
        Ok(self)
    }

    /// The identity of the server's process at the moment.
    pub(crate) async fn identity(&self) -> Result<Option<String>, Fault> {
        let info = self.send(redis::cmd("INFO").arg("server")).await?;
        let info: String = reply::parse(info).unwrap_or_default();
        Ok(reply::field(&info, "run_id").map(String::from))
    }

    /// Whether it belongs to the application.
    pub(crate) const fn is_existing(&self) -> bool {
        matches!(self.connection, Connection::Existing(_))
    }

    /// Whether it has not been found closed.
    pub(crate) fn is_open(&self) -> bool {
        match &self.connection {
            Connection::Own(_, driver) => !driver.is_finished(),
            Connection::Existing(_) => true,
        }
    }

    /// Whether nothing has come from the server since `moment`.
    pub(crate) fn is_silent_since(&self, moment: Instant) -> bool {
        let moment = moment.saturating_duration_since(self.opened).as_micros();
        u128::from(self.replied.load(Ordering::Relaxed)) <= moment
    }

    /// Sends a command and waits for its reply.
    pub(crate) async fn send(&self, command: &Cmd) -> Result<Value, Fault> {
        let reply = match &self.connection {
            Connection::Own(own, _) => own.clone().send_packed_command(command).await,
            // Boxed, because it is larger than the store's own and rarer.
            Connection::Existing(existing) => {
                Box::pin(existing.clone().send_packed_command(command)).await
            }
        };
        if reply.is_ok() {
            self.note_reply();
        }
        reply.and_then(Value::extract_error).map_err(|error| self.fault(error))
    }

    /// Sends commands together, with no other between them, and waits for their replies. Each may
    /// be an error by itself.
    pub(crate) async fn send_all(
        &self,
        commands: &Pipeline,
    ) -> Result<Vec<Result<Value, Fault>>, Fault> {
        let count = commands.len();
        let replies = match &self.connection {
            Connection::Own(own, _) => own.clone().send_packed_commands(commands, 0, count).await,
            Connection::Existing(existing) => {
                Box::pin(existing.clone().send_packed_commands(commands, 0, count)).await
            }
        };
        let replies = replies.map_err(|error| self.fault(error))?;
        self.note_reply();
        let checked = replies.into_iter().map(Value::extract_error);
        Ok(checked.map(|reply| reply.map_err(|error| self.fault(error))).collect())
    }

    fn note_reply(&self) {
        let passed = u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.replied.fetch_max(passed, Ordering::Relaxed);
    }

    fn fault(&self, error: redis::RedisError) -> Fault {
        let fault = Fault::from_driver(error, &self.address);
        if fault.is_lost() {
            // The application's connection may lead to another server next.
            self.time.forget();
        }
        fault
    }
}

/// Asks the application.
async fn credentials(
    provider: &CredentialsProvider,
    limit: Duration,
) -> Result<Credentials, Fault> {
    match timeout(limit, provider.ask()).await {
        Ok(Ok(given)) => Ok(given),
        Ok(Err(error)) => Err(Fault::io(
            String::from("the callback of `credentials_from` returned an error"),
            io::Error::other(error),
        )),
        Err(_) => Err(Fault::unavailable(format!(
            "the callback of `credentials_from` did not return within {limit:?}"
        ))),
    }
}

/// Authenticates a connection again, each time before its credentials expire. Never returns: once it
/// can't, the server closes the connection, and the next one has new credentials.
async fn renew(
    mut connection: MultiplexedConnection,
    provider: CredentialsProvider,
    valid_for: Duration,
    address: Address,
    limit: Duration,
) {
    let mut expires = Instant::now() + valid_for.min(MAX_VALIDITY);
    loop {
        let left = expires.saturating_duration_since(Instant::now());
        sleep((left / 4 * 3).max(MIN_RENEWAL)).await;
        let renewed = async {
            let given = credentials(&provider, limit).await?;
            let mut auth = redis::cmd("AUTH");
            auth.arg(given.user()).arg(given.password());
            let reply = timeout(limit, connection.send_packed_command(&auth)).await;
            let reply = reply.map_err(|_| Fault::no_reply(&address, limit))?;
            let checked = reply.and_then(Value::extract_error);
            checked.map_err(|error| Fault::from_driver(error, &address))?;
            Ok::<_, Fault>(given)
        };
        match renewed.await.map(|given| given.validity()) {
            Ok(Some(valid_for)) => expires = Instant::now() + valid_for.min(MAX_VALIDITY),
            Ok(None) => std::future::pending().await,
            Err(fault) => {
                let error = kvolt_cache::Error::from(fault);
                let error: &(dyn std::error::Error + 'static) = &error;
                tracing::warn!(error, "can't renew the credentials of a connection");
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Connection::Own(_, driver) = &self.connection {
            driver.abort();
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

async fn stream(address: &Address, options: &Options) -> Result<Box<dyn Stream>, Fault> {
    let failed = |error| Fault::io(format!("{address} can't be reached"), error);
    match address {
        Address::Existing => Err(Fault::unavailable(format!("{address} can't be opened here"))),
        #[cfg(not(unix))]
        Address::Unix(_) => Err(Fault::misconfigured("this system has no Unix sockets")),
        #[cfg(unix)]
        Address::Unix(path) => Ok(Box::new(UnixStream::connect(path).await.map_err(failed)?)),
        Address::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?;
            // Otherwise a command waits for the acknowledgement of the one before it.
            stream.set_nodelay(true).map_err(failed)?;
            #[cfg(not(feature = "tls"))]
            let _ = options;
            #[cfg(feature = "tls")]
            if let Some(tls) = &options.tls {
                return Ok(Box::new(tls.connect(host, stream).await?));
            }
            Ok(Box::new(stream))
        }
    }
}
