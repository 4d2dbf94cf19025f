use std::fmt;
use std::str::FromStr;

use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, SET_COOKIE};
use http::{HeaderMap, HeaderName, Uri};

use kvolt_session::Token;

use crate::cookie_header;

/// Where in a request the token is looked for. Parsed once, at start-up.
///
/// | written | where |
/// |---|---|
/// | `cookie:NAME` | the cookie of that name |
/// | `header:NAME` | the header of that name |
/// | `header:Authorization` | the `Authorization` header, with the `Bearer` scheme (RFC 6750) |
/// | `query:NAME` | the query parameter of that name |
///
/// Several are separated by commas and tried in order; the first at which there
/// is something in the form of a token decides, and nothing else is tried. Where
/// one place holds two different values, neither is believed: such a request has no session, and
/// a login or a logout of it ends the sessions of all its tokens.
///
/// A token in a query ends up in logs, histories and `Referer` headers: use it
/// only where nothing else is possible.
///
/// ```
/// use kvolt_middleware::Lookup;
///
/// let lookup: Lookup = "cookie:session_id,header:Authorization".parse()?;
/// assert_eq!(lookup.to_string(), "cookie:session_id,header:authorization");
/// assert!("cokie:session_id".parse::<Lookup>().is_err());
/// # Ok::<(), kvolt_middleware::ParseLookupError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup(Box<[Source]>);

/// Which of a lookup's places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(usize);

/// What a request has at the places of a lookup.
#[derive(Debug)]
pub(crate) enum Presented {
    Nothing,
    One(Token, Place),
    /// Different values at one place, among which are these tokens.
    Several(Vec<Token>, Place),
}

impl Presented {
    /// With more tokens than this, a request is in no one's interest, and signs nothing in or out.
    pub(crate) const MAX_TOKENS: usize = 8;

    pub(crate) fn place(&self) -> Option<Place> {
        match self {
            Self::Nothing => None,
            Self::One(_, place) | Self::Several(_, place) => Some(*place),
        }
    }
}

/// One place where a token may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Cookie(Box<str>),
    Header(HeaderName),
    Bearer,
    Query(Box<str>),
}

impl Lookup {
    /// At how many places a token may be looked for.
    pub const MAX_SOURCES: usize = 8;

    /// The token in a request with this head, if there is something in the form of one.
    pub fn find(&self, headers: &HeaderMap, uri: &Uri) -> Option<Token> {
        match self.presented(headers, uri) {
            Presented::One(token, _) => Some(token),
            Presented::Nothing | Presented::Several(..) => None,
        }
    }

    pub(crate) fn presented(&self, headers: &HeaderMap, uri: &Uri) -> Presented {
        let mut is_ambiguous = false;
        for (place, source) in self.0.iter().enumerate() {
            match source.sole(headers, uri) {
                Sole::One(value) => {
                    if let Some(token) = Token::parse(value) {
                        return Presented::One(token, Place(place));
                    }
                }
                Sole::Conflicting => is_ambiguous = true,
                Sole::None => {}
            }
        }
        if is_ambiguous { self.several(headers, uri) } else { Presented::Nothing }
    }

    #[cold]
    fn several(&self, headers: &HeaderMap, uri: &Uri) -> Presented {
        for (place, source) in self.0.iter().enumerate() {
            let tokens = source.tokens(headers, uri);
            if !tokens.is_empty() {
                return Presented::Several(tokens, Place(place));
            }
        }
        Presented::Nothing
    }

    /// The source at a place that this lookup has named.
    pub(crate) fn source(&self, place: Place) -> &Source {
        &self.0[place.0]
    }

    pub(crate) fn sources(&self) -> &[Source] {
        &self.0
    }

    pub(crate) fn cookie(name: &str) -> Self {
        Self(Box::new([Source::Cookie(name.into())]))
    }
}

impl Source {
    /// The value at this place, if there is one.
    fn sole<'a>(&self, headers: &'a HeaderMap, uri: &'a Uri) -> Sole<'a> {
        if let Self::Cookie(name) = self {
            return cookie_header::find(headers, name);
        }
        let mut sole = Sole::None;
        self.each(headers, uri, |value| sole.add(value));
        sole
    }

