//! What the layer leaves in a request, and what a handler leaves for the layer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, SET_COOKIE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Response};

use kvolt_cache::Timestamp;
use kvolt_session::{Access, Level, SessionSnapshot, Token};

use crate::lookup::{Place, Presented, Source};
use crate::shared::Shared;
use crate::{Refused, SessionLayer, Sessions};

/// A request's session, or that it has none. It exists behind every layer, so that "no session"
/// and "no layer" can be told apart.
pub(crate) struct Slot<T> {
    layer: Option<Arc<SessionLayer<T>>>,
    /// The session as the store had it when the request arrived, whether or not the handler sees it.
    pub(crate) read: Option<SessionSnapshot<T>>,
    /// Whether there is one that can't be decoded: that is not as if there were none.
    pub(crate) is_unreadable: bool,
    /// How the store was asked.
    access: Access,
    /// Where the client's tokens came from, whether or not there is such a session.
    place: Option<Place>,
    /// All of them, where a request has several, of which none is believed.
    several: Vec<Token>,
    /// The slot of the outermost layer of the same sessions, if that is not this one. A client has
    /// one token, so its state, its place and its tokens are the ones that count.
    outermost: Option<Shared<T>>,
    state: Mutex<State<T>>,
}

/// The header by which the response sets or clears the client's token. Mostly there is none, so
/// it is boxed.
pub(crate) type Outgoing = Box<(HeaderName, HeaderValue)>;

/// What changes while the handler runs.
pub(crate) struct State<T> {
    /// The token that the client has, or is being given.
    pub(crate) token: Option<Token>,
    pub(crate) change: Change,
    /// The session as an update has left it, if the token still is the one that it was made with.
    pub(crate) latest: Option<Box<SessionSnapshot<T>>>,
    /// What the user has proved since the request arrived.
    pub(crate) proof: Option<(Level, Timestamp)>,
    pub(crate) outgoing: Option<Outgoing>,
    /// Whether the response's head is gone, so that it can carry no token.
    pub(crate) is_finished: bool,
}

/// What has become of the client's token since the request arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Change {
    #[default]
    None,
    /// The session has another token.
    Renewed,
    /// The client was signed in or out: its token, if it has one, is another session's.
    Replaced,
}

impl<T> Slot<T> {
    /// Begins with a request. The slot is a new one, or an [`end`](Self::end) has emptied it.
    #[inline]
    pub(crate) fn begin(
        &mut self,
        layer: Arc<SessionLayer<T>>,
        access: Access,
        outer: Option<Shared<T>>,
    ) {
        self.layer = Some(layer);
        self.access = access;
        self.outermost = outer.map(|outer| outer.outermost.clone().unwrap_or(outer));
    }

    /// Notes what the request came with.
    #[inline]
    pub(crate) fn present(&mut self, presented: Presented) {
        self.place = presented.place();
        match presented {
            Presented::Nothing => {}
            Presented::One(token, _) => self.state_mut().token = Some(token),
            Presented::Several(tokens, _) => self.several = tokens,
        }
    }

    /// Goes on with what a layer around this one has read.
    pub(crate) fn read_from(&mut self, outer: &Self) {
        (self.read, self.is_unreadable) = (outer.read.clone(), outer.is_unreadable);
    }

    /// Forgets all of a request, its token among it.
    #[inline]
    pub(crate) fn end(&mut self) {
        let Self { layer, read, is_unreadable, access, place, several, outermost, state } = self;
        // One by one: none of them is copied for it.
        *layer = None;
        *read = None;
        *is_unreadable = false;
        *access = Access::PEEK;
        *place = None;
        *several = Vec::new();
        *outermost = None;
        state.get_mut().unwrap_or_else(PoisonError::into_inner).end();
    }

    fn layer(&self) -> &SessionLayer<T> {
        self.layer.as_deref().expect("a slot that is shared has begun")
    }

    pub(crate) fn sessions(&self) -> &Sessions<T> {
        &self.layer().sessions
    }

    fn outermost(&self) -> &Self {
        self.outermost.as_deref().unwrap_or(self)
    }

