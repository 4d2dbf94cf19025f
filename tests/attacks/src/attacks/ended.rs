//! An ended session stays ended, whatever is in flight.

use http::{Method, StatusCode};
use kvolt_session::{Access, Manager, OwnerLimit, RotateOutcome, Token};
use kvolt_testkit::Call;
use tokio::task::JoinHandle;

use super::{account, listed, sign_in};
use crate::deployment::{Deployment, Server};
use crate::user::{User, signed_in};

/// The ways to end a session.
#[derive(Debug, Clone, Copy)]
enum Ending {
    Logout,
    ByItsId,
    WithTheOthers,
    WithAll,
    BySignIn,
    ByTheLimit,
}

const ENDINGS: [Ending; 6] = [
    Ending::Logout,
    Ending::ByItsId,
    Ending::WithTheOthers,
    Ending::WithAll,
    Ending::BySignIn,
    Ending::ByTheLimit,
];

impl Ending {
    /// Ends the session of this token. `companion` is another session of the owner.
    async fn end(self, server: &Server, owner: &str, token: &Token, companion: &Token) {
        let manager = server.manager();
        let owner = account(owner);
        let is_ended = match self {
            Self::Logout => manager.logout(token).await,
            Self::ByItsId => manager.revoke_owned(&owner, token.id()).await,
            Self::WithTheOthers => manager.revoke_others(companion).await.map(|ended| ended == 1),
            Self::WithAll => manager.revoke_owner(&owner).await.map(|ended| ended == 2),
            Self::BySignIn => manager.login(Some(token), signed_in("someone")).await.map(|_| true),
            Self::ByTheLimit => {
                let limit = OwnerLimit::remove_oldest(1);
                let strict = server.builder().owner_limit(limit).build().expect("valid settings");
                strict.create(signed_in(owner.as_str())).await.map(|_| true)
            }
        };
        assert!(is_ended.expect("the store answers"), "{self:?} ended nothing");
    }
}

/// The state of a slow request.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// Has read the session to change it, and not started to write.
    Loaded,
    /// Is about to write the change.
    Saving,
    /// Is about to rotate the token.
    Rotating,
    /// Has used the session, and the use is not recorded yet.
    Touching,
}

const ACTS: [Act; 4] = [Act::Loaded, Act::Saving, Act::Rotating, Act::Touching];

impl Act {
    /// Starts a request and holds it in this state.
    async fn begin(self, server: &Server, token: &Token) -> JoinHandle<()> {
        match self {
            Self::Loaded | Self::Touching => {
                server.faults.only(&[Call::Get, Call::GetReady]);
                server.faults.hold_answers();
            }
            Self::Saving => {
                server.faults.only(&[Call::Replace]);
                server.faults.hold_calls();
            }
            Self::Rotating => {
                server.faults.only(&[Call::Replace]);
                server.faults.hold_calls();
            }
        }
        let (manager, token) = (server.manager(), token.clone());
        let in_flight = tokio::spawn(async move { self.go_on(&manager, &token).await });
        server.faults.until_waiting(1).await;
        in_flight
    }

    async fn go_on(self, manager: &Manager<User>, token: &Token) {
        match self {
            Self::Loaded | Self::Saving => {
                let saved = manager.update(token, |user| user.count += 1).await;
                assert!(saved.expect("the store answers").is_none(), "{self:?}: it was saved");
            }
            Self::Rotating => {
                let rotated = manager.rotate(token).await.expect("the store answers");
                assert!(matches!(rotated, RotateOutcome::Absent), "{self:?}: {rotated:?}");
            }
            Self::Touching => {
                // The session existed when it was read.
                let found = manager.get_with(token, Access::SLIDE.strict()).await;
                assert!(found.expect("the store answers").is_some());
            }
        }
    }
}

/// rack-session CVE-2025-46336; issues of dalli, connect-redis and nextjs-auth0: a request that has
/// loaded the session saves it after the logout, and restores it.
///
/// Each way to end a session, against each state of a request.
pub async fn deleted_session_is_not_restored_by_a_save_in_flight(deployment: &Deployment) {
    for (number, ending) in ENDINGS.into_iter().enumerate() {
        for act in ACTS {
            // A near cache with a copy sends no read before the write.
            if deployment.bound().is_some() && matches!(act, Act::Loaded) {
                continue;
            }
            let owner = format!("ada-{number}-{act:?}");
            let manager = deployment.one.manager();
            let token = sign_in(&manager, &owner).await;
            let companion = sign_in(&manager, &owner).await;
            let oldest = token.id();
            let in_flight = act.begin(&deployment.one, &token).await;
            ending.end(&deployment.other, &owner, &token, &companion).await;
            deployment.one.faults.release();
            in_flight.await.unwrap_or_else(|error| panic!("{ending:?}, {act:?}: {error}"));
            deployment.is_refused(&token).await;
            deployment.one.faults.only(&[]);
            for server in deployment.servers() {
                let mut left = listed(&server.manager(), &owner).await.into_iter();
                assert!(left.all(|session| session.id() != oldest && session.count == 0));
            }
        }
    }
}

