//! Which devices requests come from, and how that reads.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;
use kvolt::session::Device;

/// The device of a request: its user agent and the address of its connection.
///
/// Forwarding headers are not believed: anybody can send them.
pub(crate) struct From(pub(crate) Device);

impl<S: Sync> FromRequestParts<S> for From {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let mut device = Device::new();
        if let Some(Ok(user_agent)) = parts.headers.get(USER_AGENT).map(|value| value.to_str()) {
            device = device.with_user_agent(user_agent);
        }
        if let Some(ConnectInfo(address)) = parts.extensions.get::<ConnectInfo<SocketAddr>>() {
            device = device.with_address(address.ip());
        }
        Ok(Self(device))
    }
}

/// What a device is called, for people.
pub(crate) fn name(device: &Device) -> String {
    program(device.user_agent())
}

/// The program and the system that a user agent names.
///
/// Programs also name those that they want to be taken for, so the order counts.
fn program(user_agent: Option<&str>) -> String {
    const BROWSERS: &[(&str, &str)] = &[
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("SamsungBrowser/", "Samsung Internet"),
        ("Firefox/", "Firefox"),
        ("FxiOS/", "Firefox"),
        ("CriOS/", "Chrome"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ];
    const SYSTEMS: &[(&str, &str)] = &[
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("CrOS", "ChromeOS"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ];
    let text = user_agent.unwrap_or_default();
    let named = |known: &[(&str, &'static str)]| {
        known.iter().find(|(part, _)| text.contains(part)).map(|(_, name)| *name)
    };
    let first = text.split(['/', ' ']).next().filter(|first| !first.is_empty());
    let program = match (named(BROWSERS), first) {
        (Some(browser), _) => browser.to_owned(),
        (None, Some("Mozilla")) => String::from("A browser"),
        (None, Some(first)) => first.chars().take(40).collect(),
        (None, None) => return String::from("An unknown program"),
    };
    match named(SYSTEMS) {
        Some(system) => format!("{program} on {system}"),
        None => program,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_have_the_names_that_people_know_them_by() {
        const WEBKIT: &str = "AppleWebKit/537.36 (KHTML, like Gecko)";
        for (user_agent, expected) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                "Firefox on Linux",
            ),
            (
                &format!("Mozilla/5.0 (Windows NT 10.0) {WEBKIT} Chrome/140.0 Safari/537.36"),
                "Chrome on Windows",
            ),
            (
                &format!(
                    "Mozilla/5.0 (Windows NT 10.0) {WEBKIT} Chrome/140.0 Safari/537.36 Edg/140.0"
                ),
                "Edge on Windows",
            ),
            (
                &format!(
                    "Mozilla/5.0 (Linux; Android 10; K) {WEBKIT} Chrome/140.0 Mobile Safari/537.36"
                ),
                "Chrome on Android",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1 Version/18.0 Mobile Safari/604.1",
                "Safari on iPhone",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1 Version/18.0 Safari/605.1",
                "Safari on macOS",
            ),
            ("Mozilla/5.0 (compatible)", "A browser"),
            ("curl/8.14.1", "curl"),
            (" ", "An unknown program"),
        ] {
            assert_eq!(program(Some(user_agent)), expected, "{user_agent}");
        }
        assert_eq!(program(None), "An unknown program");
        assert_eq!(program(Some(&"é".repeat(300))).chars().count(), 40);
    }
}
