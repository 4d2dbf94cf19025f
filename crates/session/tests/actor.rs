//! The cause of what happens, in events.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::time::Duration;

use kvolt_session::{Actor, Event, Manager, NewSession, Token, TokenReuse};
use kvolt_testkit::Call;
use support::{GRACE, World, ada, bob, owner, rotated, world, world_with};

fn root() -> NewSession<String> {
    NewSession::new(String::from("root")).owner("root")
}

fn support_desk() -> Actor {
    Actor::new("admin:7").because("phone stolen")
}

/// The name of the actor of each event.
fn actors(events: &[Event]) -> Vec<(&'static str, Option<&str>)> {
    events.iter().map(|event| (event.kind.name(), event.actor.as_ref().map(Actor::name))).collect()
}

/// The administrator's own token, and that of a session in which it acts for ada.
async fn acting(world: &World) -> (Token, Token) {
    let own = world.manager.create(root()).await.unwrap();
    let token = world.manager.impersonate(&own, ada()).await.unwrap().unwrap();
    (own, token)
}

#[tokio::test]
async fn each_call_through_a_marked_manager_names_its_actor() {
    let world = world();
    let manager: Manager<String> = world.manager.by(support_desk());
    let token = manager.create(ada()).await.unwrap();
    let other = manager.create(ada()).await.unwrap();
    assert!(manager.revoke(other.id()).await.unwrap());
    let other = manager.create(ada()).await.unwrap();
    assert!(manager.revoke_owned(&owner("ada"), other.id()).await.unwrap());
    let _other = manager.create(ada()).await.unwrap();
    assert_eq!(manager.revoke_others(&token).await.unwrap(), 1);
    let _other = manager.create(ada()).await.unwrap();
    let (token, ended) = manager.change_credentials(&token, None).await.unwrap();
    assert_eq!(ended, 1);
    let token = manager.login(Some(&rotated(token)), ada()).await.unwrap();
    assert!(manager.logout(&token).await.unwrap());
    let own = manager.create(root()).await.unwrap();
    let token = manager.impersonate(&own, ada()).await.unwrap().unwrap();
    let _own = rotated(manager.end_impersonation(&token).await.unwrap());
    assert_eq!(manager.revoke_owner(&owner("root")).await.unwrap(), 1);
    manager.revoke_everyone().await.unwrap();

    let events = world.events.take();
    assert_eq!(events.len(), 19, "{events:#?}");
    for event in &events {
        assert_eq!(event.actor, Some(support_desk()), "{event:?}");
    }
}

#[tokio::test]
async fn marked_manager_is_the_same_manager() {
    let world = world();
    let marked = world.manager.by("job");
    let token = marked.create(ada()).await.unwrap();
    assert!(world.lives(&token).await);
    // Changes through both take turns: none is lost, and no attempt is repeated.
    let (calls, both) = (world.faults.count(Call::Replace), [world.manager.clone(), marked]);
    let changes = (0..20).map(|number| {
        let (manager, token) = (both[number % 2].clone(), token.clone());
        tokio::spawn(async move {
            manager.update(&token, |name| name.push('!')).await.unwrap().unwrap();
        })
    });
    for change in changes.collect::<Vec<_>>() {
        change.await.unwrap();
    }
    assert_eq!(world.data(&token).await, format!("ada{}", "!".repeat(20)));
    assert_eq!(world.faults.count(Call::Replace) - calls, 20);
    // Without a mark there is no actor.
    assert!(world.manager.logout(&token).await.unwrap());
    assert_eq!(actors(&world.events.take()), [("created", Some("job")), ("ended", None)]);
}

#[tokio::test]
async fn call_by_a_session_names_its_owner() {
    let world = world();
    let manager = &world.manager;
    let token = manager.create(ada()).await.unwrap();
    let _other = manager.create(ada()).await.unwrap();
    world.events.take();
    manager.revoke_others(&token).await.unwrap();
    let (token, _) = manager.change_credentials(&token, None).await.unwrap();
    assert!(manager.logout(&rotated(token)).await.unwrap());
    assert_eq!(
        actors(&world.events.take()),
        [("ended", Some("ada")), ("rotated", Some("ada")), ("ended", None)]
    );

    // In an impersonation, the administrator ends the user's sessions.
    let _own = manager.create(ada()).await.unwrap();
    let (_own, token) = acting(&world).await;
    world.events.take();
    assert_eq!(manager.revoke_others(&token).await.unwrap(), 1);
    let events = world.events.take();
    assert_eq!(actors(&events), [("ended", Some("root"))]);
    assert_eq!(events[0].owner, Some(owner("ada")));

    // An actor that is named wins.
    world.manager.by(support_desk()).revoke_others(&token).await.unwrap();
    let own = manager.create(root()).await.unwrap();
    world.events.take();
    let _ = manager.by("desk").impersonate(&own, bob()).await.unwrap().unwrap();
    let _ = manager.impersonate(&own, bob()).await.unwrap().unwrap();
    assert_eq!(
        actors(&world.events.take()),
        [("impersonated", Some("desk")), ("impersonated", Some("root")), ("ended", Some("root"))]
    );
}

#[tokio::test]
async fn library_has_no_actor() {
    let world = world_with(|builder| {
        let builder = builder.rotation_grace(GRACE).rotate_every(GRACE);
        builder.token_reuse(TokenReuse::EndSession)
    });
    let manager = world.manager.by(support_desk());
    let token = manager.create(ada()).await.unwrap();
    let _newer = rotated(manager.rotate(&token).await.unwrap());
    world.events.take();
    world.time.advance(3 * GRACE);
    assert!(manager.get(&token).await.unwrap().is_none());
    let events = world.events.take();
    assert_eq!(actors(&events)[..2], [("reused", None), ("ended", None)]);

    let _expires = manager.create(ada()).await.unwrap();
    world.events.take();
    world.time.advance(Duration::from_secs(7_200));
    world.store.clean();
    assert_eq!(actors(&world.events.take()), [("expired", None)]);
}
