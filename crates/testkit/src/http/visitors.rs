//! Laws of sessions of visitors who have not signed in.

use super::client::Client;
use super::{Application, CLEARED_COOKIE};

/// A visitor's session begins with the first write, and not with a read.
pub async fn visitor_session_begins_with_a_write(application: &impl Application) {
    let mut client = Client::of(application);
    let answer = client.get("/basket").await;
    assert_eq!((&*answer.text(), answer.set_cookies().len()), ("", 0));
    let answer = client.post("/basket/tea").await;
    assert_eq!((&*answer.text(), answer.set_cookies().len()), ("tea", 1));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let answer = client.post("/basket/milk").await;
    assert_eq!((&*answer.text(), answer.set_cookies().len()), ("tea,milk", 0));
    assert_eq!(client.get("/basket").await.text(), "tea,milk");
    assert_eq!(client.other().get("/basket").await.text(), "");
}

/// A visitor's session opens no route but those for visitors, and its cookie stays.
pub async fn visitor_session_is_hidden_elsewhere(application: &impl Application) {
    let mut client = Client::of(application);
    client.post("/basket/tea").await;
    for path in ["/name", "/merely", "/strict", "/count", "/nested/name"] {
        let answer = client.get(path).await;
        assert_eq!((answer.status, answer.set_cookies().len()), (401, 0), "{path}");
    }
    assert_eq!(client.get("/").await.text(), "no session");
    assert_eq!(client.get("/basket").await.text(), "tea");
}

/// A login takes the visitor's data over, and ends the visitor's session.
pub async fn login_carries_the_basket_over(application: &impl Application) {
    for path in ["/login/ada", "/nested/login/ada"] {
        let mut client = Client::of(application);
        client.post("/basket/tea").await;
        let mut visitor = client.clone();
        assert_eq!(client.post(path).await.set_cookies().len(), 1, "{path}");
        assert_ne!(client.token(), visitor.token(), "{path}");
        assert_eq!(client.get("/basket").await.text(), "tea", "{path}");
        assert_eq!(client.name().await.as_deref(), Some("ada"));
        assert_eq!(visitor.get("/basket").await.text(), "", "{path}");
        client.login("ada").await;
        assert_eq!(client.get("/basket").await.text(), "", "from a visitor's session only");
    }
}

/// A visitor's logout ends the visitor's session.
pub async fn visitor_logout_ends_the_basket(application: &impl Application) {
    let mut client = Client::of(application);
    client.post("/basket/tea").await;
    let mut before = client.clone();
    assert_eq!(client.post("/logout").await.set_cookies(), [CLEARED_COOKIE]);
    assert_eq!(before.get("/basket").await.text(), "");
}
