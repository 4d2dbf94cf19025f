//! The binding in the life of a session.

use kvolt_servers::wait_until;
use serde_json::json;

use super::owner::Owner;
use crate::device::refresh;
use crate::server::after_lifetime;
use crate::{Client, Server};

/// The browser registers after the form, and its cookie is the one that the instructions ask for:
/// no request waits.
pub fn sign_in_binds_the_browser(server: &dyn Server) {
    let mut owner = Owner::bound(server);
    let cookies = owner.browser.cookies();
    let cookie = cookies.iter().find(|cookie| cookie.name == server.bound_cookie());
    let cookie = cookie.expect("the bound cookie");
    assert!(cookie.http_only && cookie.path == "/" && cookie.expiry.is_some(), "{cookie:?}");
    let requests: Vec<_> = (0..3).map(|_| owner.request()).collect();
    assert!(requests.iter().all(|(status, _)| *status == 200), "{requests:?}");
    let held = requests.iter().filter(|(_, usage)| usage == "Deferred").count();
    // On a busy machine, a short lifetime may pass between two requests, but not before each.
    let accepted = if owner.is_always_refreshing() { 2 } else { 0 };
    assert!(held <= accepted, "the browser does not recognise its cookie: {requests:?}");
}

/// The browser refreshes before the request goes out, in one round trip.
pub fn lost_bound_cookie_is_renewed_first(server: &dyn Server) {
    let mut owner = Owner::bound(server);
    for _ in 0..3 {
        let before = owner.bound_value();
        owner.assert_renews_lost_cookie();
        let after = owner.bound_value();
        assert!(after.is_some() && after != before, "another value");
    }
    let refreshes = owner.browser.device_log().refreshes();
    assert!(refreshes.len() >= 3, "{refreshes:?}");
    assert!(refreshes.iter().all(|result| result == "Refreshed"), "{refreshes:?}");
    // One comes with each refresh, for the next. A 403 would bring one more.
    wait_until("as many challenges as refreshes", || {
        let log = owner.browser.device_log();
        log.challenges() == log.refreshes().len()
    });
}

/// Requests that start together wait for one refresh.
pub fn parallel_requests_are_all_admitted(server: &dyn Server) {
    let mut owner = Owner::bound(server);
    owner.lose_bound_cookie();
    let path = server.protected();
    let statuses = owner.browser.run(&format!(
        "return Promise.all(Array.from({{ length: 12 }}, \
         () => fetch('{path}').then(answer => answer.status)))"
    ));
    assert_eq!(statuses, json!(vec![200; 12]));
}

/// A new token of the session, and a refresh after it.
pub fn rotation_and_refresh_go_together(server: &dyn Server) {
    let Some(rotate) = server.rotate() else { return };
    let mut owner = Owner::bound(server);
    for _ in 0..2 {
        owner.lose_bound_cookie();
        assert_eq!(owner.browser.fetch(rotate), 200, "the refresh, then the rotation");
        owner.lose_bound_cookie();
        assert_eq!(owner.status(), 200, "the refresh with the new token");
    }
    owner.device_session();
}

/// The browser proves its key before it follows the redirect.
pub fn step_up_is_proved_by_the_browser(server: &dyn Server) {
    let Some(step_up) = server.step_up() else { return };
    let mut owner = Owner::bound(server);
    // The proof gets old, and the cookie stays good.
    server.let_pass(server.lifetime());
    let before = owner.bound_value();
    owner.browser.open(&format!("{}{}", server.origin(), step_up));
    owner.browser.wait_for(server.greeting());
    assert_ne!(owner.bound_value(), before, "a new proof sets another value");
    owner.device_session();
}

/// The browser learns of it with its next request.
pub fn sign_out_ends_the_device_session(server: &dyn Server) {
    let mut owner = Owner::bound(server);
    let copy = Client::thief(server, &mut owner.browser);
    let id = owner.device_session();
    server.sign_out_by_browser(&mut owner.browser);
    owner.status();
    wait_until("the device session has ended", || owner.browser.device_log().live().is_empty());
    // A refresh that was under way may have set it again.
    if !owner.is_always_refreshing() {
        assert_eq!(owner.bound_value(), None, "the bound cookie does not come back");
    }
    assert_eq!(refresh(server, &copy, &id, None).status, 404);
    // At once, except for the near cache of another instance.
    wait_until("a copy is refused", || copy.get(server.protected(), &[]).status != 200);
}

/// After a failover, a store may not know the newest value. The browser takes its cookie for valid,
/// and yet it refreshes. Checked where the server's clock can be moved: the value has expired there.
pub fn outdated_bound_cookie_is_renewed(server: &dyn Server) {
    if !server.has_own_clock() {
        return;
    }
    let mut owner = Owner::bound(server);
    let before = owner.bound_value();
    server.let_pass(after_lifetime(server));
    assert_eq!(owner.status(), 200, "a fetch");
    assert_ne!(owner.bound_value(), before, "another value");
    server.let_pass(after_lifetime(server));
    owner.browser.open(&format!("{}{}", server.origin(), server.protected()));
    owner.browser.wait_for(server.greeting());
    owner.device_session();
}

/// A store that can't answer makes the browser wait, and not drop its key.
pub fn outage_ends_no_device_session(server: &dyn Server) {
    let mut owner = Owner::bound(server);
    let id = owner.device_session();
    if !server.fail_store(true) {
        return;
    }
    owner.lose_bound_cookie();
    for _ in 0..2 {
        assert_eq!(owner.status(), 503, "during the outage");
    }
    server.fail_store(false);
    wait_until("the browser refreshes", || owner.status() == 200);
    assert_eq!(owner.device_session(), id);
}

/// The older device session ends at its next refresh, and hinders nothing until then.
pub fn second_sign_in_replaces_the_device_session(server: &dyn Server) {
    let mut owner = Owner::bound(server);
    let first = owner.device_session();
    owner.sign_in();
    let second = owner.browser.device_log().live().pop();
    assert!(second.as_ref().is_some_and(|second| *second != first), "another id");
    for _ in 0..3 {
        owner.lose_bound_cookie();
        assert_eq!(owner.status(), 200);
    }
    // Otherwise Chromium refreshes one of the two, and the other finds its cookie renewed.
    if owner.is_always_refreshing() {
        let only_second = || owner.browser.device_log().live().first() == second.as_ref();
        wait_until("the older device session has ended", only_second);
    }
    assert!(owner.browser.device_log().live().contains(&second.expect("it was found")));
}
