//! What the layer leaves in a request, and what a handler leaves for the layer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, Entry, SET_COOKIE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Response};

use kvolt_cache::Access;
use kvolt_session::{Session, Token};

use crate::lookup::{Place, Source};
use crate::{Refused, SessionLayer, Sessions};

/// A request's session, or that it has none: there behind every layer, so that
/// "no session" and "no layer" can be told apart.
pub(crate) struct Slot<T> {
    layer: Arc<SessionLayer<T>>,
    pub(crate) session: Option<Session<T>>,
    /// Whether there is one that can't be decoded: then it is not as if there were none.
    is_unreadable: bool,
    /// Where the client's token came from, whether or not there is such a session.
    came_by: Option<Place>,
    /// How it was asked for.
    access: Access,
    state: Mutex<State>,
}

/// The header by which the response sets or clears the client's token; mostly there is none, so boxed.
pub(crate) type Outgoing = Box<(HeaderName, HeaderValue)>;

/// What changes while the handler runs.
pub(crate) struct State {
    /// The token that is good now.
    pub(crate) token: Option<Token>,
    /// Whether it is another than the one that the session was read by.
    pub(crate) replaced: bool,
    pub(crate) outgoing: Option<Outgoing>,
}

impl<T: Send + Sync + 'static> Slot<T> {
    pub(crate) fn new(
        layer: Arc<SessionLayer<T>>,
        found: Option<(Token, Place)>,
        access: Access,
        session: Option<Session<T>>,
    ) -> Self {
        let (token, came_by) = found.unzip();
        let state = Mutex::new(State { token, replaced: false, outgoing: None });
        Self { layer, session, is_unreadable: false, came_by, access, state }
    }

    /// Of a request whose session can't be decoded.
    pub(crate) fn unreadable(self) -> Self {
        Self { is_unreadable: true, ..self }
    }

    pub(crate) fn is_unreadable(&self) -> bool {
        self.is_unreadable
    }

    /// Of a request whose token the layer has changed: the client is to be told.
    pub(crate) fn renewed(self, outgoing: Outgoing) -> Self {
        self.state().outgoing = Some(outgoing);
        self
    }

    pub(crate) fn sessions(&self) -> &Sessions<T> {
        &self.layer.sessions
    }

    /// The session as it was read for this request, if that counted as use and by this token.
    pub(crate) fn used(&self) -> Option<&Session<T>> {
        let used = self.access.slides() && !self.state().replaced;
        self.session.as_ref().filter(|_| used)
    }

    /// The session as it was read for this request, if by the token that is good now.
    pub(crate) fn read_by_current(&self) -> Option<&Session<T>> {
        let replaced = self.state().replaced;
        self.session.as_ref().filter(|_| !replaced)
    }

    /// Whether only the store itself could answer for the session.
    pub(crate) fn is_strict(&self) -> bool {
        self.access.is_strict()
    }

    pub(crate) fn came_by(&self) -> Option<&Source> {
        self.came_by.map(|place| self.sessions().inner().lookup.source(place))
    }

    /// Leaves it to a layer within to tell the client of its new token, if there is one.
    pub(crate) fn hand_over(&self) -> Option<(Token, Outgoing)> {
        let mut state = self.state();
        let token = Token::parse(state.token.as_ref()?.expose())?;
        Some((token, state.outgoing.take()?))
    }

    /// Never held across an await.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn refuse(&self, refused: Refused<'_>) -> Response<Bytes> {
        self.layer.refusal.response(refused, &self.sessions().inner().lookup)
    }

    /// Adds to a response what the client and the caches on the way have to know.
    #[inline]
    pub(crate) fn finish(&self, headers: &mut HeaderMap) {
        let outgoing = self.state().outgoing.take();
        let depends = self.session.is_some() || outgoing.is_some();
        if let Some(outgoing) = outgoing {
            let (name, value) = *outgoing;
            set(headers, &name, value);
        }
        let inner = self.sessions().inner();
        if depends {
            restrict(headers, &inner.cache_control);
        }
        vary(headers, &inner.vary);
    }
}

/// Sets a header; of cookies, the one of that name.
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
    let has_same = headers.get_all(SET_COOKIE).iter().any(|cookie| name_of(cookie) == same);
    if has_same {
        let others: Vec<HeaderValue> = headers
            .get_all(SET_COOKIE)
            .iter()
            .filter(|cookie| name_of(cookie) != same)
            .cloned()
            .collect();
        headers.remove(SET_COOKIE);
        for cookie in others {
            headers.append(SET_COOKIE, cookie);
        }
    }
    headers.append(SET_COOKIE, value);
}

/// Keeps shared caches from a response, whatever the handler said; what it said more strictly stays.
fn restrict(headers: &mut HeaderMap, cache_control: &HeaderValue) {
    match headers.entry(CACHE_CONTROL) {
        Entry::Vacant(vacant) => {
            vacant.insert(cache_control.clone());
        }
        Entry::Occupied(mut said) => {
            let strict = |value: &HeaderValue| {
                lists(value, |directive| {
                    directive.eq_ignore_ascii_case(b"no-store")
                        || directive.eq_ignore_ascii_case(b"private")
                })
            };
            if !said.iter().any(strict) {
                said.insert(cache_control.clone());
            }
        }
    }
}

/// Says which headers the response depends on.
pub(crate) fn vary(headers: &mut HeaderMap, names: &[HeaderValue]) {
    for name in names {
        match headers.entry(VARY) {
            Entry::Vacant(vacant) => {
                vacant.insert(name.clone());
            }
            Entry::Occupied(mut said) => {
                let covers =
                    |listed: &[u8]| listed == b"*" || listed.eq_ignore_ascii_case(name.as_bytes());
                if !said.iter().any(|value| lists(value, covers)) {
                    said.append(name.clone());
                }
            }
        }
    }
}

/// Whether a header that is a list has such an element.
fn lists(value: &HeaderValue, is: impl Fn(&[u8]) -> bool) -> bool {
    value.as_bytes().split(|byte| *byte == b',').any(|element| is(element.trim_ascii()))
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
        let names = [HeaderValue::from_static("cookie"), HeaderValue::from_static("x-id")];
        let mut said = headers(&[(VARY, "Accept, Cookie")]);
        vary(&mut said, &names);
        assert_eq!(said.get_all(VARY).iter().collect::<Vec<_>>(), ["Accept, Cookie", "x-id"]);
        let mut all = headers(&[(VARY, "*")]);
        vary(&mut all, &names);
        assert_eq!(all.get_all(VARY).iter().count(), 1);
    }
}
