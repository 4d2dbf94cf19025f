//! The stores of the program, which a test starts.

use std::any::Any;

use kvolt_servers::{MariaDb, Postgres, Proxy, Redis};

use super::App;

/// A store, by the URL for the program.
pub struct StoreServer {
    url: Option<String>,
    /// The URL past the proxy.
    pub direct: String,
    pub proxy: Option<Proxy>,
    /// Runs as long as the test.
    _server: Box<dyn Any>,
}

impl StoreServer {
    fn behind(proxy: Proxy, url: &str, server: impl Any) -> Self {
        Self {
            url: Some(proxy.url(url)),
            direct: url.to_owned(),
            proxy: Some(proxy),
            _server: Box::new(server),
        }
    }

    pub fn redis() -> Self {
        let redis = Redis::start();
        Self::behind(Proxy::to(redis.port()), &redis.url(), redis)
    }

    pub fn postgres() -> Self {
        let postgres = Postgres::builder().fsync(false).start();
        Self::behind(Proxy::to(postgres.port()), &postgres.url(), postgres)
    }

    pub fn mariadb() -> Self {
        let mariadb = MariaDb::builder().fsync(false).start();
        Self::behind(Proxy::to(mariadb.port()), &mariadb.url(), mariadb)
    }

    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}/sessions.db", folder.path().display());
        Self { direct: url.clone(), url: Some(url), proxy: None, _server: Box::new(folder) }
    }

    /// The memory of the program: instances share nothing.
    pub fn memory() -> Self {
        Self { url: None, direct: String::from("memory:"), proxy: None, _server: Box::new(()) }
    }

    pub fn instance(&self, options: &[&str]) -> App {
        match &self.url {
            Some(url) => {
                App::start_with(&[&["--store", url, "--namespace", "app"], options].concat())
            }
            None => App::start_with(options),
        }
    }
}
