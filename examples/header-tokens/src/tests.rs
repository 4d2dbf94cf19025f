use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::app;

#[tokio::test]
async fn a_program_signs_in_counts_its_calls_and_ends_the_others() {
    let app = app();
    let send = |method, path, token: String, body: &'static str| {
        let app = app.clone();
        async move {
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header("x-session-id", token)
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
            let response = app.oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
            assert!(!response.headers().contains_key(header::SET_COOKIE));
            let token = response.headers().get("x-session-id").cloned();
            let status = response.status();
            let bytes = response.into_body().collect().await.unwrap().to_bytes();
            let token = token.map(|token| token.to_str().unwrap().to_owned());
            (status, token, String::from_utf8(bytes.to_vec()).unwrap())
        }
    };
    let login = "name=ada&password=lovelace";
    let (_, one, _) = send("POST", "/login", String::new(), login).await;
    let (_, other, _) = send("POST", "/login", String::new(), login).await;
    let (one, other) = (one.unwrap(), other.unwrap());
    for calls in 1..=2 {
        let (_, _, text) = send("GET", "/profile", one.clone(), "").await;
        assert_eq!(text, format!(r#"{{"name":"ada","calls":{calls}}}"#));
    }
    let (_, _, text) = send("GET", "/sessions", one.clone(), "").await;
    assert_eq!(text.matches(',').count(), 1, "two sessions: {text}");
    let (_, _, text) = send("POST", "/end-others", one.clone(), "").await;
    assert_eq!(text, "1 ended\n");
    assert_eq!(send("GET", "/profile", other, "").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(send("POST", "/logout", one.clone(), "").await.0, StatusCode::OK);
    assert_eq!(send("GET", "/profile", one, "").await.0, StatusCode::UNAUTHORIZED);
}