    /// The different tokens at this place: at most one more than [`Presented::MAX_TOKENS`].
    fn tokens(&self, headers: &HeaderMap, uri: &Uri) -> Vec<Token> {
        let mut seen = Vec::new();
        let mut tokens = Vec::new();
        self.each(headers, uri, |value| {
            if tokens.len() <= Presented::MAX_TOKENS
                && !seen.contains(&value)
                && let Some(token) = Token::parse(value)
            {
                seen.push(value);
                tokens.push(token);
            }
        });
        tokens
    }

    fn each<'a>(&self, headers: &'a HeaderMap, uri: &'a Uri, mut found: impl FnMut(&'a [u8])) {
        let values = |name| headers.get_all(name).iter().map(|value| value.as_bytes());
        match self {
            Self::Cookie(name) => {
                cookie_header::each(headers, name, usize::MAX, found);
            }
            Self::Header(name) => values(name).for_each(|value| found(value.trim_ascii())),
            Self::Bearer => values(&AUTHORIZATION).filter_map(bearer).for_each(found),
            // A token needs no percent-encoding, so there is none to undo.
            Self::Query(name) => uri.query().unwrap_or_default().split('&').for_each(|pair| {
                let value = pair.strip_prefix(&**name).and_then(|rest| rest.strip_prefix('='));
                value.map(str::as_bytes).into_iter().for_each(&mut found);
            }),
        }
    }
}

/// The credentials of the `Bearer` scheme, whose name has no case (RFC 9110, section 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii();
    let (scheme, credentials) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| credentials.trim_ascii_start())
}

/// A value that a place has once, or several times alike; of two that differ neither is believed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sole<'a> {
    None,
    One(&'a [u8]),
    Conflicting,
}

impl<'a> Sole<'a> {
    pub(crate) fn add(&mut self, value: &'a [u8]) {
        *self = match *self {
            Self::None => Self::One(value),
            Self::One(first) if first == value => Self::One(first),
            _ => Self::Conflicting,
        };
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Bearer => write!(f, "header:{AUTHORIZATION}"),
            Self::Query(name) => write!(f, "query:{name}"),
        }
    }
}

impl fmt::Display for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, source) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{source}")?;
        }
        Ok(())
    }
}

impl FromStr for Lookup {
    type Err = ParseLookupError;

    fn from_str(text: &str) -> Result<Self, ParseLookupError> {
        let error = |reason| ParseLookupError { lookup: text.chars().take(200).collect(), reason };
        let mut sources = Vec::new();
        for part in text.split(',') {
            let source = parse_source(part.trim()).map_err(error)?;
            if sources.contains(&source) {
                return Err(error("it names one place twice"));
            }
            if sources.len() == Self::MAX_SOURCES {
                return Err(error("it names more than 8 places"));
            }
            sources.push(source);
        }
        Ok(Self(sources.into()))
    }
}

fn parse_source(text: &str) -> Result<Source, &'static str> {
    let (place, name) = text
        .split_once(':')
        .ok_or("a place is written cookie:NAME, header:NAME or query:NAME, several with commas")?;
    match place {
        "cookie" if is_token(name) => Ok(Source::Cookie(name.into())),
        "cookie" => Err("a cookie's name has letters, digits and !#$%&'*+-.^_`|~ only"),
        "query" if is_token(name) && !name.contains(['%', '&', '+', '#']) => {
            Ok(Source::Query(name.into()))
        }
        "query" => Err("a query parameter's name has letters, digits and !$'*-.^_`|~ only"),
        "header" => match HeaderName::from_bytes(name.as_bytes()) {
            Ok(AUTHORIZATION) => Ok(Source::Bearer),
            Ok(COOKIE) => Err("for a cookie, write cookie:NAME"),
            Ok(SET_COOKIE | HOST | CONNECTION | CONTENT_LENGTH) => {
                Err("that header has a meaning of its own")
            }
            Ok(name) => Ok(Source::Header(name)),
            Err(_) => Err("that is no name of a header"),
        },
        _ => Err("a place is a cookie, a header or a query"),
    }
}

/// Whether it is a token in the sense of RFC 9110, section 5.6.2.
pub(crate) fn is_token(name: &str) -> bool {
    let special = |byte| b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || special(byte))
}

