use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::{Router, app};

/// A client with a jar for one cookie.
struct Client {
    app: Router,
    jar: String,
}

impl Client {
    fn new() -> Self {
        Self { app: app(), jar: String::new() }
    }

    async fn send(&mut self, method: &str, path: &str, form: &str) -> (StatusCode, String) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::COOKIE, &self.jar)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form.to_owned()))
            .unwrap();
        let response = self.app.clone().oneshot(request).await.unwrap();
        if let Some(cookie) = response.headers().get(header::SET_COOKIE) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            pair.clone_into(&mut self.jar);
        }
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}

fn answer(status: StatusCode, text: &str) -> (StatusCode, String) {
    (status, text.to_owned())
}

#[tokio::test]
async fn transcript_is_true() {
    let mut ada = Client::new();
    let login = ada.send("POST", "/login", "name=ada&password=lovelace").await;
    assert_eq!(login, answer(StatusCode::OK, "welcome\n"));
    let jar = ada.jar.clone();
    assert!(jar.starts_with("__Host-session_id="), "{jar}");
    let profile = ada.send("GET", "/profile", "").await;
    assert_eq!(profile, answer(StatusCode::OK, "you are ada\n"));
    let logout = ada.send("POST", "/logout", "").await;
    assert_eq!(logout, answer(StatusCode::OK, "goodbye\n"));
    assert_eq!(ada.jar, "__Host-session_id=");
    for jar in ["", &jar] {
        jar.clone_into(&mut ada.jar);
        let profile = ada.send("GET", "/profile", "").await;
        assert_eq!(profile, answer(StatusCode::UNAUTHORIZED, "sign in first\n"));
    }
}

#[tokio::test]
async fn wrong_password_sets_no_cookie() {
    let mut eve = Client::new();
    let login = eve.send("POST", "/login", "name=ada&password=guess").await;
    assert_eq!(login, answer(StatusCode::UNAUTHORIZED, "wrong name or password\n"));
    assert_eq!(eve.jar, "");
}
