//! Signing out, and in again, where the client has more than one token, a dead one, or one whose
//! session can't be read.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::time::Duration;

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use http::{Method, StatusCode};
use kvolt_cache::{Encoded, Freshness, MemoryStore, Store, Target};
use kvolt_middleware::{Result, Session, SessionHandle, Sessions};
use kvolt_session::{
    EndReason, EventKind, Manager, NewSession, Owner, RecordJson, RefusalReason, SessionId, Token,
};
use kvolt_testkit::Call;
use support::{Client, User, World, refusals, router, user};

const NAME: &str = "__Host-session_id";

fn cookie(token: &Token) -> String {
    format!("{NAME}={}", token.expose())
}

/// bbangert/beaker#24, supertokens/supertokens-node#826, sqlpage/SQLPage#1313.
#[tokio::test]
async fn logout_ends_every_session_of_an_ambiguous_request() {
    for at_once in [true, false] {
        let world = World::new();
        world.faults.answers_at_once(at_once);
        let app = router(world.sessions_by("cookie:__Host-session_id,header:X-ID,query:token"));
        let long = "a=;".repeat(30_000);
        for case in 0..5 {
            let (one, two) = (user("ada"), user("ada"));
            let one = world.manager.create(one).await.unwrap();
            let two = world.manager.create(two).await.unwrap();
            let stale = Token::parse("A".repeat(Token::LEN)).unwrap();
            assert_eq!(world.events.take().len(), 2);
            let both = format!("{}; {}", cookie(&one), cookie(&two));
            let (headers, path) = match case {
                0 => (vec![("cookie", both.clone())], String::from("/logout")),
                1 => {
                    let cookies = [cookie(&stale), both.clone(), format!("{NAME}=")].join("; ");
                    (vec![("cookie", cookies)], String::from("/logout"))
                }
                2 => {
                    let cookies = format!("{long}; {}", cookie(&one));
                    let other = ("cookie", cookie(&two));
                    (vec![("cookie", cookies), other], String::from("/logout"))
                }
                3 => {
                    let both = [&one, &two].map(|token| ("x-id", token.expose().to_owned()));
                    (both.into(), String::from("/logout"))
                }
                _ => {
                    let path = format!("/logout?token={}&token={}", one.expose(), two.expose());
                    (Vec::new(), path)
                }
            };
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
            let mut client = Client::new(app.clone());
            let profile = path.replace("/logout", "/profile");
            let answer = client.send(Method::GET, &profile, &headers).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "case {case}");
            assert_eq!(refusals(&world.events), [RefusalReason::Ambiguous]);
            let answer = client.send(Method::POST, &path, &headers).await;
            assert_eq!((answer.status, &*answer.text), (StatusCode::OK, "out"), "case {case}");
            let cookies = answer.set_cookies();
            let expected = usize::from(case < 3);
            assert_eq!(cookies.len(), expected, "case {case}");
            assert!(cookies.iter().all(|cookie| cookie.contains("Max-Age=0")));
            assert_eq!(world.store.len(), 0, "case {case}");
            let events = world.events.take();
            assert_eq!(events.len(), 3);
            assert_eq!(events[0].kind, EventKind::Refused { reason: RefusalReason::Ambiguous });
            let reason = EndReason::Logout;
            assert!(events[1..].iter().all(|event| event.kind == EventKind::Ended { reason }));
            assert!(world.events.take().is_empty());
        }
    }
}

/// code-dot-org/code-dot-org#74198, pallets/flask#5464.
#[tokio::test]
async fn login_ends_every_session_of_an_ambiguous_request() {
    for path in ["/login", "/nested/login"] {
        let world = World::new();
        let mut client = world.client();
        let one = world.manager.create(user("ada")).await.unwrap();
        let two = world.manager.create(user("ada")).await.unwrap();
        client.cookie = Some(format!("{}; {}", cookie(&one), cookie(&two)));
        let answer = client.post(path).await;
        assert_eq!((answer.status, answer.set_cookies().len()), (StatusCode::OK, 1));
        assert_eq!(world.store.len(), 1, "only the new one");
        assert_eq!(client.get("/profile").await.text, "ada");
    }
}

