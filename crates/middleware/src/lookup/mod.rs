//! The sources of tokens in a request.

mod cookie_header;

use std::fmt;
use std::str::FromStr;

use http::HeaderName;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, SET_COOKIE};
use kvolt_session::Token;

use crate::ConfigError;
use crate::head::RequestHead;

/// Where in a request the token is searched for. Parsed once, at start-up.
///
/// | written | where |
/// |---|---|
/// | `cookie:NAME` | the cookie of that name |
/// | `header:NAME` | the header of that name |
/// | `header:Authorization` | the `Authorization` header, with the `Bearer` scheme (RFC 6750) |
/// | `query:NAME` | the query parameter of that name |
///
/// Several sources are separated by commas and tried in order. The first source that holds a
/// well-formed token decides; later sources are not tried. A request with two different values at
/// one source has no session, and a login or a logout with it ends the sessions of all its tokens.
///
/// A token in a query ends up in logs, histories and `Referer` headers: use `query:` only where
/// nothing else is possible.
///
/// ```
/// use kvolt_middleware::Lookup;
///
/// let lookup: Lookup = "cookie:session_id,header:Authorization".parse()?;
/// assert_eq!(lookup.to_string(), "cookie:session_id,header:authorization");
/// assert!("cokie:session_id".parse::<Lookup>().is_err());
/// # Ok::<(), kvolt_middleware::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup(Box<[Source]>);

/// The index of a source in its lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SourceIndex(usize);

/// The tokens that a request carries.
#[derive(Debug)]
pub(crate) enum Presented {
    Nothing,
    One(Token, SourceIndex),
    /// The well-formed tokens among different values at one source.
    Several(Vec<Token>, SourceIndex),
}

impl Presented {
    /// A request with more tokens than this signs nothing in or out.
    pub(crate) const MAX_TOKENS: usize = 8;

    pub(crate) fn source(&self) -> Option<SourceIndex> {
        match self {
            Self::Nothing => None,
            Self::One(_, source) | Self::Several(_, source) => Some(*source),
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
    /// The maximum number of sources.
    pub const MAX_SOURCES: usize = 8;

    /// Returns the token of a request, if it carries one that is well-formed.
    ///
    /// ```
    /// use http::Request;
    /// use kvolt_middleware::Lookup;
    ///
    /// let lookup: Lookup = "header:X-Session-ID".parse()?;
    /// let request = Request::builder().header("x-session-id", "A".repeat(48)).body(())?;
    /// assert!(lookup.find(&request).is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn find(&self, request: &impl RequestHead) -> Option<Token> {
        match self.presented(request) {
            Presented::One(token, _) => Some(token),
            Presented::Nothing | Presented::Several(..) => None,
        }
    }

    #[inline]
    pub(crate) fn presented(&self, request: &impl RequestHead) -> Presented {
        let mut is_ambiguous = false;
        for (index, source) in self.0.iter().enumerate() {
            match source.unique(request) {
                Unique::One(value) => {
                    if let Some(token) = Token::parse(value) {
                        return Presented::One(token, SourceIndex(index));
                    }
                }
                Unique::Conflicting => is_ambiguous = true,
                Unique::None => {}
            }
        }
        if is_ambiguous { self.several(request) } else { Presented::Nothing }
    }

    #[cold]
    fn several(&self, request: &impl RequestHead) -> Presented {
        let tokens = self.0.iter().map(|source| source.tokens(request));
        let first = tokens.enumerate().find(|(_, tokens)| !tokens.is_empty());
        first.map_or(Presented::Nothing, |(index, tokens)| {
            Presented::Several(tokens, SourceIndex(index))
        })
    }

    pub(crate) fn source(&self, index: SourceIndex) -> &Source {
        &self.0[index.0]
    }

    pub(crate) fn first_cookie(&self) -> Option<SourceIndex> {
        self.0.iter().position(|source| matches!(source, Source::Cookie(_))).map(SourceIndex)
    }

    pub(crate) fn sources(&self) -> &[Source] {
        &self.0
    }

    /// Whether the `Bearer` scheme, which has challenges, is a source.
    pub(crate) fn has_bearer(&self) -> bool {
        self.0.contains(&Source::Bearer)
    }
}

impl Source {
    /// The one value of this source.
    #[inline]
    pub(crate) fn unique<'a>(&self, request: &'a impl RequestHead) -> Unique<'a> {
        let mut unique = Unique::None;
        match self.each(request, cookie_header::MAX_LEN, |value| unique.add(value)) {
            true => unique,
            false => Unique::Conflicting,
        }
    }

    /// The different tokens at this source: at most one more than [`Presented::MAX_TOKENS`].
    fn tokens(&self, request: &impl RequestHead) -> Vec<Token> {
        let mut seen = Vec::new();
        let mut tokens = Vec::new();
        self.each(request, usize::MAX, |value| {
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

    /// Passes each value of this source to `visit`. `false` if there are more cookies than
    /// `max_len` bytes: the rest was not searched.
    #[inline]
    fn each<'a>(
        &self,
        request: &'a impl RequestHead,
        max_len: usize,
        mut visit: impl FnMut(&'a [u8]),
    ) -> bool {
        match self {
            Self::Cookie(name) => return cookie_header::each(request, name, max_len, visit),
            Self::Header(name) => request.each(name, &mut |value| visit(value.trim_ascii())),
            Self::Bearer => request.each(&AUTHORIZATION, &mut |value| {
                bearer(value).into_iter().for_each(&mut visit);
            }),
            // A token needs no percent-encoding, so the query is not decoded.
            Self::Query(name) => request.query().unwrap_or_default().split('&').for_each(|pair| {
                let value = pair.strip_prefix(&**name).and_then(|rest| rest.strip_prefix('='));
                value.map(str::as_bytes).into_iter().for_each(&mut visit);
            }),
        }
        true
    }

    /// The request header that decides; `None` for a query, which is part of the address.
    pub(crate) fn header_name(&self) -> Option<HeaderName> {
        match self {
            Self::Cookie(_) => Some(COOKIE),
            Self::Header(name) => Some(name.clone()),
            Self::Bearer => Some(AUTHORIZATION),
            Self::Query(_) => None,
        }
    }
}

/// The credentials of the `Bearer` scheme, whose name has no case (RFC 9110, section 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii();
    let (scheme, credentials) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| credentials.trim_ascii_start())
}

