//! Requests with a session of another library.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::SET_COOKIE;
use percent_encoding::percent_decode;

use super::admission::{Denied, unique};
use super::shared::RequestSession;
use super::slot::Slot;
use crate::bridge::BridgeOutcome;
use crate::head::RequestHead;
use crate::lookup::Unique;
use crate::sessions::TokenLifetime;
use crate::store_timeout::bounded;
use crate::{Result, SessionLayer};

/// The maximum length of the other library's cookie, in bytes. Browsers keep no longer one.
const MAX_LEN: usize = 4_096;

impl<T: Send + Sync + 'static> SessionLayer<T> {
    /// The value of the other library's cookie, if the bridge must be asked.
    #[cold]
    pub(super) fn to_bridge(
        &self,
        slot: &mut Slot<T>,
        request: &impl RequestHead,
    ) -> Option<Option<String>> {
        let old = match self.sessions.old_cookie(request) {
            Unique::One(value) if value.len() <= MAX_LEN => {
                percent_decode(value).decode_utf8().ok().map(Cow::into_owned)
            }
            _ => None,
        };
        (old.is_some() || slot.presented_token().is_some()).then_some(old)
    }

    /// Reads the session of a request, and asks the bridge.
    pub(super) async fn resolve(
        self: Arc<Self>,
        mut shared: Arc<Slot<T>>,
        old: Option<String>,
    ) -> Result<RequestSession<T>, Denied> {
        let (slot, inner) = (unique(&mut shared), &self.sessions.0);
        let (manager, limit, access) = (&inner.manager, inner.store_timeout, slot.access);
        let token = slot.presented_token().cloned();
        if let Some(token) = &token {
            let read = bounded(limit, manager.get_with(token, access)).await;
            self.note_read(slot, read)?;
        }
        let Some(bridge) = inner.bridge.as_ref().filter(|_| !slot.is_unreadable) else {
            return self.reread(shared).await;
        };
        let outcome = bridge
            .resolve(old.as_deref(), token.as_ref().zip(slot.read.as_ref().or(slot.unproven())));
        match bounded(limit, outcome).await {
            Ok(BridgeOutcome::Unchanged) => {}
            Ok(BridgeOutcome::SignedIn(token)) => {
                let replaced = slot.presented_token().cloned();
                let read = bounded(limit, manager.get_with(&token, access)).await;
                // If it has ended meanwhile, the request keeps an anonymous session.
                if !matches!(read, Ok(None)) {
                    slot.forget();
                    self.note_read(slot, read)?;
                    if let Some(anonymous) = replaced {
                        // As a sign-in ends it. It was not shown to be valid: no matter.
                        let _ = bounded(limit, manager.logout(&anonymous)).await;
                    }
                }
                if let Some(session) = slot.read.clone().filter(|read| read.id() == token.id()) {
                    let lifetime = session.ends_at().since(manager.clock().now());
                    let is_remembered = session.is_remembered();
                    let lifetime = TokenLifetime { lifetime, is_remembered };
                    let index = self.sessions.bridged_source().map_err(Denied::failed)?;
                    let channel = inner.lookup.source(index);
                    let header = self.sessions.token_header(channel, &token, lifetime);
                    slot.take_over(token, session, index, header.map_err(Denied::failed)?);
                }
            }
            Ok(BridgeOutcome::RemoveOldCookie(removal)) => slot.note_header((SET_COOKIE, removal)),
            Ok(BridgeOutcome::SignedOut(removal)) => {
                slot.forget();
                slot.note_header((SET_COOKIE, removal));
            }
            Err(error) => self.note_read(slot, Err(error))?,
        }
        self.reread(shared).await
    }
}
