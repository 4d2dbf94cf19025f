//! How a binding ends: with its session, and never by a thief.

use kvolt_servers::wait_until;

use crate::device::{assert_refused, refresh};
use crate::server::GRACE;
use crate::{Device, Server};

/// The record is gone with the session: 404 ends the browser's device session too.
pub fn sign_out_ends_the_binding(server: &dyn Server) {
    let device = Device::bound(server);
    let proof = device.proof();
    let answer = server.sign_out(&device.client);
    assert!(answer.status < 400, "{}", answer.status);
    for cookie in [server.session_cookie(), server.bound_cookie()] {
        let start = format!("{cookie}=;");
        let cleared = answer.headers("set-cookie").any(|header| header.starts_with(&start));
        assert!(cleared, "{cookie} is cleared");
    }
    assert_eq!(device.refresh_with(Some(&proof)).status, 404, "a refresh after the sign-out");
    assert_eq!(device.refresh_with(None).status, 404);
    // At once, except for the near cache of another instance.
    wait_until("a copy of the cookies is refused", || device.status() != 200);
}

/// The next sign-in ends the session of the cookie, with its binding, and offers a new one.
pub fn next_sign_in_ends_the_binding(server: &dyn Server) {
    let first = Device::bound(server);
    let mut second = Device::signed_in(server);
    let answer = server.sign_in(&first.client);
    second.client = first.client.clone();
    second.client.keep(&answer);
    second.offer = crate::Offer::of(&answer).expect("an offer with the second sign-in");
    assert_eq!(second.register().status, 200);
    assert_ne!(second.id, first.id, "another id for another key");
    assert_eq!(first.refresh_with(Some(&first.proof())).status, 404, "the first session");
    let status = refresh(server, &second.client, &first.id, Some(&first.proof())).status;
    assert_eq!(status, 404, "the first session's id, with the new cookie");
    assert_eq!(second.refresh().status, 200);
    assert_eq!(second.status(), 200);
}

/// A browser that has lost its key can sign in again: the refused session is no obstacle.
pub fn refused_session_can_be_replaced(server: &dyn Server) {
    let device = Device::bound(server);
    server.let_pass(GRACE * 2);
    let mut client = device.unproven();
    assert_refused(&client.get(server.protected(), &[]), "without the bound cookie");
    let answer = server.sign_in(&client);
    client.keep(&answer);
    assert_eq!(client.get(server.protected(), &[]).status, 200, "after the next sign-in");
    assert_eq!(device.refresh_with(None).status, 404, "the replaced session");
}

/// No request without the key ends the owner's session, or hinders it.
pub fn thief_can_not_sign_the_owner_out(server: &dyn Server) {
    let mut device = Device::bound(server);
    server.let_pass(GRACE * 2);
    let thief = device.unproven();
    for _ in 0..20 {
        assert_eq!(refresh(server, &thief, &device.id, None).status, 403);
        assert_eq!(refresh(server, &thief, &device.id, Some("x.x.x")).status, 403);
        assert_refused(&thief.get(server.protected(), &[]), "the thief");
    }
    assert_eq!(device.refresh().status, 200, "the owner's refresh");
    assert_eq!(device.status(), 200, "the owner");
}

/// A store that can't answer is no reason to end anything: 503 lets the browser keep its key.
pub fn outage_ends_no_binding(server: &dyn Server) {
    let (mut device, mut offered) = (Device::bound(server), Device::signed_in(server));
    if !server.fail_store(true) {
        return;
    }
    assert_eq!(device.refresh_with(Some(&device.proof())).status, 503, "a refresh");
    assert_eq!(device.refresh_with(None).status, 503, "a refresh without a proof");
    assert_eq!(offered.register().status, 503, "a registration");
    assert_eq!(device.status(), 503, "a page");
    server.fail_store(false);
    assert_eq!(device.refresh().status, 200, "the proof is as good as before");
    assert_eq!(offered.register().status, 200, "the offer is as good as before");
    assert_eq!((device.status(), offered.status()), (200, 200));
}

/// The store has changed the session, and the server does not know it.
pub fn lost_answer_of_the_store_ends_no_binding(server: &dyn Server) {
    let mut device = Device::bound(server);
    if !server.lose_next_answer_of_store() {
        return;
    }
    let answer = device.refresh();
    assert!(matches!(answer.status, 200 | 503), "{}", answer.status);
    // As a browser does: a proof for the known challenge, then one for that of the 403.
    let answer = device.refresh();
    assert!(matches!(answer.status, 200 | 403), "{}", answer.status);
    if answer.status == 403 {
        assert_eq!(device.refresh().status, 200);
    }
    assert_eq!(device.status(), 200);
}