/// A value that a source holds once, or several times alike. Two different values conflict.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unique<'a> {
    None,
    One(&'a [u8]),
    Conflicting,
}

impl<'a> Unique<'a> {
    #[inline]
    fn add(&mut self, value: &'a [u8]) {
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
        for (index, source) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{source}")?;
        }
        Ok(())
    }
}

impl FromStr for Lookup {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let error = |reason| {
            let text: String = text.chars().take(200).collect();
            ConfigError::new(format!("the lookup {text:?} can't be used: {reason}"))
        };
        let mut sources = Vec::new();
        for part in text.split(',') {
            let source = parse_source(part.trim()).map_err(error)?;
            if sources.contains(&source) {
                return Err(error("it names one source twice"));
            }
            if sources.len() == Self::MAX_SOURCES {
                return Err(error("it names more than 8 sources"));
            }
            sources.push(source);
        }
        Ok(Self(sources.into()))
    }
}

fn parse_source(text: &str) -> Result<Source, &'static str> {
    let (kind, name) = text
        .split_once(':')
        .ok_or("a source is written cookie:NAME, header:NAME or query:NAME, several with commas")?;
    match kind {
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
            Err(_) => Err("that is not the name of a header"),
        },
        _ => Err("the source must be cookie, header or query, in lower case"),
    }
}

/// Whether it is a token in the sense of RFC 9110, section 5.6.2.
pub(crate) fn is_token(name: &str) -> bool {
    let special = |byte| b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || special(byte))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const ONE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const TWO: &str = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";

    fn find(lookup: &str, headers: &[(&str, &str)], uri: &str) -> Option<String> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let lookup: Lookup = lookup.parse().unwrap();
        lookup.find(&request.body(()).unwrap()).map(|token| token.expose().to_owned())
    }

    #[test]
    fn token_is_found_at_its_source_only() {
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
    fn first_well_formed_token_decides() {
        let lookup = "cookie:id,header:x-id";
        let cookie = format!("id={ONE}");
        assert_eq!(find(lookup, &[("cookie", &cookie), ("x-id", TWO)], "/").as_deref(), Some(ONE));
        assert_eq!(find(lookup, &[("cookie", "id=x"), ("x-id", TWO)], "/").as_deref(), Some(TWO));
        assert_eq!(find(lookup, &[("cookie", &cookie), ("x-id", "x")], "/").as_deref(), Some(ONE));
    }

    #[test]
    fn two_values_at_one_source_are_rejected() {
        assert_eq!(find("header:x-id", &[("x-id", ONE), ("x-id", TWO)], "/"), None);
        assert_eq!(find("query:id", &[], &format!("/?id={ONE}&id={TWO}")), None);
        assert_eq!(find("header:x-id", &[("x-id", ONE), ("x-id", ONE)], "/").as_deref(), Some(ONE));
    }

    #[test]
    fn only_the_bearer_scheme_is_accepted() {
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
    fn invalid_lookup_says_why() {
        for (lookup, expected) in [
            ("", "cookie:NAME"),
            ("session_id", "cookie:NAME"),
            ("cookie:", "cookie's name"),
            ("cookie:a b", "cookie's name"),
            ("cookie:a;b", "cookie's name"),
            ("header:", "not the name"),
            ("header:a b", "not the name"),
            ("header:Cookie", "write cookie:NAME"),
            ("header:Host", "meaning of its own"),
            ("query:a&b", "query parameter's name"),
            ("Cookie:a", "cookie, header or query"),
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
