//! The offer and the registration.

use std::time::Duration;

use serde_json::{Value, json};

use crate::device::{challenge, instructions, refresh};
use crate::key::unsigned;
use crate::{Client, Device, DeviceKey, Offer, Server};

/// ES256 is the first algorithm; a path and a challenge follow.
pub fn sign_in_offers_a_registration(server: &dyn Server) {
    let Offer { header, path, challenge } = Device::signed_in(server).offer;
    assert!(header.starts_with("(ES256"), "{header}");
    assert!(path.starts_with('/') && !challenge.is_empty(), "{header}");
}

/// Such a request would come without the session cookie. The next request of the site's own pages
/// gets the offer, once.
pub fn cross_site_sign_in_is_offered_later(server: &dyn Server) {
    let Some(callback) = server.callback() else { return };
    let mut client = Client::of(server);
    let site = |site| [("sec-fetch-site", site), ("sec-fetch-mode", "navigate")];
    let answer = client.get(callback, &site("cross-site"));
    client.keep(&answer);
    assert!(Offer::of(&answer).is_none(), "offered to a request from another site");
    let answer = client.get(server.protected(), &site("cross-site"));
    assert_eq!(answer.status, 200);
    assert!(Offer::of(&answer).is_none(), "offered to the next request from another site");
    let answer = client.get(server.protected(), &site("same-origin"));
    let offer = Offer::of(&answer).expect("an offer for the site's own page");
    assert!(
        Offer::of(&client.get(server.protected(), &site("same-origin"))).is_none(),
        "offered twice"
    );
    let key = DeviceKey::generate();
    let proof = key.proof(&key.registration_header(), &offer.challenge);
    let answer = client.post(&offer.path, &[("secure-session-response", &*proof)]);
    assert_eq!(answer.status, 200, "the offer is good");
}

#[track_caller]
fn assert_rejected(device: &Device<'_>, proof: &str) {
    let answer = device.register_with(proof);
    assert!((400..500).contains(&answer.status), "{proof}: {}", answer.status);
    assert!(answer.header("set-cookie").is_none());
}

/// The challenge of the offer must be signed, not another one.
pub fn registration_needs_its_challenge(server: &dyn Server) {
    let (device, other) = (Device::signed_in(server), Device::signed_in(server));
    for challenge in ["", "x", &device.offer.challenge[1..], &other.offer.challenge] {
        let proof = device.key.proof(&device.key.registration_header(), challenge);
        assert_rejected(&device, &proof);
    }
}

/// A challenge is valid for a minute. Checked where the clock can be moved.
pub fn offer_is_valid_for_a_minute(server: &dyn Server) {
    if !server.has_own_clock() {
        return;
    }
    let (mut in_time, late) = (Device::signed_in(server), Device::signed_in(server));
    server.let_pass(Duration::from_secs(58));
    assert_eq!(in_time.register().status, 200);
    server.let_pass(Duration::from_secs(4));
    assert_rejected(&late, &late.registration());
}

/// Only ES256, and only the type of this protocol.
pub fn registration_needs_its_algorithm_and_type(server: &dyn Server) {
    let device = Device::signed_in(server);
    for (field, value) in [("alg", "none"), ("alg", "HS256"), ("alg", "RS256"), ("typ", "JWT")] {
        let mut header = device.key.registration_header();
        header[field] = json!(value);
        assert_rejected(&device, &device.key.proof(&header, &device.offer.challenge));
        assert_rejected(&device, &unsigned(&header, &device.offer.challenge));
    }
}

/// The key of the header must have signed it.
pub fn registration_needs_the_signature_of_its_key(server: &dyn Server) {
    let device = Device::signed_in(server);
    let header = device.key.registration_header();
    assert_rejected(&device, &unsigned(&header, &device.offer.challenge));
    assert_rejected(&device, &DeviceKey::generate().proof(&header, &device.offer.challenge));
}

/// A key must be a point of P-256.
pub fn registration_needs_a_valid_key(server: &dyn Server) {
    let device = Device::signed_in(server);
    for (field, value) in
        [("crv", json!("P-384")), ("kty", json!("RSA")), ("x", json!("AAAA")), ("y", Value::Null)]
    {
        let mut header = device.key.registration_header();
        header["jwk"][field] = value;
        assert_rejected(&device, &device.key.proof(&header, &device.offer.challenge));
    }
    assert_rejected(&device, "");
    assert_rejected(&device, "e30.e30.e30");
}