/// A lookup that can't be understood, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseLookupError {
    lookup: String,
    reason: &'static str,
}

impl fmt::Display for ParseLookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the lookup {:?} can't be used: {}", self.lookup, self.reason)
    }
}

impl std::error::Error for ParseLookupError {}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const ONE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const TWO: &str = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";

    fn find(lookup: &str, headers: &[(&str, &str)], uri: &str) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        let lookup: Lookup = lookup.parse().unwrap();
        lookup.find(&map, &uri.parse().unwrap()).map(|token| token.expose().to_owned())
    }

    #[test]
    fn a_token_is_found_at_the_place_that_is_named_and_at_no_other() {
        let cookie = format!("id={ONE}");
        let bearer = format!("Bearer {ONE}");
        let query = format!("/?id={ONE}");
        let all = [("cookie", &*cookie), ("x-id", ONE), ("authorization", &*bearer)];
        for (place, lookup) in
            ["cookie:id", "header:x-id", "header:Authorization"].iter().enumerate()
        {
            assert_eq!(find(lookup, &all[place..=place], "/").as_deref(), Some(ONE), "{lookup}");
            let mut others = all.to_vec();
            others.remove(place);
            assert_eq!(find(lookup, &others, &query), None, "{lookup}");
        }
        assert_eq!(find("query:id", &[], &query).as_deref(), Some(ONE));
        assert_eq!(find("query:id", &all, "/"), None);
    }

    #[test]
    fn the_first_place_with_the_form_of_a_token_decides() {
        let lookup = "cookie:id,header:x-id";
        let cookie = format!("id={ONE}");
        assert_eq!(find(lookup, &[("cookie", &cookie), ("x-id", TWO)], "/").as_deref(), Some(ONE));
        assert_eq!(find(lookup, &[("cookie", "id=x"), ("x-id", TWO)], "/").as_deref(), Some(TWO));
        assert_eq!(find(lookup, &[("cookie", &cookie), ("x-id", "x")], "/").as_deref(), Some(ONE));
    }

    #[test]
    fn two_different_values_at_one_place_are_none() {
        assert_eq!(find("header:x-id", &[("x-id", ONE), ("x-id", TWO)], "/"), None);
        assert_eq!(find("query:id", &[], &format!("/?id={ONE}&id={TWO}")), None);
        assert_eq!(find("header:x-id", &[("x-id", ONE), ("x-id", ONE)], "/").as_deref(), Some(ONE));
    }

    #[test]
    fn the_bearer_scheme_has_no_case_and_no_other_scheme_is_accepted() {
        for scheme in ["Bearer ", "bearer ", "BEARER   "] {
            let value = format!("{scheme}{ONE}");
            let found = find("header:authorization", &[("authorization", &value)], "/");
            assert_eq!(found.as_deref(), Some(ONE), "{scheme}");
        }
        for value in [format!("Basic {ONE}"), ONE.to_owned(), format!("Bearer{ONE}"), "é".into()] {
            assert_eq!(find("header:authorization", &[("authorization", &value)], "/"), None);
        }
    }

    #[test]
    fn a_lookup_that_makes_no_sense_says_why() {
        for (lookup, expected) in [
            ("", "cookie:NAME"),
            ("session_id", "cookie:NAME"),
            ("cookie:", "cookie's name"),
            ("cookie:a b", "cookie's name"),
            ("cookie:a;b", "cookie's name"),
            ("header:", "no name"),
            ("header:a b", "no name"),
            ("header:Cookie", "write cookie:NAME"),
            ("header:Host", "meaning of its own"),
            ("query:a&b", "query parameter's name"),
            ("Cookie:a", "a cookie, a header or a query"),
            ("cookie:a,cookie:a", "twice"),
            ("cookie:a,", "cookie:NAME"),
            (
                "cookie:1,cookie:2,cookie:3,cookie:4,cookie:5,cookie:6,cookie:7,cookie:8,cookie:9",
                "8",
            ),
        ] {
            let error = lookup.parse::<Lookup>().unwrap_err().to_string();
            assert!(error.contains(expected), "{lookup:?}: {error}");
        }
    }
}
