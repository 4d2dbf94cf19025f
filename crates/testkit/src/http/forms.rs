//! Laws of form tokens and of messages for the next page.

use super::Application;
use super::client::Client;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// A form with a token of its session is accepted: in its field, or in a header. Each page has
/// another text of the token.
pub async fn form_is_accepted_with_its_token(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let token = client.get("/form").await.text();
    for form in [
        format!("title=a+b&csrf_token={token}"),
        format!("csrf_token={token}&title=a%20b"),
        format!("title=a+b&csrf%5Ftoken={}", token.replace('-', "%2D")),
        format!("title=a+b&CSRF_TOKEN=x&csrf_token2=x&csrf_token={token}"),
    ] {
        for kind in [FORM.1, "application/x-www-form-urlencoded; charset=UTF-8"] {
            let answer = client.send_body("POST", "/form", &[("content-type", kind)], &form).await;
            assert_eq!((answer.status, &*answer.text()), (200, "ada: a b"), "{form}");
        }
    }
    let header = ("x-csrf-token", &*token);
    assert_eq!(client.send("POST", "/script", &[header]).await.text(), "ada");
    let answer = client.send_body("POST", "/form", &[FORM, header], "title=c").await;
    assert_eq!(answer.text(), "ada: c", "a form whose token is in the header");
    assert_ne!(client.get("/form").await.text(), token, "no text that compression could reveal");
}

/// A form without its token is rejected: absent, wrong, twice, or in another place.
pub async fn form_without_its_token_is_rejected(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let token = client.get("/form").await.text();
    let wrong = token.replace(|letter: char| letter.is_ascii_lowercase(), "x");
    let forms = [
        String::new(),
        String::from("title=a"),
        String::from("title=a&csrf_token="),
        String::from("title=a&csrf_token"),
        format!("title=a&csrf_token={wrong}"),
        format!("title=a&csrf_token={token}&csrf_token={token}"),
        format!("title=a&csrf_token={token}&csrf_token="),
        format!("title=a&csrf_token=%20{token}"),
        format!("title=a&csrf_token={token}%00"),
        format!("title=a&csrf-token={token}"),
        format!("title=a&x-csrf-token={token}"),
        "\u{fffd}=&;%%%".repeat(100),
    ];
    for form in &forms {
        let answer = client.send_body("POST", "/form", &[FORM], form).await;
        let text = "the form token is missing or too old: load the page again\n";
        assert_eq!((answer.status, &*answer.text()), (403, text), "{form}");
    }
    let good = format!("title=a&csrf_token={token}");
    for kind in ["text/plain", "multipart/form-data; boundary=x", "application/json", ""] {
        let answer = client.send_body("POST", "/form", &[("content-type", kind)], &good).await;
        assert_eq!(answer.status, 403, "a body of the type {kind:?}");
    }
    for header in [&*wrong, ""] {
        let header = ("x-csrf-token", header);
        let answer = client.send_body("POST", "/form", &[FORM, header], &good).await;
        assert_eq!(answer.status, 403, "where a header is sent, that is it");
        assert_eq!(client.send("POST", "/script", &[header]).await.status, 403);
    }
    let in_query = format!("/form?csrf_token={token}");
    let answer = client.send_body("POST", &in_query, &[FORM], "title=a").await;
    assert_eq!(answer.status, 403, "in a query");
    let cookies = format!("csrf_token={token}; x-csrf-token={token}");
    let answer = client.send_body("POST", "/form", &[FORM, ("cookie", &cookies)], "title=a").await;
    assert_eq!(answer.status, 403, "in a cookie, which browsers send for any site");
    let answer = client.send_body("POST", "/script", &[FORM], &good).await;
    assert_eq!(answer.status, 403, "in a body where a header is expected");
}

/// A form token is one of its session: it survives a rotation and no login, and serves no other
/// user.
pub async fn form_token_ends_at_the_login(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let token = client.get("/form").await.text();
    let headers = [("x-csrf-token", &*token)];
    client.post("/rotate").await;
    assert_eq!(client.send("POST", "/script", &headers).await.status, 200);
    let mut other = Client::signed_in(application, "ada").await;
    assert_eq!(other.send("POST", "/script", &headers).await.status, 403);
    client.login("ada").await;
    assert_eq!(client.send("POST", "/script", &headers).await.status, 403);
}

/// A form token does not replace a session, and admits no other site.
pub async fn form_token_replaces_no_other_check(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let token = client.get("/form").await.text();
    let headers = [("x-csrf-token", &*token)];
    assert_eq!(client.other().send("POST", "/script", &headers).await.status, 401);
    let foreign = [headers[0], ("sec-fetch-site", "cross-site")];
    assert_eq!(client.send("POST", "/script", &foreign).await.status, 403);
}

/// Messages wait for the next page, in order, and are shown once.
pub async fn messages_are_shown_once(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    for text in ["first", "second"] {
        assert_eq!(client.post(&format!("/flash/{text}")).await.status, 200);
    }
    assert_eq!(client.name().await.as_deref(), Some("ada"), "another page does not take them");
    assert_eq!(client.get("/flashes").await.text(), "first\nsecond\n");
    assert_eq!(client.get("/flashes").await.text(), "");
}

/// Of parallel pages, one shows a message.
pub async fn message_is_shown_by_one_of_parallel_pages(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    client.post("/flash/once").await;
    let mut pages = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let mut client = client.clone();
        pages.spawn(async move { client.get("/flashes").await.text() });
    }
    let mut shown = pages.join_all().await;
    shown.sort();
    assert_eq!(shown.concat(), "once\n");
}
