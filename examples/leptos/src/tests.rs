use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use http_body_util::BodyExt;
use kvolt::{Manager, MemoryStore};
use kvolt_testkit::{Call, Faults, FaultyStore};
use tokio::time::timeout;
use tower::ServiceExt;

use super::app;

/// A browser with a jar for one cookie, and the controls of the server's store.
struct Client {
    app: Router,
    faults: Faults,
    jar: String,
}

impl Client {
    fn new() -> Self {
        let (store, faults) = FaultyStore::new(MemoryStore::new());
        Self { app: app(Manager::new(store)), faults, jar: String::new() }
    }

    async fn signed_in() -> Self {
        let mut client = Self::new();
        let login = client.post("login", "name=ada&password=lovelace").await;
        assert_eq!(login.status(), StatusCode::OK);
        assert!(client.jar.starts_with("__Host-session_id="), "{}", client.jar);
        client
    }

    async fn post(&mut self, function: &str, form: &str) -> Response {
        let request = Request::post(format!("/api/{function}"))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request, form).await
    }

    async fn page(&mut self) -> String {
        let response = self.send(Request::get("/"), "").await;
        body(response).await
    }

    async fn send(&mut self, request: axum::http::request::Builder, form: &str) -> Response {
        let request = request.header(header::COOKIE, &self.jar).body(Body::from(form.to_owned()));
        let response = self.app.clone().oneshot(request.unwrap()).await.unwrap();
        if let Some(cookie) = response.headers().get(header::SET_COOKIE) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            pair.clone_into(&mut self.jar);
        }
        response
    }
}

async fn body(response: Response) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn server_functions_sign_in_and_out() {
    let mut ada = Client::signed_in().await;
    let jar = ada.jar.clone();
    for visits in 1..=2 {
        let page = ada.page().await;
        assert!(page.contains(&format!("ada was here {visits} times")), "{page}");
    }
    let visit = body(ada.post("visit", "").await).await;
    assert_eq!(visit, r#"{"name":"ada","visits":3}"#);
    assert_eq!(ada.jar, jar, "only a login and a logout set a cookie");
    assert_eq!(ada.post("logout", "").await.status(), StatusCode::OK);
    assert_eq!(ada.jar, "__Host-session_id=");
    for jar in ["", &jar] {
        jar.clone_into(&mut ada.jar);
        assert_eq!(body(ada.post("visit", "").await).await, "null");
        assert!(ada.page().await.contains("action=\"/api/login\""));
    }
}

/// The usual way of losing a session: a library that saves it when the head is ready misses what a
/// streamed page changes afterwards.
#[tokio::test]
async fn change_after_the_head_of_a_streamed_page_is_kept() {
    let mut ada = Client::signed_in().await;
    ada.faults.only(&[Call::Replace]);
    ada.faults.hold_calls();
    let page = ada.send(Request::get("/"), "").await;
    assert_eq!(page.status(), StatusCode::OK);
    let change = timeout(Duration::from_secs(60), ada.faults.until_waiting(1)).await;
    change.expect("the page changes the session while it is sent");
    ada.faults.release();
    let page = body(page).await;
    assert!(page.contains("ada was here 1 times"), "{page}");
    assert_eq!(body(ada.post("visit", "").await).await, r#"{"name":"ada","visits":2}"#);
}

#[tokio::test]
async fn wrong_password_sets_no_cookie() {
    let mut eve = Client::new();
    let login = eve.post("login", "name=ada&password=guess").await;
    assert!(body(login).await.contains("wrong name or password"));
    assert_eq!(eve.jar, "");
}
