//! Laws of layers within each other, and of a layer's own refusal.

use super::Application;
use super::client::Client;

/// The `Accept` of a browser.
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

/// A page below a prefix keeps its whole path, also where a router has removed the prefix.
pub async fn page_below_a_prefix_keeps_its_path(application: &impl Application) {
    let mut client = Client::of(application);
    let answer = client.send("GET", "/section/page?a=b", &[PAGE]).await;
    let expected = "/sign-in?next=/section/page%3Fa%3Db";
    assert_eq!((answer.status, answer.header("location")), (303, Some(expected)));
    client.login("ada").await;
    assert_eq!(client.get("/section/page").await.text(), "ada");
}

/// A handler that asks for the session of a route without a layer is a fault of the application:
/// 500, and the client learns nothing of it.
pub async fn handler_without_its_layer_is_a_500(application: &impl Application) {
    let client = Client::signed_in(application, "ada").await;
    for mut client in [client.other(), client] {
        for (method, path) in [("GET", "/bare/name"), ("POST", "/bare/login/ada")] {
            let answer = client.send(method, path, &[]).await;
            assert_eq!((answer.status, &*answer.text()), (500, "internal error\n"), "{path}");
            assert!(answer.set_cookies().is_empty(), "{path}");
        }
    }
}

/// Programs get 401 on the same route.
pub async fn only_browsers_are_redirected(application: &impl Application) {
    let mut client = Client::of(application);
    for accept in ["application/json", "*/*", "text/html-not"] {
        let answer = client.send("GET", "/page", &[("accept", accept)]).await;
        assert_eq!((answer.status, answer.header("location")), (401, None), "{accept}");
    }
    assert_eq!(client.get("/page").await.status, 401);
    let late = ("accept", "application/json, Text/HTML;q=0.1");
    assert_eq!(client.send("GET", "/page", &[late]).await.status, 303, "it takes a page, too");
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
