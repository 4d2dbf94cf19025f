//! Which devices requests come from, and what these are called.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use kvolt::device_names;
use kvolt::session::Device;

use crate::state::App;

/// The longest name that is shown of a program that is not known.
const MAX_NAME_LEN: usize = 40;

/// The device of a request: its user agent, and the address of the client. What a request says
/// of its address is believed where it came by a trusted proxy, and nowhere else.
pub(crate) struct From(pub(crate) Device);

impl FromRequestParts<App> for From {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map(|ConnectInfo(address)| address.ip());
        Ok(Self(app.proxies().device(peer, &parts.headers)))
    }
}

/// What a device is called, for people; of a program that is not known, what it calls itself first.
pub(crate) fn name(device: &Device) -> String {
    if let Some(name) = device.user_agent().and_then(device_names::name) {
        return name.to_string();
    }
    let mut words = device.user_agent().unwrap_or_default().split(['/', ' ']);
    match words.next() {
        None | Some("") => String::from("An unknown program"),
        Some("Mozilla") => String::from("A browser"),
        Some(first) => first.chars().take(MAX_NAME_LEN).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_has_the_name_that_it_gives_itself() {
        let name = |user_agent: &str| name(&Device::new().with_user_agent(user_agent));
        assert_eq!(
            name("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
            "Firefox on Linux"
        );
        assert_eq!(name("Mozilla/5.0 (compatible)"), "A browser");
        assert_eq!(name("Phone/1.0"), "Phone");
        assert_eq!(name(" "), "An unknown program");
        assert_eq!(name(&"é".repeat(300)).chars().count(), MAX_NAME_LEN);
        assert_eq!(super::name(&Device::new()), "An unknown program");
    }
}