/// actix-session 0.11: a save of a missing session creates a new one, and sends its id to the
/// client that has just signed out.
pub async fn request_in_flight_across_a_logout_gets_no_cookie(deployment: &Deployment) {
    for (method, path, held, expected) in [
        (Method::POST, "/count", Call::Replace, StatusCode::UNAUTHORIZED),
        (Method::POST, "/note/10", Call::Replace, StatusCode::UNAUTHORIZED),
        (Method::POST, "/rotate", Call::Replace, StatusCode::UNAUTHORIZED),
        (Method::POST, "/password", Call::Replace, StatusCode::UNAUTHORIZED),
        (Method::POST, "/logout", Call::Remove, StatusCode::OK),
        // Admitted before the logout, so it shows the session's data.
        (Method::GET, "/strict/profile", Call::Get, StatusCode::OK),
    ] {
        let mut client = deployment.one.client();
        client.post("/login/ada").await;
        let token = client.token().expect("a token in the cookie");
        if held == Call::Get {
            deployment.one.faults.only(&[Call::Get, Call::GetReady]);
            deployment.one.faults.hold_answers();
        } else {
            deployment.one.faults.only(&[held]);
            deployment.one.faults.hold_calls();
        }
        let mut slow = client.clone();
        let in_flight = tokio::spawn(async move {
            let answer = slow.send(method, path, &[]).await;
            (answer.status, answer.set_cookies().join("\n"), slow)
        });
        deployment.one.faults.until_waiting(1).await;
        assert_eq!(client.at(&deployment.other).post("/logout").await.status, StatusCode::OK);
        deployment.one.faults.release();
        deployment.one.faults.only(&[]);
        let (status, cookies, mut slow) = in_flight.await.expect("the task ends");
        assert_eq!(status, expected, "{path}");
        let gives_one = cookies.lines().any(|cookie| !cookie.contains("Max-Age=0"));
        assert!(!gives_one, "{path}: {cookies}");
        deployment.is_refused(&token).await;
        assert_eq!(client.get("/profile").await.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(slow.get("/profile").await.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(deployment.count(), 0, "{path}");
    }
}

/// The class of both: the session expires while a request saves it.
pub async fn expired_session_is_not_restored_by_a_save_in_flight(deployment: &Deployment) {
    let moment = deployment.short_timeout();
    let manager = deployment
        .one
        .builder()
        .idle_timeout(moment)
        .lifetime(moment)
        .build()
        .expect("valid settings");
    let saved = manager.create(signed_in("ada")).await.expect("the sign-in succeeds");
    let moved = manager.create(signed_in("bob")).await.expect("the sign-in succeeds");
    deployment.one.faults.only(&[Call::Replace]);
    deployment.one.faults.hold_calls();
    let (saving, saving_manager) = (saved.clone(), manager.clone());
    let saving = tokio::spawn(async move {
        saving_manager.update(&saving, |user| user.count += 1).await.expect("the store answers")
    });
    let (moving, moving_manager) = (moved.clone(), manager.clone());
    let moving =
        tokio::spawn(
            async move { moving_manager.rotate(&moving).await.expect("the store answers") },
        );
    deployment.one.faults.until_waiting(2).await;
    deployment.advance(moment + moment / 5).await;
    deployment.one.faults.release();
    deployment.one.faults.only(&[]);
    assert!(saving.await.expect("the task ends").is_none(), "the session was saved after its end");
    let moved_to = moving.await.expect("the task ends");
    assert!(matches!(moved_to, RotateOutcome::Absent), "after its end: {moved_to:?}");
    for token in [&saved, &moved] {
        deployment.is_refused(token).await;
    }
    for owner in ["ada", "bob"] {
        assert!(listed(&manager, owner).await.is_empty(), "{owner}");
    }
}

/// The class of the above: a use is recorded late, after the end, and restores the session. On each
/// store that records uses separately.
pub async fn slide_in_flight_restores_nothing(deployment: &Deployment) {
    if deployment.is_in_memory() {
        return;
    }
    let idle = deployment.short_timeout();
    let lasting = |server: &Server| {
        server.builder().idle_timeout(idle).lifetime(idle * 12).build().expect("valid settings")
    };
    let (one, other) = (lasting(&deployment.one), lasting(&deployment.other));
    for ending in ENDINGS {
        let owner = format!("{ending:?}");
        let token = sign_in(&one, &owner).await;
        let companion = sign_in(&deployment.other.manager(), &owner).await;
        deployment.advance(idle / 5).await;
        deployment.one.faults.only(&[Call::Touch]);
        deployment.one.faults.hold_calls();
        let (slow, its) = (one.clone(), token.clone());
        let using = tokio::spawn(async move { slow.get(&its).await.expect("the store answers") });
        deployment.one.faults.until_waiting(1).await;
        ending.end(&deployment.other, &owner, &token, &companion).await;
        deployment.one.faults.release();
        assert!(using.await.expect("the task ends").is_none(), "{owner}: it had ended");
        deployment.one.faults.only(&[]);
        deployment.is_refused(&token).await;
        assert!(other.peek(&token).await.expect("the store answers").is_none());
    }
}
