//! The state that a request, its handlers and its response share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::SET_COOKIE;
use http::{HeaderName, HeaderValue};
use kvolt_cache::Timestamp;
use kvolt_session::{Access, Level, SessionSnapshot, Token};

use super::response;
use crate::device_request::DeviceRequest;
use crate::error::Kind;
use crate::head::ResponseHead;
use crate::lookup::{Presented, Source, SourceIndex};
use crate::message::Format;
use crate::{Error, Result, SessionLayer, Sessions};

/// A request's session, or the absence of one. A slot exists behind every layer, so that "no
/// session" differs from "no layer".
pub(crate) struct Slot<T> {
    pub(crate) layer: Arc<SessionLayer<T>>,
    /// The session as the store had it when the request arrived, whether or not handlers see it.
    pub(super) read: Option<SessionSnapshot<T>>,
    /// Whether there is a session that can't be read.
    pub(crate) is_unreadable: bool,
    /// How the store was asked.
    pub(crate) access: Access,
    /// Where the client's tokens came from.
    source: Option<SourceIndex>,
    /// All tokens of a request that has several, of which none is accepted.
    several: Vec<Token>,
    /// Where sessions are bound to a device. Boxed, so that it costs nothing where they are not.
    pub(super) device: Option<Box<DeviceState<T>>>,
    /// The form of the layer's own answers.
    pub(super) format: Format,
    /// Whether a page that was loaded over plain HTTP sent the request.
    pub(crate) is_plain_http: bool,
    /// The slot of the outermost layer of the same sessions, if that is another one. A client has
    /// one token, so the outermost slot holds the state, the source and the tokens.
    pub(super) outermost: Option<Arc<Slot<T>>>,
    /// Whether a handler can have seen the session.
    pub(super) is_exposed: AtomicBool,
    /// Whether `state` has a later snapshot.
    is_updated: AtomicBool,
    state: Mutex<State<T>>,
}

/// The headers that a response must carry. Most responses have none.
#[derive(Default)]
pub(super) struct PendingHeaders {
    /// Sets or clears the client's token.
    token: Option<(HeaderName, HeaderValue)>,
    /// The end of another library's cookie, and what is for the binding to a device.
    others: Vec<(HeaderName, HeaderValue)>,
}

impl PendingHeaders {
    fn all(self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        self.token.into_iter().chain(self.others)
    }
}

/// The part that changes while the handler runs.
pub(crate) struct State<T> {
    /// The token that the client has, or that the response gives it.
    token: Option<Token>,
    pub(super) change: Change,
    /// The session after an update, while the client's token is the one that the update was made
    /// with.
    latest: Option<Box<SessionSnapshot<T>>>,
    /// The authentication that this request has noted.
    pub(crate) proof: Option<(Level, Timestamp)>,
    pub(super) pending: Option<Box<PendingHeaders>>,
    /// Whether the response's head was sent, so that it can carry no token.
    is_finished: bool,
}

/// What a request shows about its device, and the session that is withheld from it.
#[derive(Clone)]
pub(super) struct DeviceState<T> {
    pub(super) request: DeviceRequest,
    /// If it is set, `read` has no session.
    pub(super) unproven: Option<SessionSnapshot<T>>,
}

impl<T> Default for DeviceState<T> {
    fn default() -> Self {
        Self { request: DeviceRequest::default(), unproven: None }
    }
}

/// The change of the client's token since the request arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    /// The session has another token.
    Renewed,
    /// The client was signed in or out: its token, if it has one, is another session's.
    Replaced,
}

impl<T> Slot<T> {
    #[inline]
    pub(super) fn new(
        layer: Arc<SessionLayer<T>>,
        access: Access,
        presented: Presented,
        outermost: Option<Arc<Self>>,
    ) -> Self {
        let source = presented.source();
        let (token, several) = match presented {
            Presented::Nothing => (None, Vec::new()),
            Presented::One(token, _) => (Some(token), Vec::new()),
            Presented::Several(tokens, _) => (None, tokens),
        };
        let state = State {
            token,
            change: Change::None,
            latest: None,
            proof: None,
            pending: None,
            is_finished: false,
        };
        Self {
            layer,
            read: None,
            is_unreadable: false,
            access,
            source,
            several,
            device: None,
            format: Format::Text,
            is_plain_http: false,
            outermost,
            is_exposed: AtomicBool::new(false),
            is_updated: AtomicBool::new(false),
            state: Mutex::new(state),
        }
    }

    /// The token that was presented, before the slot is shared.
    #[inline]
    pub(super) fn presented_token(&mut self) -> Option<&Token> {
        self.state_mut().token.as_ref()
    }

