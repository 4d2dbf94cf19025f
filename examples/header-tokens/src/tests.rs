use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{Router, app};

const ADA: &str = r#"{"name":"ada","password":"lovelace"}"#;

/// A program that keeps its token.
#[derive(Clone)]
struct Client {
    app: Router,
    agent: &'static str,
    token: Option<String>,
}

impl Client {
    fn new(app: &Router, agent: &'static str) -> Self {
        Self { app: app.clone(), agent, token: None }
    }

    async fn signed_in(app: &Router, agent: &'static str) -> Self {
        let mut client = Self::new(app, agent);
        let (status, body) = client.send("POST", "/login", ADA).await;
        assert_eq!((status, body), (StatusCode::OK, json!({ "name": "ada", "calls": 0 })));
        assert!(client.token.is_some());
        client
    }

    async fn send(&mut self, method: &str, path: &str, json: &str) -> (StatusCode, Value) {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, self.agent);
        if let Some(token) = &self.token {
            request = request.header("x-session-id", token);
        }
        let request = request.body(Body::from(json.to_owned())).unwrap();
        let response = self.app.clone().oneshot(request).await.unwrap();
        assert!(!response.headers().contains_key(header::SET_COOKIE), "no cookie is ever set");
        if let Some(token) = response.headers().get("x-session-id") {
            self.token = Some(token.to_str().unwrap().to_owned());
        }
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn status(&mut self, method: &str, path: &str) -> StatusCode {
        self.send(method, path, "").await.0
    }
}

#[tokio::test]
async fn program_signs_in_and_out() {
    let app = app().unwrap();
    let mut ada = Client::signed_in(&app, "backup").await;
    for calls in 1..=3 {
        let (_, profile) = ada.send("GET", "/profile", "").await;
        assert_eq!(profile, json!({ "name": "ada", "calls": calls }));
    }
    assert_eq!(ada.status("POST", "/logout").await, StatusCode::NO_CONTENT);
    assert_eq!(ada.status("GET", "/profile").await, StatusCode::UNAUTHORIZED, "a replay");
}

#[tokio::test]
async fn sessions_are_listed_and_revoked() {
    let app = app().unwrap();
    let mut backup = Client::signed_in(&app, "backup").await;
    let mut laptop = Client::signed_in(&app, "laptop").await;
    let (_, list) = laptop.send("GET", "/sessions", "").await;
    let seen = |row: &Value| (row["client"].clone(), row["current"].clone());
    assert_eq!(seen(&list[0]), (json!("backup"), json!(false)));
    assert_eq!(seen(&list[1]), (json!("laptop"), json!(true)));
    assert!(!list.to_string().contains(backup.token.as_deref().unwrap()), "ids are no tokens");

    let path = format!("/sessions/{}", list[0]["id"].as_str().unwrap());
    assert_eq!(laptop.status("DELETE", &path).await, StatusCode::NO_CONTENT);
    assert_eq!(laptop.status("DELETE", &path).await, StatusCode::NOT_FOUND);
    assert_eq!(laptop.status("DELETE", "/sessions/nonsense").await, StatusCode::NOT_FOUND);
    assert_eq!(backup.status("GET", "/profile").await, StatusCode::UNAUTHORIZED);

    let mut others =
        [Client::signed_in(&app, "phone").await, Client::signed_in(&app, "watch").await];
    let (_, revoked) = laptop.send("POST", "/sessions/revoke-others", "").await;
    assert_eq!(revoked, json!({ "revoked": 2 }));
    for other in &mut others {
        assert_eq!(other.status("GET", "/profile").await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(laptop.status("GET", "/profile").await, StatusCode::OK);
}

#[tokio::test]
async fn cookie_is_not_accepted() {
    let app = app().unwrap();
    let mut eve = Client::new(&app, "eve");
    let wrong = r#"{"name":"ada","password":"guess"}"#;
    assert_eq!(eve.send("POST", "/login", wrong).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(eve.token, None);

    let token = Client::signed_in(&app, "backup").await.token.unwrap();
    for name in ["X-Session-ID", "session_id", "__Host-session_id"] {
        let cookie = format!("{name}={token}");
        let request = Request::builder().uri("/profile").header(header::COOKIE, cookie);
        let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{name}");
    }
}
