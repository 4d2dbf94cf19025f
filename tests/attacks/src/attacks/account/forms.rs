//! A form token belongs to one session.

use http::{Method, StatusCode};
use kvolt_middleware::{CSRF_FIELD, CSRF_HEADER};

use crate::client::Client;
use crate::deployment::Deployment;

/// Statuses of a form and of a script's request with this token.
async fn sent(client: &Client, token: &str) -> [StatusCode; 2] {
    let form = client.clone().submit("/account/form", &format!("{CSRF_FIELD}={token}")).await;
    let headers = [(CSRF_HEADER, token)];
    let script = client.clone().send(Method::POST, "/account/script", &headers).await;
    [form.status, script.status]
}

const DONE: [StatusCode; 2] = [StatusCode::OK; 2];
const REFUSED: [StatusCode; 2] = [StatusCode::FORBIDDEN; 2];

/// Symfony CVE-2022-24895: a form token from before the login is valid after it.
///
/// On both servers, for the same user and for another one. A token of another session of the same
/// user is invalid too. After a rotation or a step-up it stays valid, for pages that are open.
pub async fn form_token_does_not_survive_a_login(deployment: &Deployment) {
    let mut client = deployment.one.client();
    client.post("/login/ada").await;
    let before = client.get("/account/form").await.text;
    let mut device = deployment.other.client();
    device.post("/login/ada").await;
    let of_device = device.get("/account/form").await.text;
    for server in deployment.servers() {
        assert_eq!(sent(&client.at(server), &before).await, DONE);
        assert_eq!(sent(&device.at(server), &before).await, REFUSED, "another session's");
        assert_eq!(sent(&client.at(server), &of_device).await, REFUSED, "another session's");
        // A sign-in replaces the session, and also its form token.
        for path in ["/login/ada", "/login/bob", "/nested/login/ada"] {
            let mut anew = client.at(server);
            let mut own = anew.other();
            own.post("/login/eve").await;
            let early = own.get("/account/form").await.text;
            anew.jar = own.jar;
            assert_eq!(sent(&anew, &early).await, DONE);
            assert_eq!(anew.post(path).await.status, StatusCode::OK);
            assert_eq!(sent(&anew, &early).await, REFUSED, "{path}: it is from before");
            let late = anew.get("/account/form").await.text;
            assert_eq!(sent(&anew, &late).await, DONE, "{path}");
        }
        for path in ["/rotate", "/password", "/account/prove/2"] {
            let mut moved = server.client();
            moved.post("/login/eve").await;
            let early = moved.get("/account/form").await.text;
            assert_eq!(moved.post(path).await.status, StatusCode::OK, "{path}");
            assert_eq!(sent(&moved, &early).await, DONE, "{path}");
        }
    }
    let altered: String = before.chars().rev().collect();
    for wrong in ["", "0", &before[1..], &altered, &format!("{before}&{CSRF_FIELD}={before}")] {
        assert_eq!(sent(&client, wrong).await[0], StatusCode::FORBIDDEN, "{wrong:?}");
    }
    let answer = client.clone().post("/account/form").await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "none at all");
    client.post("/logout").await;
    let anew = client.other();
    assert_eq!(sent(&anew, &before).await, [StatusCode::UNAUTHORIZED; 2]);
}