#[tokio::test]
async fn failed_logout_of_an_ambiguous_request_can_be_repeated() {
    let world = World::new();
    let mut client = world.client();
    let one = world.manager.create(user("ada")).await.unwrap();
    let two = world.manager.create(user("ada")).await.unwrap();
    client.cookie = Some(format!("{}; {}", cookie(&one), cookie(&two)));
    world.faults.only(&[Call::Remove]);
    world.faults.fail_next(1);
    for (status, cookies) in [(StatusCode::SERVICE_UNAVAILABLE, 0), (StatusCode::OK, 1)] {
        let answer = client.post("/logout").await;
        assert_eq!((answer.status, answer.set_cookies().len()), (status, cookies));
    }
    assert_eq!(world.store.len(), 0);
}

/// Each token costs the store a command, so a request can't have as many as it likes.
#[tokio::test]
async fn request_with_too_many_tokens_signs_nothing_in_or_out() {
    let world = World::new();
    let mut client = world.client();
    let mut tokens = Vec::new();
    for _ in 0..9 {
        tokens.push(world.manager.create(user("ada")).await.unwrap());
    }
    let cookies = |tokens: &[Token]| tokens.iter().map(cookie).collect::<Vec<_>>().join("; ");
    client.cookie = Some(cookies(&tokens));
    for path in ["/login", "/logout"] {
        let answer = client.post(path).await;
        assert_eq!((answer.status, answer.set_cookies().len()), (StatusCode::BAD_REQUEST, 0));
        assert_eq!(world.store.len(), 9);
    }
    client.cookie = Some(cookies(&tokens[..8]));
    assert_eq!(client.post("/logout").await.status, StatusCode::OK);
    assert_eq!(world.store.len(), 1);
}

