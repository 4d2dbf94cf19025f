use http::{HeaderName, HeaderValue, Request, Uri};
use kvolt_middleware::Lookup;

use crate::is_token;

/// The first line is a lookup, the second a URI, each further one a header.
///
/// A lookup that is understood survives being written out, and what it finds is a token that
/// stands in the request as it is.
///
/// # Panics
///
/// If that does not hold.
pub fn lookup(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let text = String::from_utf8_lossy(lines.next().unwrap_or_default());
    let lookup: Lookup = match text.parse() {
        Ok(lookup) => lookup,
        Err(error) => {
            // However long the text is, the message is of bounded length.
            assert!(error.to_string().len() < 4_096);
            return;
        }
    };
    assert_eq!(lookup.to_string().parse().as_ref(), Ok(&lookup));

    let mut request = Request::new(());
    *request.uri_mut() = Uri::try_from(lines.next().unwrap_or_default()).unwrap_or_default();
    let headers = request.headers_mut();
    for line in lines {
        if let Some((name, value)) = header(line)
            && headers.try_append(name, value).is_err()
        {
            return;
        }
    }
    let Some(token) = lookup.find(&request) else { return };
    let token = token.expose().as_bytes();
    assert!(is_token(token));
    let query = request.uri().query().unwrap_or_default().as_bytes();
    let mut places = request.headers().values().map(HeaderValue::as_bytes).chain([query]);
    assert!(places.any(|place| place.windows(token.len()).any(|window| window == token)));
}

fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    Some((name, HeaderValue::from_bytes(&line[colon + 1..]).ok()?))
}
