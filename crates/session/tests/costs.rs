//! The cost of each call to a remote store, in commands.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use kvolt_session::{Access, Flash, Level, OwnerLimit};
use kvolt_testkit::Call;
use support::{Forgery, GRACE, World, ada, bob, forged, rotated, world_with};

fn remote() -> World {
    let world = world_with(|builder| {
        builder.rotation_grace(GRACE).rotate_every(GRACE).owner_limit(OwnerLimit::remove_oldest(3))
    });
    world.faults.answers_at_once(false);
    world
}

impl Costs for World {
    fn commands(&self) -> usize {
        // Asking whether an answer is ready is no command.
        self.faults.count_all() - self.faults.count(Call::GetReady)
    }
}

trait Costs {
    fn commands(&self) -> usize;

    async fn cost<T>(&self, call: impl Future<Output = kvolt_session::Result<T>>) -> (T, usize) {
        let before = self.commands();
        let answer = call.await.unwrap();
        (answer, self.commands() - before)
    }
}

#[tokio::test]
async fn each_call_costs_the_fewest_commands() {
    let world = remote();
    let manager = &world.manager;
    let (token, cost) = world.cost(manager.create(ada())).await;
    assert_eq!(cost, 1, "a first sign-in, at a limit");
    assert_eq!(world.cost(manager.peek(&token)).await.1, 1);
    assert_eq!(world.cost(manager.get(&token)).await.1, 1, "where no slide is due");
    let session = manager.peek(&token).await.unwrap().unwrap();

    // A session that was just read is not read again.
    let change = manager.update((&token, session.clone()), |name| name.push('!'));
    let (session, cost) = world.cost(change).await;
    assert_eq!(cost, 1);
    assert_eq!(world.cost(manager.update(&token, |name| name.push('!'))).await.1, 2);
    assert_eq!(world.cost(manager.flash(&token, Flash::new("info", "x"))).await.1, 2);
    assert_eq!(world.cost(manager.take_flashes(&token)).await.1, 2);
    assert_eq!(world.cost(manager.take_flashes(&token)).await.1, 1, "where none wait");
    let session = manager.peek(&token).await.unwrap().or(session).unwrap();
    world.time.advance(GRACE);
    assert!(manager.is_rotation_due(&session));
    let (rotation, cost) = world.cost(manager.rotate((&token, session))).await;
    assert_eq!(cost, 1);
    let token = rotated(rotation);
    let (proved, cost) = world.cost(manager.reauthenticate(&token, Level::Two)).await;
    assert_eq!(cost, 2);
    let token = rotated(proved);
    let (changed, cost) = world.cost(manager.change_credentials(&token, None)).await;
    assert_eq!(cost, 3, "a read, the others' end and a swap");
    let token = rotated(changed.0);
    assert_eq!(world.cost(manager.revoke_others(&token)).await.1, 2);

    let (token, cost) = world.cost(manager.login(Some(&token), bob())).await;
    assert_eq!(cost, 2, "a login over another session");
    let session = manager.peek(&token).await.unwrap().unwrap();
    let (ended, cost) = world.cost(manager.logout((&token, session))).await;
    assert!(ended && cost == 1);
    let token = manager.create(ada()).await.unwrap();
    let (ended, cost) = world.cost(manager.logout(&token)).await;
    assert!(ended && cost == 2);
}

/// For a client that knows a session's id, a request costs what one with any unknown token does.
#[tokio::test]
async fn wrong_secret_costs_one_read() {
    let world = remote();
    let manager = &world.manager;
    let (token, other) =
        (manager.create(ada()).await.unwrap(), manager.create(bob()).await.unwrap());
    for forgery in Forgery::ALL {
        let junk = forged(forgery, &token, &other);
        assert_eq!(world.cost(manager.get(&junk)).await.1, 1);
        assert_eq!(world.cost(manager.get_with(&junk, Access::SLIDE.strict())).await.1, 1);
        assert_eq!(world.cost(manager.update(&junk, |_| ())).await.1, 1);
        assert_eq!(world.cost(manager.rotate(&junk)).await.1, 1);
        assert_eq!(world.cost(manager.change_credentials(&junk, None)).await.1, 1);
        assert_eq!(world.cost(manager.logout(&junk)).await.1, 1);
        assert_eq!(world.cost(manager.revoke_others(&junk)).await.1, 1);
    }
}
