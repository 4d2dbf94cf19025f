//! The state that all handlers share.

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use kvolt::cache::Clock;
use kvolt::middleware::{CookiePolicy, DeviceBound, Lookup, Refusal, Sessions, TrustedProxies};
use kvolt::session::{Binding, Manager, Owner, OwnerLimit, StepUp, Timeouts};

use crate::accounts::{Accounts, DEMO};
use crate::attempts::Attempts;
use crate::audit::Audit;
use crate::connections::Connections;
use crate::options::{Options, StoreKind};
use crate::shutdown::Shutdown;
use crate::sign_in_link::SignInLink;
use crate::store;
use crate::users::{User, normalized};

/// The header with the token of a program.
const HEADER: &str = "X-Session-ID";

/// The page that asks for the password again.
const STEP_UP_PAGE: &str = "/reauthenticate";

/// The state of all handlers. Clones share it.
#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

struct Inner {
    /// The sessions of browsers, by cookie.
    cookies: Sessions<User>,
    /// The same sessions for programs, by header.
    headers: Sessions<User>,
    accounts: Arc<Accounts>,
    sign_in_link: Option<SignInLink>,
    attempts: Attempts,
    audit: Audit,
    connections: Connections,
    shutdown: Shutdown,
    proxies: TrustedProxies,
    fresh: Duration,
    /// Whether a changed password lasts as long as the sessions.
    keeps_passwords: bool,
    cookie_name: String,
}

impl App {
    pub(crate) async fn new(
        options: &Options,
        accounts: Accounts,
        shutdown: Shutdown,
    ) -> Result<Self, String> {
        let (accounts, audit) = (Arc::new(accounts), Audit::default());
        let manager = manager(options, &accounts, audit.clone()).await?;
        let demo = accounts.generated_password().map(|_| DEMO);
        let sign_in_link = options
            .sign_in_link
            .as_deref()
            .or(demo)
            .map(|name| SignInLink::new(&normalized(name), &accounts, manager.clock().now()));
        let plain = options.plain_cookie();
        let name = options.cookie_name();
        let policy = CookiePolicy::builder().insecure_plain_http(plain).build();
        let refusal = Refusal::redirect_browsers("/")
            .and_then(|refusal| refusal.step_up_page(STEP_UP_PAGE))
            .map_err(|error| error.to_string())?;
        let cookies = Sessions::builder(manager.clone())
            .lookup(lookup(&format!("cookie:{name}"))?)
            .cookie(policy.map_err(|error| error.to_string())?)
            .refusal(refusal);
        let cookies = options
            .trusted_origins
            .iter()
            .fold(cookies, |cookies, origin| cookies.trusted_origin(origin));
        // Browsers bind sessions over HTTPS only.
        let cookies = match plain {
            true => cookies,
            false => {
                cookies.device_bound(DeviceBound::new().dangerous_lifetime(options.bound_lifetime))
            }
        };
        let cookies = cookies.build().map_err(|error| error.to_string())?;
        let headers = Sessions::builder(manager)
            .lookup(lookup(&format!("header:{HEADER}"))?)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self(Arc::new(Inner {
            cookies,
            headers,
            sign_in_link: sign_in_link.transpose()?,
            attempts: Attempts::new(options.failed_sign_ins, Clock::system()),
            audit,
            connections: Connections::default(),
            shutdown,
            proxies: options.proxies()?,
            fresh: options.fresh,
            keeps_passwords: accounts.file().is_some() || options.store.kind == StoreKind::Memory,
            cookie_name: name.to_owned(),
            accounts,
        })))
    }

    pub(crate) fn cookies(&self) -> &Sessions<User> {
        &self.0.cookies
    }

    pub(crate) fn headers(&self) -> &Sessions<User> {
        &self.0.headers
    }

    pub(crate) fn manager(&self) -> &Manager<User> {
        self.0.cookies.manager()
    }

    pub(crate) fn accounts(&self) -> &Arc<Accounts> {
        &self.0.accounts
    }

    pub(crate) fn sign_in_link(&self) -> Option<&SignInLink> {
        self.0.sign_in_link.as_ref()
    }

    pub(crate) fn attempts(&self) -> &Attempts {
        &self.0.attempts
    }

    pub(crate) fn audit(&self) -> &Audit {
        &self.0.audit
    }

    pub(crate) fn connections(&self) -> &Connections {
        &self.0.connections
    }

    pub(crate) fn shutdown(&self) -> &Shutdown {
        &self.0.shutdown
    }

    pub(crate) fn proxies(&self) -> &TrustedProxies {
        &self.0.proxies
    }

    /// The requirement of sensitive actions: the password was given recently.
    pub(crate) fn fresh(&self) -> StepUp {
        StepUp::within(self.0.fresh)
    }

    /// Whether a request carries the session cookie, valid or not.
    pub(crate) fn has_cookie(&self, headers: &HeaderMap) -> bool {
        let fields = headers.get_all(COOKIE).iter().filter_map(|field| field.to_str().ok());
        let mut pairs = fields.flat_map(|field| field.split(';'));
        pairs.any(|pair| {
            pair.split('=').next().is_some_and(|name| name.trim() == self.0.cookie_name)
        })
    }

    /// Whether passwords can be changed. If sessions survive a restart and accounts do not, the old
    /// password would be valid again after it.
    pub(crate) fn keeps_passwords(&self) -> bool {
        self.0.keeps_passwords
    }
}

async fn manager(
    options: &Options,
    accounts: &Arc<Accounts>,
    audit: Audit,
) -> Result<Manager<User>, String> {
    let store = store::open(options).await.map_err(|error| error.to_string())?;
    let accounts = Arc::clone(accounts);
    let mut manager = Manager::builder(store)
        .timeouts(Timeouts::new(options.idle, options.lifetime))
        .remembered_timeouts(Timeouts::new(options.remember_lifetime, options.remember_lifetime))
        .rotation_grace(options.rotation_grace())
        .token_reuse(options.token_reuse.into())
        .owned_by(|user: &User| owner(user.id))
        .bound_to(move |user: &User| accounts.version(user).map(Binding::from))
        .listener(audit);
    if let Some(every) = options.rotate_every.0 {
        manager = manager.rotate_every(every);
    }
    if let Some(max_sessions) = options.sessions_per_user.0 {
        manager = manager.owner_limit(OwnerLimit::new(max_sessions, options.at_limit.into()));
    }
    manager.build().map_err(|error| error.to_string())
}

/// The owner of a user's sessions.
pub(crate) fn owner(id: u32) -> Owner {
    Owner::from(u64::from(id))
}

fn lookup(text: &str) -> Result<Lookup, String> {
    text.parse().map_err(|error: kvolt::middleware::ConfigError| error.to_string())
}
