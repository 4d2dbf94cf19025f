//! A thief that has copied all cookies of a browser.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::owner::Owner;
use crate::device::{assert_refused, refresh};
use crate::server::{GRACE, after_lifetime};
use crate::{Client, Device, DeviceKey, Server};

/// The owner goes on, and refreshes: that does not prolong the copy.
pub fn copy_is_worthless_while_the_owner_is_active(server: &dyn Server) {
    let mut owner = Owner::bound(server);
    assert_eq!(owner.status(), 200);
    let thief = Client::thief(server, &mut owner.browser);
    assert_eq!(thief.get(server.protected(), &[]).status, 200, "the copy, within the lifetime");
    let half = server.lifetime() / 2;
    server.let_pass(half);
    owner.assert_renews_lost_cookie();
    server.let_pass(after_lifetime(server) - half);
    assert_refused(&thief.get(server.protected(), &[]), "the copy, after the lifetime");
    assert_eq!(owner.status(), 200, "the owner");
    owner.device_session();
}

/// The server counts the lifetime. The owner's next request proves the key again.
pub fn copy_is_worthless_while_the_owner_is_idle(server: &dyn Server) {
    let mut owner = Owner::bound(server);
    assert_eq!(owner.status(), 200);
    let thief = Client::thief(server, &mut owner.browser);
    assert_eq!(thief.get(server.protected(), &[]).status, 200, "the copy, within the lifetime");
    owner.let_lifetime_pass();
    assert_refused(&thief.get(server.protected(), &[]), "the copy, after the lifetime");
    let id = owner.device_session();
    for excuse in ["server_error", "unreachable", "quota_exceeded"] {
        let excuse = format!("{excuse};session_identifier=\"{id}\"");
        let answer = thief.get(server.protected(), &[("secure-session-skipped", &excuse)]);
        assert_refused(&answer, &excuse);
    }
    let answer = refresh(server, &thief, &id, None);
    assert_eq!(answer.status, 403, "a refresh without the key");
    let (challenge, _) = crate::device::challenge(&answer).expect("a challenge");
    let forged = DeviceKey::generate().proof(&DeviceKey::refresh_header(), &challenge);
    assert_eq!(refresh(server, &thief, &id, Some(&forged)).status, 403, "with another key");
    assert_eq!(owner.request(), (200, "Deferred".to_owned()), "the owner comes back");
    assert_eq!(owner.device_session(), id);
}

/// The thief sends refreshes without a stop, while the owner's browser must refresh.
pub fn thief_at_the_refresh_hinders_nothing(server: &dyn Server) {
    let mut owner = Owner::bound(server);
    let thief = Client::thief(server, &mut owner.browser);
    let id = owner.device_session();
    server.let_pass(GRACE * 2);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for proof in [None, Some("x.x.x")] {
            let (thief, id, stop) = (&thief, &id, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(refresh(server, thief, id, proof).status, 403, "the thief");
                }
            });
        }
        let owner = StopAtEnd(&mut owner, &stop);
        for _ in 0..6 {
            owner.0.assert_renews_lost_cookie();
        }
    });
    assert_eq!(owner.device_session(), id, "the device session lives");
}

/// Stops the thief also if an assertion fails: the scope waits for its threads.
struct StopAtEnd<'a, 'b>(&'a mut Owner<'b>, &'a AtomicBool);

impl Drop for StopAtEnd<'_, '_> {
    fn drop(&mut self) {
        self.1.store(true, Ordering::Relaxed);
    }
}

/// The bound cookie of the thief's own session opens no other one.
pub fn thief_s_own_device_opens_nothing(server: &dyn Server) {
    let mut owner = Owner::bound(server);
    let stolen = Client::thief(server, &mut owner.browser).without(server.bound_cookie());
    server.let_pass(GRACE * 2);
    let own = Device::bound(server);
    let mixed = stolen.with(server.bound_cookie(), own.bound_value());
    assert_refused(&mixed.get(server.protected(), &[]), "the thief's bound cookie");
    owner.assert_renews_lost_cookie();
}
