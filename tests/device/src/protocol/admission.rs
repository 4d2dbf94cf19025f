//! Which requests of a bound session are admitted.

use crate::device::assert_refused;
use crate::server::{GRACE, MARGIN, after_lifetime};
use crate::{Client, Device, Server};

/// Both cookies are accepted: the value of the registration, of the refresh, and the one before it.
pub fn both_cookies_are_accepted(server: &dyn Server) {
    let mut device = Device::bound(server);
    assert_eq!(device.status(), 200, "after the registration");
    assert_eq!(device.refresh().status, 200);
    assert_eq!(device.status(), 200, "after a refresh");
    let before = device.client.clone();
    assert_eq!(device.refresh().status, 200);
    let answer = before.get(server.protected(), &[]);
    assert_eq!(answer.status, 200, "a request that left before the refresh");
    assert!(answer.text.contains(server.greeting()));
}

/// Requests on their way during the registration are admitted; later ones need the bound cookie.
pub fn session_cookie_alone_is_refused(server: &dyn Server) {
    let device = Device::bound(server);
    let thief = device.unproven();
    assert_eq!(thief.get(server.protected(), &[]).status, 200, "right after the registration");
    server.let_pass(GRACE + MARGIN);
    assert_refused(&thief.get(server.protected(), &[]), "the session cookie alone");
    assert_refused(&server.change(&thief), "a change with it");
}

/// `Secure-Session-Skipped` can be forged: it never opens anything.
pub fn forged_excuse_opens_nothing(server: &dyn Server) {
    let device = Device::bound(server);
    server.let_pass(GRACE + MARGIN);
    for reason in ["server_error", "unreachable", "quota_exceeded", "unknown"] {
        let skipped = format!("{reason};session_identifier=\"{}\"", device.id);
        let headers = [("secure-session-skipped", &*skipped)];
        assert_refused(&device.unproven().get(server.protected(), &headers), reason);
    }
}

/// Neither an invented value nor that of another session is accepted.
pub fn other_bound_cookies_are_refused(server: &dyn Server) {
    let (device, other) = (Device::bound(server), Device::bound(server));
    server.let_pass(GRACE + MARGIN);
    for value in ["x", &device.bound_value()[1..], other.bound_value()] {
        let thief = device.client.with(server.bound_cookie(), value);
        assert_refused(&thief.get(server.protected(), &[]), value);
    }
}

/// The server counts the lifetime: a client keeps its copy for as long as it likes.
pub fn copied_cookies_are_refused_after_the_lifetime(server: &dyn Server) {
    let mut device = Device::bound(server);
    server.let_pass(GRACE + MARGIN);
    assert_eq!(device.refresh().status, 200);
    let thief = device.client.clone();
    assert_eq!(thief.get(server.protected(), &[]).status, 200, "within the lifetime");
    server.let_pass(after_lifetime(server));
    assert_refused(&thief.get(server.protected(), &[]), "a copy after the lifetime");
    // The owner goes on, and the copy stays worthless.
    assert_eq!(device.refresh().status, 200, "the owner's refresh");
    assert_eq!(device.status(), 200, "the owner");
    assert_refused(&thief.get(server.protected(), &[]), "the copy after the owner's refresh");
}

/// The copy is the value before the owner's refresh: it keeps its own end.
pub fn copied_cookies_are_refused_while_the_owner_is_active(server: &dyn Server) {
    let mut device = Device::bound(server);
    server.let_pass(GRACE + MARGIN);
    assert_eq!(device.refresh().status, 200);
    let thief = device.client.clone();
    let half = server.lifetime() / 2;
    server.let_pass(half);
    assert_eq!(device.refresh().status, 200);
    assert_eq!(thief.get(server.protected(), &[]).status, 200, "the copy, within its lifetime");
    server.let_pass(after_lifetime(server) - half);
    assert_refused(&thief.get(server.protected(), &[]), "the copy, after its lifetime");
    assert_eq!(device.refresh().status, 200, "the owner's refresh");
    assert_eq!(device.status(), 200, "the owner");
}

/// A browser refreshes for no link of another site: the answer is a page that loads itself again,
/// and then the browser refreshes first.
pub fn link_from_another_site_gets_a_page_that_reloads(server: &dyn Server) {
    let mut device = Device::bound(server);
    server.let_pass(GRACE + MARGIN);
    let client = device.unproven();
    let get = |client: &Client, site, mode| {
        client.get(server.protected(), &[("sec-fetch-site", site), ("sec-fetch-mode", mode)])
    };
    for site in ["cross-site", "same-site"] {
        let answer = get(&client, site, "navigate");
        assert_refused(&answer, "a link from another site");
        assert!(answer.text.contains("location.reload()"), "{site}: no reload: {}", answer.text);
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("set-cookie"), None, "no cookie changes");
    }
    // No loop: the reload comes from the site itself. Nothing else is a page.
    for (site, mode) in [("same-origin", "navigate"), ("none", "navigate"), ("cross-site", "cors")]
    {
        let answer = get(&client, site, mode);
        assert_refused(&answer, "a request that is no link from another site");
        assert!(!answer.text.contains("location.reload()"), "{site} {mode}");
    }
    assert_eq!(device.refresh().status, 200);
    let proven = get(&device.client, "cross-site", "navigate");
    assert_eq!(proven.status, 200, "a link from another site, with the bound cookie");
}

/// A page that needs a recent proof deletes the bound cookie and redirects: the browser refreshes
/// before it follows.
pub fn step_up_needs_a_recent_proof(server: &dyn Server) {
    let Some(step_up) = server.step_up() else { return };
    let mut device = Device::bound(server);
    server.let_pass(GRACE + MARGIN);
    assert_eq!(device.refresh().status, 200);
    // Any proof is too old for it after the lifetime; the cookie of a later refresh is needed.
    server.let_pass(server.lifetime());
    let navigation = [("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")];
    let answer = device.client.get(step_up, &navigation);
    assert!(matches!(answer.status, 302..=308), "{} {}", answer.status, answer.text);
    let start = format!("{}=;", server.bound_cookie());
    let deleted = answer.headers("set-cookie").any(|cookie| cookie.starts_with(&start));
    assert!(deleted, "the bound cookie is deleted");
    let target = answer.header("location").expect("a target").to_owned();
    assert_eq!(device.refresh().status, 200);
    let answer = device.client.get(&target, &navigation);
    assert_eq!(answer.status, 200, "after a new proof");
    assert!(answer.text.contains(server.greeting()));
}
