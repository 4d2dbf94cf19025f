//! A server crashes between any two steps of a move.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use kvolt_testkit::Call;
use support::{Jar, MINUTE, Server, World};

const ID: &str = "old-1";

/// The world with one signed-in client of the other library.
fn world() -> (World, Jar) {
    let world = World::new();
    world.old.sign_in(ID, "ada");
    (world, Jar::old(ID))
}

/// A server that hangs before or after its next change of a marker.
fn hanging(world: &World, call: Call, takes_effect: bool) -> Server {
    let server = world.server();
    server.faults.only(&[call]);
    match takes_effect {
        true => server.faults.hold_answers(),
        false => server.faults.hold_calls(),
    }
    server
}

fn is_held(server: &Server) -> bool {
    server.faults.waiting() > 0
}

/// The client is signed in, its old session ends, and its old cookie is spent.
fn completes(world: &World, mut jar: Jar) {
    let server = world.server();
    assert_eq!(jar.name(&server), "ada");
    assert_eq!(jar.name(&server), "ada");
    assert_eq!((world.old.len(), jar.0.len()), (0, 1));
    world.clock.advance(MINUTE);
    assert_eq!(Jar::old(ID).name(&server), "nobody");
    assert_eq!(world.markers().last().unwrap(), "spent");
    assert_eq!(jar.name(&server), "ada");
}

#[test]
fn crash_before_the_application_is_asked() {
    let (world, jar) = world();
    hanging(&world, Call::Insert, true).crash_in(&jar, is_held);
    assert_eq!((world.markers().as_slice(), world.asked()), (&[String::from("moving")][..], 0));
    world.clock.advance(MINUTE / 60);
    completes(&world, jar);
    assert_eq!((world.asked(), world.sessions.len()), (1, 1));
}

#[test]
fn crash_after_the_new_session_was_created() {
    let (world, jar) = world();
    hanging(&world, Call::Replace, false).crash_in(&jar, is_held);
    assert_eq!(world.markers(), ["moving", "pointer", "token"]);
    assert_eq!(world.sessions.len(), 1);
    // No client has the token of the first one.
    world.clock.advance(MINUTE / 60);
    completes(&world, jar);
    assert_eq!((world.asked(), world.sessions.len()), (2, 2));
}

#[test]
fn crash_before_the_answer() {
    let (world, jar) = world();
    hanging(&world, Call::Replace, true).crash_in(&jar, is_held);
    assert_eq!(world.markers(), ["moved", "pointer", "token"]);
    completes(&world, jar);
    assert_eq!((world.asked(), world.sessions.len()), (1, 1));
}

#[test]
fn crash_after_the_answer_leaves_no_usable_old_cookie() {
    let (world, mut jar) = world();
    let server = world.server();
    assert_eq!(jar.clone().name(&server), "ada");
    server.crash();
    // No process is left that would end the old session after the handover.
    world.clock.advance(5 * MINUTE);
    let server = world.server();
    assert_eq!(jar.name(&server), "nobody");
    assert_eq!((world.old.len(), world.asked(), world.sessions.len()), (0, 1, 1));
}

#[test]
fn crash_leaves_nothing_of_the_token_after_the_handover() {
    let (world, mut jar) = world();
    assert_eq!(jar.name(&world.server()), "ada");
    // The server that has created the session is gone. Another one sees the new cookie.
    assert_eq!(jar.name(&world.server()), "ada");
    assert_eq!(world.markers(), ["removed", "token"]);
    world.clock.advance(MINUTE);
    assert_eq!(world.markers(), ["removed"]);
}

#[test]
fn crash_before_the_old_session_is_removed() {
    for takes_effect in [false, true] {
        let (world, mut jar) = world();
        assert_eq!(jar.name(&world.server()), "ada");
        hanging(&world, Call::Replace, takes_effect).crash_in(&jar, is_held);
        assert_eq!(world.markers()[0], if takes_effect { "pointer" } else { "moved" });
        assert_eq!(world.old.len(), 1);
        if takes_effect {
            // Another server could still be removing it. One second later, none is.
            world.clock.advance(MINUTE / 60);
        }
        completes(&world, jar);
        assert_eq!((world.asked(), world.sessions.len()), (1, 1));
    }
}

#[test]
fn crash_after_the_old_session_was_removed_is_no_sign_out() {
    for has_old_cookie in [true, false] {
        let (world, mut jar) = world();
        assert_eq!(jar.name(&world.server()), "ada");
        world.old.hang(true);
        world.server().crash_in(&jar, |_| world.old.hanging() > 0);
        world.old.hang(false);
        assert_eq!(
            (world.old.len(), world.markers()),
            (0, ["pointer", "removing", "token"].map(String::from).to_vec())
        );
        world.clock.advance(MINUTE / 60);
        let mut jar = if has_old_cookie { jar } else { jar.new_cookie() };
        assert_eq!(jar.name(&world.server()), "ada");
        completes(&world, jar);
    }
}

#[test]
fn crash_in_a_sign_out_of_the_old_side_leaves_it_a_sign_out() {
    for takes_effect in [false, true] {
        for has_old_cookie in [true, false] {
            let (world, mut jar) = world();
            assert_eq!(jar.name(&world.server()), "ada");
            assert!(world.old.sign_out(ID));
            hanging(&world, Call::Replace, takes_effect).crash_in(&jar, is_held);
            assert_eq!(world.sessions.len(), 1);
            let jar = if has_old_cookie { jar } else { jar.new_cookie() };
            assert_eq!(jar.clone().name(&world.server()), "nobody");
            assert_eq!(world.sessions.len(), 0);
            assert_eq!(jar.clone().name(&world.server()), "nobody");
        }
    }
}

#[test]
fn lost_answers_of_the_store_sign_no_client_out() {
    for call in [Call::Get, Call::Insert, Call::Replace, Call::Remove] {
        let (world, jar) = world();
        let server = world.server();
        server.faults.only(&[call]);
        server.faults.lose_next_answers(1);
        let _ = server.send("GET", "/", &jar);
        server.faults.reset();
        world.clock.advance(MINUTE / 60);
        let mut jar = jar;
        assert_eq!(jar.name(&server), "ada", "{call:?}");
        server.faults.only(&[call]);
        server.faults.lose_next_answers(1);
        let _ = server.send("GET", "/", &jar);
        server.faults.reset();
        world.clock.advance(MINUTE / 60);
        completes(&world, jar);
    }
}
