//! The device that a request comes from, and its name.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use kvolt::device_names;
use kvolt::session::Device;

use crate::state::App;

/// The maximum length of the name of an unknown program, in characters.
const MAX_NAME_LEN: usize = 40;

/// The device of a request: its user agent and the client's address. A forwarding header is
/// trusted only from a trusted proxy.
pub(crate) struct RequestDevice(pub(crate) Device);

impl FromRequestParts<App> for RequestDevice {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map(|ConnectInfo(address)| address.ip());
        Ok(Self(app.proxies().device(peer, &parts.headers)))
    }
}

/// The name of a device, such as "Firefox on Linux". For an unknown program it is the first word
/// of its user agent.
pub(crate) fn name(device: &Device) -> String {
    if let Some(name) = device.user_agent().and_then(device_names::name) {
        return name.to_string();
    }
    let mut words = device.user_agent().unwrap_or_default().split(['/', ' ']);
    match words.next() {
        None | Some("") => String::from("Unknown program"),
        Some("Mozilla") => String::from("Unknown browser"),
        Some(first) => first.chars().take(MAX_NAME_LEN).collect(),
    }
}

/// The address of a device, or nothing.
pub(crate) fn address(device: &Device) -> String {
    device.address().map(|address| address.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_program_has_its_own_name() {
        let name = |user_agent: &str| name(&Device::new().with_user_agent(user_agent));
        assert_eq!(
            name("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
            "Firefox on Linux"
        );
        assert_eq!(name("Mozilla/5.0 (compatible)"), "Unknown browser");
        assert_eq!(name("Phone/1.0"), "Phone");
        assert_eq!(name(" "), "Unknown program");
        assert_eq!(name(&"é".repeat(300)).chars().count(), MAX_NAME_LEN);
        assert_eq!(super::name(&Device::new()), "Unknown program");
    }
}
