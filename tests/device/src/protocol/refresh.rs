//! The refresh: one proof for one challenge.

use std::sync::Barrier;
use std::thread;

use serde_json::json;

use crate::device::{challenge, refresh};
use crate::key::unsigned;
use crate::{Client, Device, DeviceKey, Server};

/// A refresh sets another value of the cookie, and gives the next challenge. It has no body: JSON
/// would replace the browser's instructions.
pub fn refresh_sets_a_cookie_and_the_next_challenge(server: &dyn Server) {
    let mut device = Device::bound(server);
    for _ in 0..3 {
        let (value, old) = (device.bound_value().to_owned(), device.challenge.clone());
        let answer = device.refresh();
        assert_eq!((answer.status, &*answer.text), (200, ""));
        assert_ne!(device.bound_value(), value, "another value");
        let (challenge, id) = challenge(&answer).expect("the next challenge");
        assert!(challenge != old && id == device.id, "{challenge:?} {id:?}");
    }
}

/// Without the key, the challenge can't be changed: if it could, a thief would let the owner's
/// proofs fail.
pub fn challenge_stays_until_it_is_used(server: &dyn Server) {
    let mut device = Device::bound(server);
    let wrong = DeviceKey::generate().proof(&DeviceKey::refresh_header(), &device.challenge);
    for proof in [None, None, Some(&*wrong), Some("x"), None] {
        let answer = device.refresh_with(proof);
        assert_eq!(answer.status, 403);
        let expected = (device.challenge.clone(), device.id.clone());
        assert_eq!(challenge(&answer), Some(expected), "the challenge has changed");
    }
    assert_eq!(device.refresh().status, 200);
}

/// Wrong proofs are refused with a challenge. None ends the device session.
pub fn refresh_needs_the_signature_of_the_session_s_key(server: &dyn Server) {
    let mut device = Device::bound(server);
    let other = DeviceKey::generate();
    let refresh_header = DeviceKey::refresh_header();
    let with = |field: &str, value| {
        let mut header = refresh_header.clone();
        header[field] = value;
        header
    };
    let challenge = device.challenge.clone();
    let signed = device.proof();
    let proofs = [
        unsigned(&with("alg", json!("none")), &challenge),
        unsigned(&refresh_header, &challenge),
        device.key.proof(&with("alg", json!("RS256")), &challenge),
        device.key.proof(&with("typ", json!("JWT")), &challenge),
        device.key.proof(&refresh_header, "x"),
        other.proof(&refresh_header, &challenge),
        other.proof(&with("jwk", other.public()), &challenge),
        format!("{signed}.x"),
        signed[..signed.len() - 4].to_owned(),
        "x".repeat(6_000),
    ];
    for proof in proofs {
        assert_eq!(device.refresh_with(Some(&proof)).status, 403, "{proof}");
    }
    assert_eq!(device.refresh().status, 200, "the device session lives");
}

/// 404 ends the browser's device session, which the server does not have.
pub fn refresh_of_an_unknown_session_is_not_found(server: &dyn Server) {
    let mut device = Device::bound(server);
    let proof = device.proof();
    let status = |client: &Client, id: &str| refresh(server, client, id, Some(&proof)).status;
    assert_eq!(status(&device.client, "unknown"), 404, "another id");
    assert_eq!(status(&Client::of(server), &device.id), 404, "no session cookie");
    let other = Device::bound(server);
    assert_eq!(status(&other.client, &device.id), 404, "the id of another session");
    let unbound = Device::signed_in(server);
    assert_eq!(status(&unbound.client, &device.id), 404, "a session without a device");
    assert_eq!(device.refresh().status, 200);
}

/// The bound cookie says nothing at a refresh: a browser sends it once it has expired at the server.
pub fn refresh_ignores_the_bound_cookie(server: &dyn Server) {
    let mut device = Device::bound(server);
    device.client = device.client.with(server.bound_cookie(), "forged");
    assert_eq!(device.refresh().status, 200);
    device.client = device.unproven();
    assert_eq!(device.refresh().status, 200);
    assert_eq!(device.status(), 200);
}

/// Of four requests with one proof, one succeeds. The others do not end the device session.
pub fn one_proof_is_good_once(server: &dyn Server) {
    let mut device = Device::bound(server);
    assert_eq!(device.refresh().status, 200);
    let proof = device.proof();
    let together = Barrier::new(4);
    let (client, id) = (&device.client, &device.id);
    let answers: Vec<_> = thread::scope(|scope| {
        let send = || {
            together.wait();
            refresh(server, client, id, Some(&proof))
        };
        let requests: Vec<_> = (0..4).map(|_| scope.spawn(send)).collect();
        requests.into_iter().map(|request| request.join().expect("an answer")).collect()
    });
    let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 403, 403, 403], "one proof, four times at once");
    answers.iter().filter(|answer| answer.status == 200).for_each(|answer| device.keep(answer));
    assert_eq!(device.status(), 200);
    assert_eq!(device.refresh().status, 200, "the device session lives");
}

/// A browser repeats its proof after a lost answer. It is no alarm: the current challenge is the
/// answer.
pub fn used_proof_is_answered_with_the_current_challenge(server: &dyn Server) {
    let mut device = Device::bound(server);
    assert_eq!(device.refresh().status, 200);
    let proof = device.proof();
    assert_eq!(device.refresh().status, 200);
    let current = device.challenge.clone();
    let answer = device.refresh_with(Some(&proof));
    assert_eq!(answer.status, 403, "a used proof");
    assert_eq!(challenge(&answer).map(|(challenge, _)| challenge), Some(current));
    assert_eq!(device.refresh().status, 200);
    assert_eq!(device.status(), 200);
}

/// Changes of the session's data at the same time are no reason to refuse a proof. They are all
/// kept, and so is the binding.
pub fn refresh_survives_changes_of_the_session(server: &dyn Server) {
    let mut device = Device::bound(server);
    let client = device.client.clone();
    thread::scope(|scope| {
        let changes: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| (0..5).map(|_| server.change(&client).status).collect::<Vec<_>>())
            })
            .collect();
        for _ in 0..5 {
            let answer = device.refresh();
            // 503 says: try again.
            assert!(matches!(answer.status, 200 | 503), "{}", answer.status);
        }
        for change in changes {
            let statuses = change.join().expect("answers");
            assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
        }
    });
    assert_eq!(device.refresh().status, 200);
    assert_eq!(device.status(), 200);
}

/// A new token of the session changes neither the key nor the challenge.
pub fn refresh_goes_on_after_a_rotation(server: &dyn Server) {
    let Some(rotate) = server.rotate() else { return };
    let mut device = Device::bound(server);
    let token = device.client.cookies[server.session_cookie()].clone();
    let answer = device.client.get(rotate, &[]);
    assert_eq!(answer.status, 200);
    device.keep(&answer);
    assert_ne!(device.client.cookies[server.session_cookie()], token, "a new token");
    assert_eq!(device.refresh().status, 200);
    assert_eq!(device.status(), 200);
}