    /// For the only holder. A slot within another has no state of its own.
    pub(crate) fn state_mut(&mut self) -> &mut State<T> {
        self.state.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on, the response can carry no token. Returns what it has to carry.
    pub(crate) fn close(&self) -> Option<Outgoing> {
        if self.outermost.is_some() {
            // The outermost layer finishes the response.
            return None;
        }
        let mut state = self.state();
        state.is_finished = true;
        state.outgoing.take()
    }

    /// Never held across an await.
    pub(crate) fn state(&self) -> MutexGuard<'_, State<T>> {
        self.outermost().state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All tokens of a request that has several.
    pub(crate) fn several(&self) -> &[Token] {
        &self.outermost().several
    }

    /// Whether only the store itself could answer for the session.
    pub(crate) fn is_strict(&self) -> bool {
        self.access.is_strict()
    }

    /// The session that the handler sees. An anonymous visitor's is none where the layer does not
    /// say so.
    #[inline]
    pub(crate) fn session(&self) -> Option<&SessionSnapshot<T>> {
        let session = self.read.as_ref();
        session.filter(|session| self.layer().anonymous || !session.is_anonymous())
    }

    pub(crate) fn is_unreadable(&self) -> bool {
        self.is_unreadable
    }

    /// Whether the client has a session, or several, of whatever kind.
    pub(crate) fn has_any(&self) -> bool {
        let state = self.state();
        match state.change {
            Change::Replaced => state.token.is_some(),
            _ => self.read.is_some() || self.is_unreadable || !self.several().is_empty(),
        }
    }

    /// The token that the client has now, and its session as this request has last read or
    /// written it, if it has.
    pub(crate) fn current(&self) -> Option<(Token, Option<SessionSnapshot<T>>)> {
        let state = self.state();
        let token = state.token.clone()?;
        let latest = state.latest.as_deref();
        let latest = latest.or(self.read.as_ref().filter(|_| state.change == Change::None));
        Some((token, latest.cloned()))
    }

    /// [`current`](Self::current) of the session that the handler sees; `None` if it was replaced
    /// or ended since.
    pub(crate) fn own(&self) -> Option<(Token, Option<SessionSnapshot<T>>)> {
        self.session()?;
        if self.is_replaced() { None } else { self.current() }
    }

    /// Whether the client was signed in or out since the request arrived.
    pub(crate) fn is_replaced(&self) -> bool {
        self.state().change == Change::Replaced
    }

    /// Whether reading the session counted as use.
    pub(crate) fn is_used(&self) -> bool {
        self.access.slides()
    }

    /// What a layer within this one finds in the request.
    pub(crate) fn presented(&self) -> Presented {
        match (self.state().token.clone(), self.outermost().place) {
            (Some(token), Some(place)) => Presented::One(token, place),
            _ => Presented::Nothing,
        }
    }

    /// By which access was read what a layer within this one may go on with, that would ask by
    /// `access`; `None` if it has to ask the store itself.
    pub(crate) fn read_for(&self, access: Access) -> Option<Access> {
        let is_enough = (self.access.is_strict() || !access.is_strict())
            && (self.access.slides() || !access.slides());
        (is_enough && !self.is_replaced()).then_some(self.access)
    }
}

impl<T: Send + Sync + 'static> Slot<T> {
    /// Where the client's token came from.
    pub(crate) fn source(&self) -> Option<&Source> {
        self.outermost().place.map(|place| self.sessions().inner().lookup.source(place))
    }

    /// Whether the session's token is due to be changed. Looking changes none.
    #[inline]
    pub(crate) fn is_rotation_due(&self) -> bool {
        self.layer().rotates
            && self.access.slides()
            && self.session().is_some_and(|session| {
                self.sessions().manager().is_rotation_due(session)
                    && self.sessions().channel(self.source()).is_ok()
                    && self.state().change == Change::None
            })
    }

    /// Adds to a response what the client and the caches on the way have to know.
    #[inline]
    pub(crate) fn finish(&self, outgoing: Option<Outgoing>, headers: &mut HeaderMap) {
        let depends = self.session().is_some() || outgoing.is_some();
        if let Some(outgoing) = outgoing {
            let (name, value) = *outgoing;
            set(headers, &name, value);
        }
        let inner = self.sessions().inner();
        if depends {
            restrict(headers, &inner.cache_control);
        }
        if let Some(names) = &inner.vary {
            vary(headers, names);
        }
    }

    pub(crate) fn refuse(&self, refused: Refused<'_>) -> Response<Bytes> {
        self.layer().refusal.response(refused, &self.sessions().inner().lookup)
    }
}

impl<T> State<T> {
    fn end(&mut self) {
        let Self { token, change, latest, proof, outgoing, is_finished } = self;
        *token = None;
        *change = Change::None;
        *latest = None;
        *proof = None;
        *outgoing = None;
        *is_finished = false;
    }
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self {
            layer: None,
            read: None,
            is_unreadable: false,
            access: Access::PEEK,
            place: None,
            several: Vec::new(),
            outermost: None,
            state: Mutex::default(),
        }
    }
}

impl<T> Default for State<T> {
    fn default() -> Self {
        Self {
            token: None,
            change: Change::None,
            latest: None,
            proof: None,
            outgoing: None,
            is_finished: false,
        }
    }
}

