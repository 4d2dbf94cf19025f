//! What all handlers share.

use std::sync::Arc;

use axum::extract::FromRef;
use kvolt::middleware::{CookiePolicy, Lookup, Refusal, Sessions};
use kvolt::session::{Manager, Owner};

use crate::options::Options;
use crate::shutdown::Shutdown;
use crate::store;
use crate::users::{User, Users};

/// The cookie on plain HTTP.
pub(crate) const PLAIN_COOKIE: &str = "session_id";
/// The cookie behind TLS: browsers accept it for this host alone, and over HTTPS alone.
pub(crate) const SAFE_COOKIE: &str = "__Host-session_id";
/// The header of those who use no cookie.
const HEADER: &str = "X-Session-ID";

/// What all handlers share. Cloning it is cheap.
#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

struct Inner {
    /// The sessions of browsers, by cookie.
    cookies: Sessions<User>,
    /// The same sessions for programs, by header.
    headers: Sessions<User>,
    users: Users,
    shutdown: Shutdown,
}

impl App {
    pub(crate) async fn new(
        options: &Options,
        users: Users,
        shutdown: Shutdown,
    ) -> Result<Self, String> {
        let store = store::open(options).await.map_err(|error| error.to_string())?;
        let manager = Manager::builder(store)
            .idle_timeout(options.idle)
            .lifetime(options.lifetime)
            .owned_by(|user: &User| Owner::new(user.id.to_string()))
            .build()
            .map_err(|error| error.to_string())?;
        let plain = options.plain_cookie();
        let name = if plain { PLAIN_COOKIE } else { SAFE_COOKIE };
        let policy = CookiePolicy::builder().insecure_plain_http(plain).build();
        let cookies = Sessions::builder(manager.clone())
            .lookup(lookup(&format!("cookie:{name}"))?)
            .cookie(policy.map_err(|error| error.to_string())?)
            .refusal(Refusal::redirect_browsers("/").map_err(|error| error.to_string())?)
            .build()
            .map_err(|error| error.to_string())?;
        let headers = Sessions::builder(manager)
            .lookup(lookup(&format!("header:{HEADER}"))?)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self(Arc::new(Inner { cookies, headers, users, shutdown })))
    }

    pub(crate) fn cookies(&self) -> &Sessions<User> {
        &self.0.cookies
    }

    pub(crate) fn headers(&self) -> &Sessions<User> {
        &self.0.headers
    }

    pub(crate) fn users(&self) -> &Users {
        &self.0.users
    }

    pub(crate) fn shutdown(&self) -> &Shutdown {
        &self.0.shutdown
    }
}

impl FromRef<App> for Sessions<User> {
    fn from_ref(app: &App) -> Self {
        app.0.cookies.clone()
    }
}

fn lookup(text: &str) -> Result<Lookup, String> {
    text.parse().map_err(|error: kvolt::middleware::ParseLookupError| error.to_string())
}