    /// Stores a session that was taken over from another library, before the slot is shared.
    pub(super) fn take_over(
        &mut self,
        token: Token,
        session: SessionSnapshot<T>,
        source: SourceIndex,
        header: (HeaderName, HeaderValue),
    ) {
        (self.source, self.read) = (Some(source), Some(session));
        let state = self.state_mut();
        state.token = Some(token);
        state.pending.get_or_insert_default().token = Some(header);
    }

    pub(crate) fn sessions(&self) -> &Sessions<T> {
        &self.layer.sessions
    }

    fn outermost(&self) -> &Self {
        self.outermost.as_deref().unwrap_or(self)
    }

    /// For the only holder. A slot within another has no state of its own.
    #[inline]
    pub(super) fn state_mut(&mut self) -> &mut State<T> {
        self.state.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// Never held across an await.
    pub(crate) fn state(&self) -> MutexGuard<'_, State<T>> {
        self.outermost().state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on, the response can carry no token. Returns the headers that it must carry.
    pub(super) fn close(&self) -> Option<Box<PendingHeaders>> {
        if self.outermost.is_some() {
            // The outermost layer finishes the response.
            return None;
        }
        let mut state = self.state();
        state.is_finished = true;
        state.pending.take()
    }

    /// The session that was read, if it is bound to a device and the request does not prove that it
    /// comes from there.
    #[inline]
    pub(crate) fn unproven(&self) -> Option<&SessionSnapshot<T>> {
        self.device.as_ref()?.unproven.as_ref()
    }

    /// Drops the session that was read, before the slot is shared.
    pub(super) fn forget(&mut self) {
        self.read = None;
        if let Some(device) = &mut self.device {
            device.unproven = None;
        }
    }

    pub(crate) fn is_unproven(&self) -> bool {
        self.unproven().is_some()
    }

    pub(crate) fn device(&self) -> DeviceRequest {
        self.device.as_ref().map_or_else(DeviceRequest::default, |device| device.request)
    }

    /// Whether the client may have a bound cookie.
    #[cfg(feature = "device-bound")]
    pub(crate) fn has_bound_cookie(&self) -> bool {
        let is_bound = |session: &SessionSnapshot<T>| session.device_bound().is_some();
        self.is_unproven() || self.device().has_cookie || self.read.as_ref().is_some_and(is_bound)
    }

    /// Adds a header that the response carries, if it has not begun.
    pub(crate) fn note_header(&self, header: (HeaderName, HeaderValue)) {
        self.state().pending.get_or_insert_default().others.push(header);
    }

    /// All tokens of a request that has several.
    pub(crate) fn several(&self) -> &[Token] {
        &self.outermost().several
    }

    /// The session that handlers see, as it was when the request arrived. An anonymous session is
    /// hidden unless the layer shows it.
    #[inline]
    pub(crate) fn session(&self) -> Option<&SessionSnapshot<T>> {
        let session = self.read.as_ref();
        session.filter(|session| self.layer.anonymous || !session.is_anonymous())
    }

    /// The session after an update in the same request.
    #[inline]
    pub(crate) fn latest(&self) -> Option<Box<SessionSnapshot<T>>> {
        let is_updated = self.outermost().is_updated.load(Ordering::Acquire);
        is_updated.then(|| self.state().latest.clone()).flatten()
    }

    /// Whether the client has a session, or several, whether or not handlers see it.
    pub(crate) fn has_any(&self) -> bool {
        let state = self.state();
        match state.change {
            Change::Replaced => state.token.is_some(),
            _ => {
                self.read.is_some()
                    || self.is_unreadable
                    || self.is_unproven()
                    || !self.several().is_empty()
            }
        }
    }

    /// The client's token, and the newest snapshot that this request has of its session.
    pub(crate) fn current(&self) -> Option<(Token, Option<SessionSnapshot<T>>)> {
        let state = self.state();
        let token = state.token.clone()?;
        let latest = state.latest.as_deref();
        let latest = latest.or(self.read.as_ref().filter(|_| state.change == Change::None));
        Some((token, latest.cloned()))
    }

    /// [`current`](Self::current) for the session that handlers see, unless it was replaced or
    /// ended.
    pub(crate) fn admitted(&self) -> Option<(Token, Option<SessionSnapshot<T>>)> {
        self.session()?;
        if self.is_replaced() { None } else { self.current() }
    }

    /// Whether the client was signed in or out since the request arrived.
    pub(crate) fn is_replaced(&self) -> bool {
        self.state().change == Change::Replaced
    }

    /// The tokens for a layer within this one.
    pub(super) fn presented(&self) -> Presented {
        match (self.state().token.clone(), self.outermost().source) {
            (Some(token), Some(source)) => Presented::One(token, source),
            _ => Presented::Nothing,
        }
    }

    /// Whether a layer within this one that needs this access can use what was read here.
    pub(super) fn covers(&self, access: Access) -> bool {
        (self.access.is_strict() || !access.is_strict())
            && (self.access.slides() || !access.slides())
            && !self.is_replaced()
    }

    /// Stores the session after an update with this token.
    pub(crate) fn note_update(&self, token: &Token, updated: &SessionSnapshot<T>) {
        let mut state = self.state();
        if state.token.as_ref().is_some_and(|now| now.expose() == token.expose()) {
            state.latest = Some(Box::new(updated.clone()));
            self.outermost().is_updated.store(true, Ordering::Release);
        }
    }

    /// Stores the client's token, and the header by which the response gives or takes it.
    ///
    /// # Errors
    ///
    /// Returns an error if the response has begun.
    pub(crate) fn note_token(
        &self,
        token: Option<Token>,
        header: Option<(HeaderName, HeaderValue)>,
        change: Change,
    ) -> Result<()> {
        let mut state = self.state();
        (state.token, state.change, state.latest) = (token, change, None);
        if state.is_finished {
            return Err(Error(Kind::ResponseBegun));
        }
        let mut pending = state.pending.take().unwrap_or_default();
        if change == Change::Replaced {
            // An offer for another session.
            pending.others.retain(|(name, _)| *name == SET_COOKIE);
        }
        pending.token = header;
        let is_empty = pending.token.is_none() && pending.others.is_empty();
        state.pending = Some(pending).filter(|_| !is_empty);
        Ok(())
    }
}

impl<T: Send + Sync + 'static> Slot<T> {
    /// The source of the client's token.
    pub(crate) fn source(&self) -> Option<&Source> {
        self.outermost().source.map(|source| self.sessions().0.lookup.source(source))
    }

