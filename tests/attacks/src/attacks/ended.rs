//! An ended session stays ended, whatever is in flight.

use http::{Method, StatusCode};
use kvolt_session::{Access, Manager, OwnerLimit, RotateOutcome, Token};
use kvolt_testkit::Call;
use tokio::task::JoinHandle;

use super::{account, listed, sign_in};
use crate::stage::{Server, Stage};
use crate::user::{User, signed_in};

/// How a session is ended.
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
                let strict = server.builder().owner_limit(limit).build().expect("it can work");
                strict.create(signed_in(owner.as_str())).await.map(|_| true)
            }
        };
        assert!(is_ended.expect("the store answers"), "{self:?} ended nothing");
    }
}

/// What a slower request is doing meanwhile.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// It has read the session in order to change it, and has not begun to write.
    Loaded,
    /// It is about to write its change.
    Saving,
    /// It is about to rotate the token.
    Rotating,
    /// It has used the session, and the touch is in flight.
    Touching,
}

const ACTS: [Act; 4] = [Act::Loaded, Act::Saving, Act::Rotating, Act::Touching];

impl Act {
    /// Runs a request up to this point, and holds it there.
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
                // The session was live when it was read.
                let found = manager.get_with(token, Access::SLIDE.strict()).await;
                assert!(found.expect("the store answers").is_some());
            }
        }
    }
}

/// rack-session CVE-2025-46336; issues of dalli, connect-redis and nextjs-auth0: a request
/// that has loaded the session saves it after the logout, which restores it.
///
/// Tests every way to end a session against every step of a request.
pub async fn a_deleted_session_is_not_restored_by_a_save_in_flight(stage: &Stage) {
    for (number, ending) in ENDINGS.into_iter().enumerate() {
        for act in ACTS {
            // A near cache with a copy reads nothing from the store before it saves.
            if stage.bound().is_some() && matches!(act, Act::Loaded) {
                continue;
            }
            let owner = format!("ada-{number}-{act:?}");
            let manager = stage.one.manager();
            let token = sign_in(&manager, &owner).await;
            let companion = sign_in(&manager, &owner).await;
            let oldest = token.id();
            let in_flight = act.begin(&stage.one, &token).await;
            ending.end(&stage.other, &owner, &token, &companion).await;
            stage.one.faults.release();
            in_flight.await.unwrap_or_else(|error| panic!("{ending:?}, {act:?}: {error}"));
            stage.is_refused(&token).await;
            stage.one.faults.only(&[]);
            for server in stage.servers() {
                let mut left = listed(&server.manager(), &owner).await.into_iter();
                assert!(left.all(|session| session.id() != oldest && session.count == 0));
            }
        }
    }
}

/// actix-session 0.11: a save that finds no session creates it under a new id, and sends it
/// to the client that has just logged out.
pub async fn a_request_in_flight_across_a_logout_changes_nothing_and_gets_no_cookie(stage: &Stage) {
    for (method, path, held, expected) in [
        (Method::POST, "/count", Call::Replace, StatusCode::UNAUTHORIZED),
        (Method::POST, "/note/10", Call::Replace, StatusCode::UNAUTHORIZED),
        (Method::POST, "/rotate", Call::Replace, StatusCode::UNAUTHORIZED),
        (Method::POST, "/password", Call::Replace, StatusCode::UNAUTHORIZED),
        (Method::POST, "/logout", Call::Remove, StatusCode::OK),
        // The request was admitted before the logout, and returns the data from then.
        (Method::GET, "/strict/profile", Call::Get, StatusCode::OK),
    ] {
        let mut client = stage.one.client();
        client.post("/login/ada").await;
        let token = client.token().expect("it is signed in");
        if held == Call::Get {
            stage.one.faults.only(&[Call::Get, Call::GetReady]);
            stage.one.faults.hold_answers();
        } else {
            stage.one.faults.only(&[held]);
            stage.one.faults.hold_calls();
        }
        let mut slow = client.clone();
        let in_flight = tokio::spawn(async move {
            let answer = slow.send(method, path, &[]).await;
            (answer.status, answer.set_cookies().join("\n"), slow)
        });
        stage.one.faults.until_waiting(1).await;
        assert_eq!(client.at(&stage.other).post("/logout").await.status, StatusCode::OK);
        stage.one.faults.release();
        stage.one.faults.only(&[]);
        let (status, cookies, mut slow) = in_flight.await.expect("it is answered");
        assert_eq!(status, expected, "{path}");
        let gives_one = cookies.lines().any(|cookie| !cookie.contains("Max-Age=0"));
        assert!(!gives_one, "{path}: {cookies}");
        stage.is_refused(&token).await;
        assert_eq!(client.get("/profile").await.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(slow.get("/profile").await.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(stage.count(), 0, "{path}");
    }
}

/// Related to both: the session expires while a request is saving it.
pub async fn an_expired_session_is_not_restored_by_a_save_in_flight(stage: &Stage) {
    let moment = stage.moment();
    let manager =
        stage.one.builder().idle_timeout(moment).lifetime(moment).build().expect("it can work");
    let saved = manager.create(signed_in("ada")).await.expect("a sign-in works");
    let moved = manager.create(signed_in("bob")).await.expect("a sign-in works");
    stage.one.faults.only(&[Call::Replace]);
    stage.one.faults.hold_calls();
    let (saving, saving_manager) = (saved.clone(), manager.clone());
    let saving = tokio::spawn(async move {
        saving_manager.update(&saving, |user| user.count += 1).await.expect("the store answers")
    });
    let (moving, moving_manager) = (moved.clone(), manager.clone());
    let moving =
        tokio::spawn(
            async move { moving_manager.rotate(&moving).await.expect("the store answers") },
        );
    stage.one.faults.until_waiting(2).await;
    stage.pass(moment + moment / 5).await;
    stage.one.faults.release();
    stage.one.faults.only(&[]);
    assert!(saving.await.expect("it is answered").is_none(), "it was saved after its end");
    let moved_to = moving.await.expect("it is answered");
    assert!(matches!(moved_to, RotateOutcome::Absent), "after its end: {moved_to:?}");
    for token in [&saved, &moved] {
        stage.is_refused(token).await;
    }
    for owner in ["ada", "bob"] {
        assert!(listed(&manager, owner).await.is_empty(), "{owner}");
    }
}

/// Related: a touch is written after the session has ended, and restores it. Applies to
/// each store that writes touches separately.
pub async fn slide_in_flight_restores_nothing(stage: &Stage) {
    if stage.is_in_memory() {
        return;
    }
    let idle = stage.moment();
    let lasting = |server: &Server| {
        server.builder().idle_timeout(idle).lifetime(idle * 12).build().expect("it can work")
    };
    let (one, other) = (lasting(&stage.one), lasting(&stage.other));
    for ending in ENDINGS {
        let owner = format!("{ending:?}");
        let token = sign_in(&one, &owner).await;
        let companion = sign_in(&stage.other.manager(), &owner).await;
        stage.pass(idle / 5).await;
        stage.one.faults.only(&[Call::Touch]);
        stage.one.faults.hold_calls();
        let (slow, its) = (one.clone(), token.clone());
        let using = tokio::spawn(async move { slow.get(&its).await.expect("the store answers") });
        stage.one.faults.until_waiting(1).await;
        ending.end(&stage.other, &owner, &token, &companion).await;
        stage.one.faults.release();
        assert!(using.await.expect("it is answered").is_none(), "{owner}: it had ended");
        stage.one.faults.only(&[]);
        stage.is_refused(&token).await;
        assert!(other.peek(&token).await.expect("the store answers").is_none());
    }
}