/// A registration needs the session cookie.
pub fn registration_without_a_session_is_rejected(server: &dyn Server) {
    let device = Device::signed_in(server);
    let proof = device.registration();
    let answer =
        Client::of(server).post(&device.offer.path, &[("secure-session-response", &proof)]);
    assert!((400..500).contains(&answer.status), "{}", answer.status);
}

/// A registration sets the bound cookie, and gives the challenge of the first refresh.
pub fn registration_sets_a_cookie_and_a_challenge(server: &dyn Server) {
    let mut device = Device::signed_in(server);
    let answer = device.register();
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("application/json")));
    assert!(device.bound_value().len() >= 22, "16 bytes or more, in base64url");
    let (challenge, id) = challenge(&answer).expect("a challenge");
    assert!(!challenge.is_empty() && id == device.id, "{challenge:?} {id:?}");
}

/// With other attributes, a browser does not recognise its cookie: each request is held.
pub fn instructions_repeat_the_cookie_s_attributes(server: &dyn Server) {
    let mut device = Device::signed_in(server);
    let answer = device.register();
    let start = format!("{}=", server.bound_cookie());
    let cookie = answer.headers("set-cookie").find(|cookie| cookie.starts_with(&start));
    let cookie = cookie.expect("the bound cookie");
    let sorted = |attributes: &str| {
        let mut attributes: Vec<String> =
            attributes.split(';').map(|part| part.trim().to_ascii_lowercase()).collect();
        attributes.sort();
        attributes
    };
    let (_, set) = cookie.split_once(';').expect("attributes");
    let mut set = sorted(set);
    let count = set.len();
    let max_age = format!("max-age={}", server.lifetime().as_secs());
    set.retain(|attribute| *attribute != max_age && !attribute.starts_with("expires="));
    assert!(set.len() < count, "no {max_age}: {cookie}");
    let instructions = instructions(&answer);
    let credential = &instructions["credentials"][0];
    assert_eq!(credential["type"], "cookie");
    assert_eq!(credential["name"], server.bound_cookie());
    assert_eq!(sorted(credential["attributes"].as_str().expect("attributes")), set);
}

/// The scope is the origin. Other sites cause no refresh: it would come without the session cookie.
pub fn instructions_have_the_scope_of_the_origin(server: &dyn Server) {
    let answer = Device::signed_in(server).register();
    let instructions = instructions(&answer);
    assert_eq!(instructions["refresh_url"], server.refresh_path());
    assert_eq!(instructions["scope"]["include_site"], false, "{instructions}");
    let origin = instructions["scope"]["origin"].as_str().unwrap_or("https:");
    assert!(origin.starts_with("https:"), "{instructions}");
    let initiators = instructions["allowed_refresh_initiators"].as_array();
    let all = initiators.into_iter().flatten().any(|initiator| initiator == "*");
    assert!(!all, "a refresh caused by any site: {instructions}");
}

/// A thief can't bind a bound session to a key of his own.
pub fn second_key_is_rejected(server: &dyn Server) {
    let mut device = Device::bound(server);
    let thief = DeviceKey::generate();
    let proof = thief.proof(&thief.registration_header(), &device.offer.challenge);
    assert_rejected(&device, &proof);
    server.let_pass(Duration::from_millis(100));
    assert_eq!(device.refresh().status, 200, "the first key is good");
    assert_rejected(&device, &device.registration());
    let proof = thief.proof(&DeviceKey::refresh_header(), &device.challenge);
    assert_eq!(refresh(server, &device.client, &device.id, Some(&proof)).status, 403);
}

/// A browser repeats a registration whose answer was lost. It is granted until the first refresh.
pub fn lost_registration_can_be_repeated(server: &dyn Server) {
    let mut device = Device::signed_in(server);
    let proof = device.registration();
    let lost = device.register_with(&proof);
    let id = &instructions(&lost)["session_identifier"];
    assert_eq!(device.register().status, 200, "repeated");
    assert_eq!(*id, *device.id, "the same binding");
    assert_eq!(device.status(), 200);
    server.let_pass(Duration::from_millis(100));
    assert_eq!(device.refresh().status, 200);
    assert_rejected(&device, &proof);
}
