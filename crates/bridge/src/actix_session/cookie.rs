use kvolt_cache::Timestamp;

use super::state;
use crate::old_cookie::Meaning;
use crate::{OldCookie, OldSession, OldSessionError, OldSessions};

/// The sessions of actix-session 0.11 in its `CookieSessionStore`: all of a session is in the
/// cookie.
///
/// There is no record that could be removed, so the [markers](crate::Bridge::builder) keep a cookie
/// spent. Such a cookie has no end of its own: until the given moment, a copy that the other library
/// made before the move, such as one that a thief has, is accepted once.
///
/// An encrypted cookie is unlike any other. A *signed* one is a function of its content: two clients
/// whose sessions have the same content have the same cookie. So a signed cookie is not kept spent
/// after the [handover](crate::BridgeBuilder::handover), and each client gets a session of its own.
/// Clients that come within the same handover share one. Until the given moment, a copy of a signed
/// cookie is accepted again and again, as it was by the other library.
///
/// ```
/// use kvolt_bridge::{ActixSessionCookies, OldCookie, OldSessions};
/// use kvolt_cache::Timestamp;
///
/// // 24 hours after the switch.
/// let until = Timestamp::from_millis(1_796_083_200_000);
/// let old = ActixSessionCookies::new(OldCookie::encrypted("id", &[7; 64])?, until);
/// assert_eq!(old.id("not encrypted"), None);
/// # Ok::<(), kvolt_session::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ActixSessionCookies {
    cookie: OldCookie,
    until: Timestamp,
}

impl ActixSessionCookies {
    /// The sessions of this cookie, which no request may take over after `until`: the moment of the
    /// switch and the longest lifetime of a cookie. The cookie is
    /// [encrypted](OldCookie::encrypted) and has the name `id`, unless the application has set it
    /// otherwise. With a plain one, [`build`](crate::BridgeBuilder::build) returns an error.
    pub fn new(cookie: OldCookie, until: Timestamp) -> Self {
        Self { cookie: cookie.meaning(Meaning::Content), until }
    }
}

impl OldSessions for ActixSessionCookies {
    fn cookie(&self) -> &OldCookie {
        &self.cookie
    }

    /// The cookie's value as it is: two clients may have the same content, encrypted in another way.
    fn id(&self, cookie: &str) -> Option<String> {
        self.cookie.open(cookie).filter(|state| state::is_key(state))?;
        Some(cookie.to_owned())
    }

    async fn read(&self, id: &str) -> Result<Option<OldSession>, OldSessionError> {
        let Some(state) = self.cookie.open(id) else { return Ok(None) };
        Ok(Some(OldSession::from_actix_session(state.as_bytes())?.expiring_at(self.until)))
    }

    async fn remove(&self, _id: &str) -> Result<bool, OldSessionError> {
        Ok(true)
    }
}
