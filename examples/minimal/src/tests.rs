use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::app;

#[tokio::test]
async fn the_transcript_is_what_happens() {
    let app = app();
    let send = |method, path, cookie: String, body: &'static str| {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::COOKIE, cookie)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        app.clone().oneshot(request.body(Body::from(body)).unwrap())
    };
    let text = |response: Response<Body>| async {
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    };
    let wrong = send("POST", "/login", String::new(), "name=ada&password=x").await.unwrap();
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    let login = send("POST", "/login", String::new(), "name=ada&password=lovelace").await.unwrap();
    let cookie =
        login.headers()[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    assert_eq!(text(login).await, "Welcome, ada\n");
    let profile = send("GET", "/profile", cookie.clone(), "").await.unwrap();
    assert_eq!(text(profile).await, "You are ada\n");
    let logout = send("POST", "/logout", cookie.clone(), "").await.unwrap();
    assert_eq!(text(logout).await, "Goodbye\n");
    let profile = send("GET", "/profile", cookie, "").await.unwrap();
    assert_eq!(profile.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(text(profile).await, "sign in first\n");
}