    /// The source by which a new token goes back.
    ///
    /// # Errors
    ///
    /// Returns an error, before anything is done, if the response can't carry a token.
    pub(crate) fn channel(&self) -> Result<&Source> {
        if self.state().is_finished {
            return Err(Error(Kind::ResponseBegun));
        }
        self.sessions().channel(self.source())
    }

    /// Whether a near cache's copy may be older than the bound cookie of the request.
    #[inline]
    pub(super) fn is_outdated(&self) -> bool {
        let is_of_no_device = |session: &SessionSnapshot<T>| {
            session.device_bound().is_some() && !session.is_device_proven()
        };
        (self.is_unproven() || self.read.as_ref().is_some_and(is_of_no_device))
            && self.device().cookie.is_some()
            && !self.access.is_strict()
    }

    #[cfg(not(feature = "device-bound"))]
    pub(super) fn is_device_offer_due(&self) -> bool {
        false
    }

    /// Whether the response must carry what only the store can give: a new token, or the offer of a
    /// binding.
    #[inline]
    pub(super) fn is_completion_due(&self) -> bool {
        self.is_rotation_due() || self.is_device_offer_due()
    }

    /// Whether the session's token is due for a rotation. Peeking rotates nothing.
    #[inline]
    pub(super) fn is_rotation_due(&self) -> bool {
        self.access.slides()
            && self.session().is_some_and(|session| {
                self.sessions().manager().is_rotation_due(session)
                    && self.sessions().channel(self.source()).is_ok()
                    && self.state().change == Change::None
            })
    }

    /// Takes the headers that a response to this request must carry in any case, before the slot is
    /// shared.
    #[cold]
    pub(super) fn take_headers(&mut self) -> Vec<(HeaderName, HeaderValue)> {
        self.state_mut().pending.take().map_or_else(Vec::new, |pending| pending.all().collect())
    }

    /// Completes a response: the client's token, `Vary` and `Cache-Control`.
    #[inline]
    pub(super) fn finish(
        &self,
        pending: Option<Box<PendingHeaders>>,
        headers: &mut impl ResponseHead,
    ) {
        let layer = &self.layer;
        let is_session_specific =
            self.session().is_some() || pending.is_some() || self.is_unproven();
        let depends = layer.required
            || layer.step_up.is_some()
            || pending.is_some()
            || self.is_exposed.load(Ordering::Relaxed);
        if let Some(pending) = pending {
            pending.all().for_each(|(name, value)| response::set(headers, &name, value));
        }
        if !depends {
            // No handler saw the session: caches may treat the response as any other.
            return;
        }
        let inner = &layer.sessions.0;
        if is_session_specific {
            response::restrict(headers, &inner.cache_control);
        }
        if let Some(names) = &inner.vary {
            response::vary(headers, names);
        }
    }
}
