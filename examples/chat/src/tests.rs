use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use tower::ServiceExt;

use super::{Router, app};

/// The application on a port of its own.
#[derive(Clone)]
struct Server {
    app: Router,
    address: String,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let app = app();
        tokio::spawn(axum::serve(listener, app.clone()).into_future());
        Self { app, address }
    }

    async fn signed_in(&self, name: &str) -> Client {
        let mut client = Client { server: self.clone(), cookie: String::new() };
        client.post("/login", &format!("name={name}")).await;
        assert!(client.cookie.starts_with("__Host-session_id="), "{}", client.cookie);
        client
    }
}

/// A client with a jar for one cookie.
struct Client {
    server: Server,
    cookie: String,
}

impl Client {
    async fn post(&mut self, path: &str, form: &str) {
        let request = Request::post(path)
            .header(header::COOKIE, &self.cookie)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form.to_owned()))
            .unwrap();
        let response = self.server.app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        if let Some(cookie) = response.headers().get(header::SET_COOKIE) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            pair.clone_into(&mut self.cookie);
        }
    }

    /// Opens the chat as a page of this origin; the error is the status of the refusal.
    async fn chat_from(&self, origin: &str) -> Result<Socket, StatusCode> {
        let address = &self.server.address;
        let mut request = format!("ws://{address}/chat").into_client_request().unwrap();
        for (name, value) in [(header::COOKIE, self.cookie.as_str()), (header::ORIGIN, origin)] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(address).await.unwrap();
        match client_async(request, stream).await {
            Ok((socket, _)) => Ok(Socket(socket)),
            Err(Error::Http(response)) => Err(response.status()),
            Err(error) => panic!("{error}"),
        }
    }

    async fn chat(&self) -> Socket {
        self.chat_from(&format!("http://{}", self.server.address)).await.unwrap()
    }
}

struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    async fn say(&mut self, text: &str) {
        self.0.send(text.into()).await.unwrap();
    }

    async fn next(&mut self) -> Message {
        timeout(Duration::from_secs(60), self.0.next()).await.unwrap().unwrap().unwrap()
    }

    async fn hears(&mut self, line: &str) {
        assert_eq!(self.next().await, Message::from(line));
    }

    async fn is_closed(&mut self) {
        match self.next().await {
            Message::Close(Some(frame)) => assert_eq!(frame.reason, "you are signed out"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn lines_carry_the_name_of_the_session() {
    let server = Server::start().await;
    let (mut ada, bob) = (server.signed_in("Ada").await, server.signed_in("Bob").await);
    let (mut from_ada, mut from_bob) = (ada.chat().await, bob.chat().await);
    from_ada.say("hello").await;
    for socket in [&mut from_ada, &mut from_bob] {
        socket.hears("Ada: hello").await;
    }
    ada.post("/rename", "name=Countess").await;
    from_ada.say("it is still me").await;
    from_bob.hears("Countess: it is still me").await;
}

#[tokio::test]
async fn logout_closes_the_connection() {
    let server = Server::start().await;
    let (mut ada, bob) = (server.signed_in("Ada").await, server.signed_in("Bob").await);
    let (mut from_ada, mut from_bob) = (ada.chat().await, bob.chat().await);
    ada.post("/logout", "").await;
    from_ada.is_closed().await;
    from_bob.say("Ada is gone").await;
    from_bob.hears("Bob: Ada is gone").await;
}

#[tokio::test]
async fn line_after_a_logout_is_not_passed_on() {
    let server = Server::start().await;
    let (mut ada, bob) = (server.signed_in("Ada").await, server.signed_in("Bob").await);
    let (mut from_ada, mut from_bob) = (ada.chat().await, bob.chat().await);
    ada.post("/logout", "").await;
    // The connection may be closed already.
    _ = from_ada.0.send("one more thing".into()).await;
    from_bob.say("Ada is gone").await;
    from_bob.hears("Bob: Ada is gone").await;
}

#[tokio::test]
async fn revoked_session_loses_its_connection() {
    let server = Server::start().await;
    let (phone, mut laptop) = (server.signed_in("Ada").await, server.signed_in("Ada").await);
    let (mut from_phone, mut from_laptop) = (phone.chat().await, laptop.chat().await);
    laptop.post("/logout-others", "").await;
    from_phone.is_closed().await;
    from_laptop.say("only this device is left").await;
    from_laptop.hears("Ada: only this device is left").await;
}

#[tokio::test]
async fn visitors_and_other_sites_get_no_connection() {
    let server = Server::start().await;
    let ada = server.signed_in("Ada").await;
    let visitor = Client { server, cookie: String::new() };
    let refused = visitor.chat_from(&format!("http://{}", ada.server.address)).await;
    assert_eq!(refused.err(), Some(StatusCode::UNAUTHORIZED));
    let refused = ada.chat_from("https://evil.example").await;
    assert_eq!(refused.err(), Some(StatusCode::FORBIDDEN));
}