/// Values that are no tokens name no session, and say nothing of an ambiguity.
#[tokio::test]
async fn malformed_values_are_not_ambiguous() {
    let world = World::new();
    let mut client = world.client();
    client.cookie = Some(format!("{NAME}=x; {NAME}=y"));
    assert_eq!(client.get("/profile").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(client.post("/logout").await.set_cookies().len(), 0);
    assert!(world.events.take().is_empty());
}

/// The routes of the README, on a store that keeps bytes.
struct EncodedWorld {
    bytes: MemoryStore<Vec<u8>>,
    /// Whose data is of another form than the application's.
    others: Manager<u32>,
    client: Client,
}

impl EncodedWorld {
    fn new() -> Self {
        let bytes = MemoryStore::new();
        let others = Manager::new(Encoded::new(bytes.clone(), RecordJson::new()));
        let store = Encoded::new(bytes.clone(), RecordJson::<Text>::new());
        let sessions = Sessions::new(Manager::new(store));
        let app = Router::new()
            .route("/profile", get(|text: Session<Text>| async move { text.0.clone() }))
            .route_layer(sessions.layer())
            .merge(
                Router::new()
                    .route("/login", post(login))
                    .route("/logout", post(logout))
                    .route("/visit", post(visit))
                    .route_layer(sessions.layer().optional()),
            );
        Self { bytes, others, client: Client::new(app) }
    }

    async fn sign_in_elsewhere(&mut self) -> Token {
        let token = self.others.create(NewSession::new(7).owner("ada")).await.unwrap();
        self.client.cookie = Some(cookie(&token));
        token
    }

    /// Overwrites what the store has of a session, its envelope included.
    async fn damage(&self, id: SessionId) {
        let key = id.key(self.others.namespace());
        let entry = self.bytes.get(&key, Freshness::Strict).await.unwrap().unwrap();
        let at = Target::new(&key).owner(entry.owner.as_ref());
        let _ = self.bytes.replace(at, entry.version, b"junk".to_vec(), None).await.unwrap();
    }
}

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Text(String);

async fn login(handle: SessionHandle<Text>) -> Result<impl IntoResponse> {
    Ok((handle.login(NewSession::new(Text("ada".into())).owner("ada")).await?, "in"))
}

async fn logout(handle: SessionHandle<Text>) -> Result<impl IntoResponse> {
    Ok((handle.logout().await?, "out"))
}

async fn visit(handle: SessionHandle<Text>) -> Result<impl IntoResponse> {
    Ok((handle.create_anonymous(Text("visitor".into())).await?, "made"))
}

/// ratpack/ratpack#945, ProgressiveCoders/Spoke#189.
#[tokio::test]
async fn unreadable_session_is_logged_out_and_replaced() {
    let mut encoded = EncodedWorld::new();
    let token = encoded.sign_in_elsewhere().await;
    assert_eq!(encoded.client.get("/profile").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    let answer = encoded.client.post("/visit").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "the client has a session");
    assert!(encoded.others.peek(&token).await.unwrap().is_some());
    let answer = encoded.client.post("/logout").await;
    assert_eq!((answer.status, encoded.client.cookie.clone()), (StatusCode::OK, None));
    assert_eq!(encoded.bytes.len(), 0);

    let _ = encoded.sign_in_elsewhere().await;
    assert_eq!(encoded.client.post("/login").await.status, StatusCode::OK);
    assert_eq!(encoded.client.get("/profile").await.text, "ada");
    assert_eq!(encoded.bytes.len(), 1);
}

/// No token can be verified then, so nothing of the client's ends it. But the client gets out.
#[tokio::test]
async fn damaged_session_is_cleared_at_its_client() {
    let mut encoded = EncodedWorld::new();
    let token = encoded.sign_in_elsewhere().await;
    encoded.damage(token.id()).await;
    let answer = encoded.client.post("/logout").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(answer.set_cookies()[0].contains("Max-Age=0"));
    assert_eq!((encoded.client.cookie.clone(), encoded.bytes.len()), (None, 1));

    encoded.client.cookie = Some(cookie(&token));
    assert_eq!(encoded.client.post("/login").await.status, StatusCode::OK);
    assert_eq!(encoded.client.get("/profile").await.text, "ada");
    assert!(encoded.others.revoke_owned(&Owner::new("ada").unwrap(), token.id()).await.unwrap());
}

/// An administrator who ends another's sessions keeps the own one, and its cookie.
#[tokio::test]
async fn revoking_another_owner_keeps_the_cookie() {
    async fn end_other(session: Session<User>) -> Result<String> {
        let mallory = Owner::new("mallory").unwrap();
        Ok(session.handle().manager().revoke_owner(&mallory).await?.to_string())
    }
    async fn revoke_owner(session: Session<User>) -> Result<impl IntoResponse> {
        Ok((session.revoke_all().await?, "ended"))
    }
    let world = World::new();
    let app = Router::new()
        .route("/end-other", post(end_other))
        .route("/end-all", post(revoke_owner))
        .route_layer(world.sessions().layer())
        .merge(router(world.sessions()));
    let other = world.manager.create(user("mallory")).await.unwrap();
    let mut client = Client::new(app);
    client.post("/login").await;
    client.other().post("/login").await;
    let answer = client.post("/end-other").await;
    assert_eq!((&*answer.text, answer.set_cookies().len()), ("1", 0));
    assert!(world.manager.get(&other).await.unwrap().is_none());
    assert_eq!(client.get("/profile").await.text, "ada");
    let answer = client.post("/end-all").await;
    assert_eq!((answer.set_cookies().len(), client.cookie.clone()), (1, None));
    assert_eq!(world.store.len(), 0);
}

/// If a stream peeked by its old token after a rotation, the token would count as stolen.
#[tokio::test]
async fn peek_of_an_open_stream_is_no_theft() {
    let kept = std::sync::Arc::new(std::sync::Mutex::new(None));
    let keep = kept.clone();
    let world = World::with(|builder| {
        let builder = builder.rotation_grace(Duration::from_secs(5));
        builder.token_reuse(kvolt_session::TokenReuse::EndSession)
    });
    let layer = world.sessions().layer();
    let open = async move |session: Session<User>| *keep.lock().unwrap() = Some(session);
    let app = Router::new().route("/open", get(open)).route_layer(layer);
    let mut client = Client::new(app.merge(router(world.sessions())));
    client.post("/login").await;
    client.get("/open").await;
    client.post("/rotate").await;
    world.clock.advance(Duration::from_secs(60));
    let session = kept.lock().unwrap().take().unwrap();
    assert_eq!(session.peek().await.unwrap().unwrap().name, "ada");
    assert_eq!(client.get("/profile").await.text, "ada");
    assert!(
        matches!(world.events.take()[1].kind, EventKind::Rotated) && world.events.take().is_empty()
    );
    client.post("/logout").await;
    assert!(session.peek().await.unwrap().is_none());
}
