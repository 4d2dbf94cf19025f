//! Laws of layers within each other, and of a layer's own refusal.

use super::Application;
use super::client::Client;

/// What a browser accepts.
const PAGE: (&str, &str) = ("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8");

/// A layer within another one reads the same session, and the client gets one cookie.
pub async fn nested_layers_are_one(application: &impl Application) {
    let mut client = Client::of(application);
    let answer = client.post("/nested/login/ada").await;
    assert_eq!((answer.status, answer.set_cookies().len()), (200, 1));
    assert_eq!(answer.all("cache-control"), ["no-store"]);
    let answer = client.get("/nested/name").await;
    assert_eq!((&*answer.text(), answer.set_cookies().len()), ("ada", 0));
    assert_eq!(answer.list("vary"), ["authorization", "cookie"]);
}

/// The inner one of two layers can require more than the outer one.
pub async fn inner_layer_can_require_more(application: &impl Application) {
    let mut client = Client::of(application);
    assert_eq!(client.post("/nested/strong").await.text(), "sign in first\n");
    client.login("ada").await;
    assert_eq!(client.post("/nested/strong").await.status, 401);
    client.post("/reauthenticate/2").await;
    assert_eq!(client.post("/nested/strong").await.text(), "done");
}

/// A browser without a session is sent to the sign-in page, with the page that it wanted.
pub async fn browser_is_sent_to_the_sign_in_page(application: &impl Application) {
    let mut client = Client::of(application);
    let answer = client.send("GET", "/page?a=b&c=//evil.test", &[PAGE]).await;
    assert_eq!(answer.status, 303);
    let expected = "/sign-in?next=/page%3Fa%3Db%26c%3D//evil.test";
    assert_eq!(answer.header("location"), Some(expected));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let answer = client.send("POST", "/page", &[PAGE]).await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("/sign-in")), "a form");
    client.login("ada").await;
    assert_eq!(client.send("GET", "/page", &[PAGE]).await.text(), "ada");
}

/// Programs get 401 on the same route.
pub async fn only_browsers_are_redirected(application: &impl Application) {
    let mut client = Client::of(application);
    for accept in ["application/json", "*/*", "text/html-not"] {
        let answer = client.send("GET", "/page", &[("accept", accept)]).await;
        assert_eq!((answer.status, answer.header("location")), (401, None), "{accept}");
    }
    assert_eq!(client.get("/page").await.status, 401);
}

/// A browser whose user must authenticate again is sent to the page for that.
pub async fn browser_is_sent_to_the_step_up_page(application: &impl Application) {
    let mut client = Client::of(application);
    let answer = client.send("GET", "/page/strong?a=b", &[PAGE]).await;
    assert_eq!(answer.header("location"), Some("/sign-in?next=/page/strong%3Fa%3Db"));
    client.login("ada").await;
    let answer = client.send("GET", "/page/strong?a=b", &[PAGE]).await;
    assert_eq!(answer.status, 303);
    assert_eq!(answer.header("location"), Some("/password?next=/page/strong%3Fa%3Db"));
    let referer = ("referer", "http://app.test/form?x=y");
    let answer = client.send("POST", "/page/strong", &[PAGE, referer]).await;
    let expected = Some("/password?next=/form%3Fx%3Dy");
    assert_eq!(answer.header("location"), expected, "back to the form's own page");
    client.post("/reauthenticate/2").await;
    assert_eq!(client.send("GET", "/page/strong", &[PAGE]).await.text(), "done");
}
