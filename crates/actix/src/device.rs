//! The client's device.

use actix_web::HttpRequest;
use kvolt_middleware::TrustedProxies;
use kvolt_session::Device;

use crate::head::Head;

/// Returns the device that sent a request, for users who review their devices: its user agent, and
/// its address. The address is the peer of the connection, or the one that trusted proxies state.
///
/// `ConnectionInfo::realip_remote_addr` of actix-web believes a header that any client can send.
///
/// ```
/// use actix_web::{HttpRequest, web};
/// use kvolt_actix::{Result, SessionHandle, device};
/// use kvolt_middleware::TrustedProxies;
/// use kvolt_session::NewSession;
///
/// /// After the credentials were checked.
/// async fn login(
///     client: SessionHandle<String>,
///     request: HttpRequest,
///     proxies: web::Data<TrustedProxies>,
/// ) -> Result<()> {
///     let session = NewSession::new(String::from("Ada")).owner("42");
///     Ok(client.login(session.device(device(&request, &proxies))).await?)
/// }
/// ```
pub fn device(request: &HttpRequest, proxies: &TrustedProxies) -> Device {
    proxies.device(request.peer_addr().map(|peer| peer.ip()), &Head(request))
}
