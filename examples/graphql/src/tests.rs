use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use futures_util::{SinkExt, StreamExt};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use tower::ServiceExt;

use super::{Router, app};

const LOGIN: &str = r#"mutation { login(name: "ada", password: "lovelace") { name visits } }"#;

/// A client with a jar for one cookie.
struct Client {
    app: Router,
    jar: String,
}

impl Client {
    fn new() -> Self {
        Self { app: app(), jar: String::new() }
    }

    async fn signed_in() -> Self {
        let mut client = Self::new();
        let login = client.ask(LOGIN).await;
        assert_eq!(login, json!({ "data": { "login": { "name": "ada", "visits": 0 } } }));
        assert!(client.jar.starts_with("__Host-session_id="), "{}", client.jar);
        client
    }

    async fn ask(&mut self, query: &str) -> Value {
        let request = Request::post("/graphql")
            .header(header::COOKIE, &self.jar)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(json!({ "query": query }).to_string()))
            .unwrap();
        let response = self.app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        if let Some(cookie) = response.headers().get(header::SET_COOKIE) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            pair.clone_into(&mut self.jar);
        }
        let body = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap()
    }

    async fn is_refused(&mut self, query: &str) {
        let answer = self.ask(query).await;
        assert_eq!(answer["data"], Value::Null, "{query}");
        assert_eq!(answer["errors"][0]["message"], "sign in first", "{query}");
    }

    /// Opens a connection for subscriptions; the error is the status of the refusal.
    async fn connect(&self) -> Result<Connection, StatusCode> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(axum::serve(listener, self.app.clone()).into_future());
        let mut request = format!("ws://{address}/subscriptions").into_client_request().unwrap();
        request.headers_mut().insert(header::COOKIE, self.jar.parse().unwrap());
        let protocol = "graphql-transport-ws".parse().unwrap();
        request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        let stream = TcpStream::connect(address).await.unwrap();
        match client_async(request, stream).await {
            Ok((socket, _)) => Ok(Connection(socket)),
            Err(Error::Http(response)) => Err(response.status()),
            Err(error) => panic!("{error}"),
        }
    }
}

struct Connection(WebSocketStream<TcpStream>);

impl Connection {
    async fn send(&mut self, message: Value) {
        self.0.send(message.to_string().into()).await.unwrap();
    }

    /// The next message, or `None` at the end of the connection.
    async fn next(&mut self) -> Option<Value> {
        match timeout(Duration::from_secs(60), self.0.next()).await.unwrap() {
            Some(Ok(Message::Text(text))) => Some(serde_json::from_str(&text).unwrap()),
            _ => None,
        }
    }
}

#[tokio::test]
async fn transcript_is_true() {
    let mut ada = Client::signed_in().await;
    let jar = ada.jar.clone();
    for visits in 1..=2 {
        assert_eq!(ada.ask("mutation { visit }").await, json!({ "data": { "visit": visits } }));
    }
    let me = ada.ask("{ me { name visits } greeting }").await;
    let expected = json!({ "me": { "name": "ada", "visits": 2 }, "greeting": "hello ada" });
    assert_eq!(me["data"], expected);
    assert_eq!(ada.ask("mutation { logout }").await, json!({ "data": { "logout": true } }));
    assert_eq!(ada.jar, "__Host-session_id=");
    for jar in ["", &jar] {
        jar.clone_into(&mut ada.jar);
        ada.is_refused("{ me { name } }").await;
    }
}

#[tokio::test]
async fn visitor_gets_open_fields_only() {
    let mut visitor = Client::new();
    let greeting = visitor.ask("{ greeting }").await;
    assert_eq!(greeting, json!({ "data": { "greeting": "hello" } }));
    visitor.is_refused("{ greeting me { name } }").await;
    visitor.is_refused("mutation { visit }").await;
    assert_eq!(visitor.connect().await.err(), Some(StatusCode::UNAUTHORIZED));
}

#[tokio::test]
async fn wrong_password_sets_no_cookie() {
    let mut eve = Client::new();
    let login = eve.ask(r#"mutation { login(name: "ada", password: "guess") { name } }"#).await;
    assert_eq!(login["errors"][0]["message"], "wrong name or password");
    assert_eq!(eve.jar, "");
}

#[tokio::test]
async fn subscription_follows_the_session_and_ends_with_it() {
    let mut ada = Client::signed_in().await;
    let mut connection = ada.connect().await.unwrap();
    connection.send(json!({ "type": "connection_init" })).await;
    assert_eq!(connection.next().await.unwrap()["type"], "connection_ack");
    let payload = json!({ "query": "subscription { visits }" });
    connection.send(json!({ "type": "subscribe", "id": "1", "payload": payload })).await;
    ada.ask("mutation { visit }").await;
    assert_eq!(connection.next().await.unwrap()["payload"]["data"]["visits"], 1);
    ada.ask("mutation { logout }").await;
    while let Some(message) = connection.next().await {
        assert_eq!(message["type"], "complete");
    }
}
