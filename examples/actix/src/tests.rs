use std::time::Duration;

use actix_http::Request;
use actix_web::body::{MessageBody, to_bytes};
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::header::{COOKIE, LOCATION, SET_COOKIE, USER_AGENT};
use actix_web::test::{TestRequest, init_service};
use actix_web::{App, HttpServer};
use futures_util::{SinkExt, StreamExt};
use kvolt::Sessions;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::{User, routes, sessions};

/// A client with a jar for one cookie.
struct Client {
    cookie: String,
    agent: &'static str,
}

struct Answer {
    status: u16,
    location: String,
    text: String,
}

impl Client {
    fn new(agent: &'static str) -> Self {
        Self { cookie: String::new(), agent }
    }

    async fn send<A, B>(&mut self, app: &A, request: TestRequest) -> Answer
    where
        A: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
        B: MessageBody,
    {
        let request = request.insert_header((USER_AGENT, self.agent));
        let request = request.insert_header((COOKIE, &*self.cookie)).to_request();
        let response = app.call(request).await.unwrap();
        let text = |name| {
            let value = response.headers().get(name);
            value.map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
        };
        if let Some((pair, _)) = text(SET_COOKIE).split_once(';') {
            pair.clone_into(&mut self.cookie);
        }
        let (status, location) = (response.status().as_u16(), text(LOCATION));
        let body = to_bytes(response.into_body()).await.unwrap_or_else(|_| panic!("no body"));
        Answer { status, location, text: String::from_utf8(body.to_vec()).unwrap() }
    }

    async fn get<A, B>(&mut self, app: &A, path: &str) -> Answer
    where
        A: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
        B: MessageBody,
    {
        let request = TestRequest::get().uri(path).insert_header(("accept", "text/html"));
        self.send(app, request).await
    }

    async fn post<A, B>(&mut self, app: &A, path: &str, form: &[(&str, &str)]) -> Answer
    where
        A: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
        B: MessageBody,
    {
        self.send(app, TestRequest::post().uri(path).set_form(form)).await
    }

    async fn login<A, B>(&mut self, app: &A)
    where
        A: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
        B: MessageBody,
    {
        let form = [("name", "ada"), ("password", "lovelace")];
        let answer = self.post(app, "/login", &form).await;
        assert_eq!((answer.status, &*answer.location), (303, "/account"));
        assert!(self.cookie.starts_with("__Host-session_id="), "{}", self.cookie);
    }

    /// Opens the echo as a page of this origin; the error is the status of the refusal.
    async fn echo_from(&self, address: &str, origin: &str) -> Result<Socket, u16> {
        let mut request = format!("ws://{address}/account/echo").into_client_request().unwrap();
        for (name, value) in [("cookie", &*self.cookie), ("origin", origin)] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(address).await.unwrap();
        match client_async(request, stream).await {
            Ok((socket, _)) => Ok(Socket(socket)),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    async fn echo(&self, address: &str) -> Socket {
        self.echo_from(address, &format!("http://{address}")).await.unwrap()
    }
}

struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    async fn next(&mut self) -> Message {
        timeout(Duration::from_secs(60), self.0.next()).await.unwrap().unwrap().unwrap()
    }

    async fn answers(&mut self) {
        self.0.send("hello".into()).await.unwrap();
        assert_eq!(self.next().await, Message::from("ada: hello"));
    }

    async fn is_closed(&mut self) {
        match self.next().await {
            Message::Close(Some(frame)) => assert_eq!(frame.reason, "you are signed out"),
            other => panic!("{other:?}"),
        }
    }
}

/// The application on a port of its own.
fn serve(sessions: &Sessions<User>) -> String {
    let sessions = sessions.clone();
    let server = HttpServer::new(move || App::new().configure(routes(&sessions)));
    let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
    let address = server.addrs()[0].to_string();
    actix_web::rt::spawn(server.run());
    address
}

/// The values of the hidden fields of this name on a page.
fn fields<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!("name={name} value=");
    let page = page.split(&*start).skip(1);
    page.map(|rest| rest.split('>').next().unwrap()).collect()
}

fn csrf(page: &str) -> &str {
    let (_, rest) = page.split_once("name=\"csrf_token\" value=\"").unwrap();
    rest.split('"').next().unwrap()
}

#[actix_web::test]
async fn user_signs_in_and_out() {
    let app = init_service(App::new().configure(routes(&sessions().unwrap()))).await;
    let mut ada = Client::new("a phone");
    assert!(ada.get(&app, "/").await.text.contains("Sign in"));
    let refused = ada.get(&app, "/account").await;
    assert_eq!((refused.status, &*refused.location), (303, "/?next=/account"));
    let wrong = ada.post(&app, "/login", &[("name", "ada"), ("password", "guess")]).await;
    assert_eq!((wrong.status, &*ada.cookie), (401, ""));

    ada.login(&app).await;
    assert_eq!(ada.get(&app, "/").await.location, "/account");
    let page = ada.get(&app, "/account").await.text;
    assert!(page.contains("Hello ada") && page.contains("a phone, this device"), "{page}");
    assert_eq!(ada.post(&app, "/account/logout", &[]).await.status, 403);
    let token = [("csrf_token", csrf(&page))];
    assert_eq!(ada.post(&app, "/account/logout", &token).await.location, "/");
    assert_eq!(ada.cookie, "__Host-session_id=");
    assert_eq!(ada.get(&app, "/account").await.status, 303);
}

#[actix_web::test]
async fn device_is_signed_out_from_another() {
    let sessions = sessions().unwrap();
    let address = serve(&sessions);
    let app = init_service(App::new().configure(routes(&sessions))).await;
    let (mut phone, mut laptop) = (Client::new("a <phone>"), Client::new("a laptop"));
    phone.login(&app).await;
    laptop.login(&app).await;
    let (mut from_phone, mut from_laptop) =
        (phone.echo(&address).await, laptop.echo(&address).await);
    from_phone.answers().await;

    let page = laptop.get(&app, "/account").await.text;
    assert!(page.contains("a &lt;phone&gt; <form"), "{page}");
    let [phones, own] = fields(&page, "id")[..] else { panic!("{page}") };
    let form = [("csrf_token", csrf(&page)), ("id", phones)];
    assert_eq!(laptop.post(&app, "/account/revoke", &form).await.location, "/account");
    from_phone.is_closed().await;
    assert_eq!(phone.get(&app, "/account").await.status, 303);
    from_laptop.answers().await;
    assert_eq!(fields(&laptop.get(&app, "/account").await.text, "id"), [own]);
}

#[actix_web::test]
async fn logout_closes_the_connection() {
    let sessions = sessions().unwrap();
    let address = serve(&sessions);
    let app = init_service(App::new().configure(routes(&sessions))).await;
    let mut ada = Client::new("a phone");
    ada.login(&app).await;
    let mut socket = ada.echo(&address).await;
    socket.answers().await;
    let page = ada.get(&app, "/account").await.text;
    ada.post(&app, "/account/logout", &[("csrf_token", csrf(&page))]).await;
    socket.is_closed().await;
}

#[actix_web::test]
async fn visitors_and_other_sites_get_no_connection() {
    let sessions = sessions().unwrap();
    let address = serve(&sessions);
    let app = init_service(App::new().configure(routes(&sessions))).await;
    let mut ada = Client::new("a phone");
    let here = format!("http://{address}");
    assert_eq!(ada.echo_from(&address, &here).await.err(), Some(401));
    ada.login(&app).await;
    assert_eq!(ada.echo_from(&address, "https://evil.example").await.err(), Some(403));
}
