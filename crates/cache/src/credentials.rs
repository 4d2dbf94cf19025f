use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// The user name and the password with which a store connects to its server. `Debug` shows neither.
///
/// ```
/// use std::time::Duration;
/// use kvolt_cache::Credentials;
///
/// let credentials = Credentials::new("app", "a token").valid_for(Duration::from_secs(900));
/// assert_eq!((credentials.user(), credentials.password()), ("app", "a token"));
/// assert_eq!(credentials.validity(), Some(Duration::from_secs(900)));
/// assert!(!format!("{credentials:?}").contains("a token"));
/// ```
#[derive(Clone)]
pub struct Credentials {
    user: String,
    password: String,
    valid_for: Option<Duration>,
}

impl Credentials {
    /// Makes credentials that stay valid until the server rejects them.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: user.into(), password: password.into(), valid_for: None }
    }

    /// Sets how long they are valid from now on, such as the rest of an access token's lifetime: a
    /// store renews its connections earlier.
    #[must_use]
    pub fn valid_for(mut self, time: Duration) -> Self {
        self.valid_for = Some(time);
        self
    }

    /// The user name.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The password, or the token in its place.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// How long they were valid when the callback returned them.
    pub const fn validity(&self) -> Option<Duration> {
        self.valid_for
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("valid_for", &self.valid_for).finish_non_exhaustive()
    }
}

/// A callback that returns the credentials for the next connection: for implementors of
/// [`Store`](crate::Store).
///
/// ```
/// use kvolt_cache::{Credentials, CredentialsProvider};
///
/// # pollster::block_on(async {
/// let provider = CredentialsProvider::new(|| async {
///     std::fs::read_to_string("/nowhere").map(|password| Credentials::new("app", password))
/// });
/// assert!(provider.ask().await.is_err());
/// # });
/// ```
#[derive(Clone)]
pub struct CredentialsProvider(Arc<Ask>);

type Ask = dyn Fn() -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync;
type Answer = Result<Credentials, Box<dyn StdError + Send + Sync>>;

impl CredentialsProvider {
    /// Makes a provider of a callback.
    pub fn new<F, R, E>(ask: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<Credentials, E>> + Send + 'static,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        Self(Arc::new(move || {
            let asked = ask();
            Box::pin(async move { asked.await.map_err(Into::into) })
        }))
    }

    /// Asks for the credentials.
    ///
    /// # Errors
    ///
    /// Returns the error of the callback.
    pub async fn ask(&self) -> Answer {
        (self.0)().await
    }
}

impl fmt::Debug for CredentialsProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialsProvider").finish_non_exhaustive()
    }
}
