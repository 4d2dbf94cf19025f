//! Laws of form tokens and of messages for the next page.

use super::Application;
use super::client::Client;

/// A form with a token of its session is accepted: in its field, or in a header.
pub async fn form_is_accepted_with_its_token(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let token = client.get("/form").await.text();
    let form = format!("title=a+b&csrf_token={token}");
    assert_eq!(client.submit("/form", &form).await.text(), "ada: a b");
    assert_eq!(client.send("POST", "/script", &[("x-csrf-token", &token)]).await.text(), "ada");
    let answer = client.get("/form").await;
    assert_eq!(
        client.submit("/form", &format!("title=c&csrf_token={}", answer.text())).await.status,
        200
    );
    assert_eq!(
        client.submit("/form", &form).await.status,
        200,
        "a token is good for several forms"
    );
}

/// A form without its token is rejected: absent, wrong, twice, or in another place.
pub async fn form_without_its_token_is_rejected(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let token = client.get("/form").await.text();
    for form in [
        String::from("title=a"),
        String::from("title=a&csrf_token="),
        format!("title=a&csrf_token={}", token.to_ascii_uppercase()),
        format!("title=a&csrf_token={token}&csrf_token={token}"),
        format!("title=a&other={token}"),
    ] {
        let answer = client.submit("/form", &form).await;
        let text = "the form token is missing or too old: load the page again\n";
        assert_eq!((answer.status, &*answer.text()), (403, text), "{form}");
    }
    for (name, value) in [("x-csrf-token", "x"), ("x-token", &*token), ("x-csrf-token", "")] {
        let answer = client.send("POST", "/script", &[(name, value)]).await;
        assert_eq!(answer.status, 403, "{name}: {value}");
    }
    let answer = client.post(&format!("/script?csrf_token={token}")).await;
    assert_eq!(answer.status, 403, "never from a query");
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