/// Sets a header; a cookie replaces the one of the same name.
pub(crate) fn set(headers: &mut HeaderMap, name: &HeaderName, value: HeaderValue) {
    if *name != SET_COOKIE {
        headers.insert(name, value);
        return;
    }
    // One per name in a response: browsers may keep either of two.
    let name_of = |cookie: &HeaderValue| {
        cookie.as_bytes().split(|byte| *byte == b'=').next().map(<[u8]>::to_vec)
    };
    let same = name_of(&value);
    let all = headers.get_all(SET_COOKIE).iter();
    let others: Vec<HeaderValue> = all.filter(|cookie| name_of(cookie) != same).cloned().collect();
    replace(headers, SET_COOKIE, others);
    headers.append(SET_COOKIE, value);
}

/// Keeps shared caches from a response, whatever the handler said. What it said more strictly stays.
fn restrict(headers: &mut HeaderMap, cache_control: &HeaderValue) {
    let Some(said) = append(headers, CACHE_CONTROL, cache_control) else { return };
    let strict = |directive: &[u8]| {
        directive.eq_ignore_ascii_case(b"no-store") || directive.eq_ignore_ascii_case(b"private")
    };
    if said.iter().any(|value| list(value).any(strict)) {
        replace(headers, CACHE_CONTROL, said);
    } else {
        headers.insert(CACHE_CONTROL, cache_control.clone());
    }
}

/// Names the headers that the response depends on.
pub(crate) fn vary(headers: &mut HeaderMap, names: &HeaderValue) {
    let Some(mut said) = append(headers, VARY, names) else { return };
    let covers = |value: &HeaderValue, name: &[u8]| {
        list(value).any(|listed| listed == b"*" || listed.eq_ignore_ascii_case(name))
    };
    for name in list(names) {
        if !said.iter().any(|value| covers(value, name)) {
            said.extend(HeaderValue::from_bytes(name));
        }
    }
    replace(headers, VARY, said);
}

/// Appends a header. Returns the values that it had before, if it had any: mostly it had none, and
/// is looked for once.
#[inline(always)]
fn append(
    headers: &mut HeaderMap,
    name: HeaderName,
    value: &HeaderValue,
) -> Option<Vec<HeaderValue>> {
    headers.append(&name, value.clone()).then(|| before_last(headers, &name))
}

#[cold]
fn before_last(headers: &HeaderMap, name: &HeaderName) -> Vec<HeaderValue> {
    let mut values: Vec<HeaderValue> = headers.get_all(name).iter().cloned().collect();
    values.pop();
    values
}

/// Sets all values of a header.
fn replace(headers: &mut HeaderMap, name: HeaderName, values: Vec<HeaderValue>) {
    headers.remove(&name);
    for value in values {
        headers.append(&name, value);
    }
}

/// The elements of a header that is a list.
fn list(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_response_sets_a_cookie_of_one_name_once() {
        let mut headers = headers(&[(SET_COOKIE, "id=1; Path=/"), (SET_COOKIE, "id2=2")]);
        set(&mut headers, &SET_COOKIE, HeaderValue::from_static("id=3"));
        let cookies: Vec<_> = headers.get_all(SET_COOKIE).iter().collect();
        assert_eq!(cookies, ["id2=2", "id=3"]);
    }

    #[test]
    fn a_handler_can_be_stricter_about_caches_and_not_laxer() {
        let no_store = HeaderValue::from_static("no-store");
        for (said, expected) in [
            ("public, max-age=60", "no-store"),
            ("max-age=60", "no-store"),
            ("private, max-age=60", "private, max-age=60"),
            ("No-Store", "No-Store"),
        ] {
            let mut headers = headers(&[(CACHE_CONTROL, said)]);
            restrict(&mut headers, &no_store);
            assert_eq!(headers[CACHE_CONTROL], expected);
        }
    }

    #[test]
    fn what_a_response_depends_on_is_said_once() {
        let names = HeaderValue::from_static("cookie, x-id");
        let mut said = headers(&[(VARY, "Accept, Cookie")]);
        vary(&mut said, &names);
        assert_eq!(said.get_all(VARY).iter().collect::<Vec<_>>(), ["Accept, Cookie", "x-id"]);
        let mut all = headers(&[(VARY, "*")]);
        vary(&mut all, &names);
        assert_eq!(all.get_all(VARY).iter().collect::<Vec<_>>(), ["*"]);
        let mut none = headers(&[]);
        vary(&mut none, &names);
        assert_eq!(none.get_all(VARY).iter().collect::<Vec<_>>(), [names]);
    }
}
