//! The reference application of KVolt. Users sign in, see and end their sessions, change their
//! password, and count in a session; administrators see and end the sessions of all users.
//! `cargo run` starts it.

mod accounts;
mod attempts;
mod audit;
mod connections;
mod dev_https;
mod devices;
mod forms;
mod metrics;
mod negotiate;
mod options;
mod pages;
mod passwords;
mod routes;
mod shutdown;
mod sign_in_link;
mod state;
mod store;
mod times;
mod users;

use std::future::IntoFuture;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

use tokio::net::TcpListener;

use crate::dev_https::DevHttps;
use crate::options::{ListenAddress, Options};
use crate::shutdown::Shutdown;
use crate::state::App;

fn main() -> ExitCode {
    let options = match Options::from_command_line() {
        Ok(options) => options,
        Err(exit) => return exit,
    };
    start_log();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("the runtime can't start: {error}")),
    };
    match runtime.block_on(serve(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

async fn serve(options: Options) -> Result<(), String> {
    let listener = bind(&options.listen).await?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let shutdown =
        Shutdown::on_signals().map_err(|error| format!("can't handle signals: {error}"))?;
    // Here, because it would slow down the first request.
    tokio::task::spawn_blocking(kvolt::device_names::prepare);
    // Before the first metric is recorded.
    let metrics = match &options.metrics_listen {
        Some(address) => Some((bind(address).await?, metrics::install()?)),
        None => None,
    };
    let accounts = accounts::Accounts::new(&options)?;
    let app = App::new(&options, accounts, shutdown.clone()).await?;
    let mut metrics_address = None;
    if let Some((listener, recorder)) = metrics {
        metrics_address = listener.local_addr().ok();
        let router = metrics::router(recorder, app.manager().clone());
        tokio::spawn(axum::serve(listener, router).into_future());
    }
    let https = options.dev_https.then(|| DevHttps::new(&options.listen, address)).transpose()?;
    greet(&options, &app, address, https.as_ref(), metrics_address);
    let router = routes::router(app);
    match https {
        Some(https) => shutdown::serve(https.listener(listener), router, shutdown).await,
        None => shutdown::serve(listener, router, shutdown).await,
    }
}

async fn bind(address: &ListenAddress) -> Result<TcpListener, String> {
    let listener = TcpListener::bind(address.addresses()).await;
    listener.map_err(|error| format!("can't listen on {address}: {error}"))
}

/// Prints the addresses and settings to standard output, which may be closed.
fn greet(
    options: &Options,
    app: &App,
    address: SocketAddr,
    https: Option<&DevHttps>,
    metrics: Option<SocketAddr>,
) {
    let scheme = if https.is_some() { "https" } else { "http" };
    let mut text = format!("KVolt reference application: {scheme}://{address}/\n");
    if let Some(password) = app.accounts().generated_password() {
        text += &format!("  sign in as {:?} with the password {password:?}\n", accounts::DEMO);
    }
    if let Some(link) = app.sign_in_link() {
        let path = link.path();
        text += &format!("  sign in once, within 15 minutes: {scheme}://{address}{path}\n");
    }
    let namespace = options.namespace.as_ref();
    text += &format!(
        "  sessions in {}{}{}; they end after {} without use, and {} after the sign-in\n",
        options.store.kind,
        namespace.map_or_else(String::new, |name| format!(", namespace {name:?}")),
        options.near_cache.map_or_else(String::new, |bound| {
            format!(", with copies in memory for up to {}", humantime::format_duration(bound))
        }),
        humantime::format_duration(options.idle),
        humantime::format_duration(options.lifetime),
    );
    if let Some(file) = app.accounts().file() {
        text += &format!("  accounts in {}\n", file.display());
    }
    if let Some(address) = metrics {
        text += &format!("  metrics for Prometheus on http://{address}/metrics\n");
    }
    let name = options.cookie_name();
    text += &if let Some(https) = https {
        format!(
            "  HTTPS for development only: the certificate is self-signed, and new at each start\n  to start Chromium with trust in it and with keys for device-bound sessions:\n{}\n  the cookie is {name:?}, with Secure\n",
            https.chromium()
        )
    } else if options.plain_cookie() {
        format!(
            "  plain HTTP: the cookie is {name:?}, without Secure; behind a TLS proxy, add --behind-tls\n"
        )
    } else {
        format!(
            "  the cookie is {name:?}, with Secure: browsers need a TLS proxy in front of this address\n"
        )
    };
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn start_log() {
    use tracing_subscriber::EnvFilter;
    // An empty RUST_LOG would turn the log off.
    let set = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|set| !set.trim().is_empty());
    let filter = set.and_then(|set| EnvFilter::try_new(set).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new("info"));
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_writer(std::io::stderr)
        .init();
}

/// Prints an error, and returns the exit code for it.
fn failed(message: &str) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::FAILURE
}
