//! A client of tonic, over a real connection.

use std::future::Future;
use std::time::Duration;

use kvolt::cache::{ManualClock, MemoryStore};
use kvolt::session::Record;
use kvolt::{Manager, Owner, SessionId, Sessions, Token};
use kvolt_testkit::{Faults, FaultyStore};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::codegen::http;
use tonic::metadata::MetadataMap;
use tonic::service::{LayerExt, Routes};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_web::GrpcWebLayer;
use tower::{Layer, ServiceExt};

use super::generated::accounts_client::AccountsClient;
use super::generated::balances_client::BalancesClient;
use super::generated::balances_server::BalancesServer;
use super::generated::payments_client::PaymentsClient;
use super::messages::{Balance, Credentials, Empty, Payment};
use super::{Bank, Customer, services};

const MINUTE: Duration = Duration::from_secs(60);

/// Longer than any machine takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The server, whose time and store the test has in its hands.
struct World {
    clock: ManualClock,
    faults: Faults,
    manager: Manager<Customer>,
    channel: Channel,
}

impl World {
    async fn new() -> Self {
        let clock = ManualClock::new();
        let store = MemoryStore::<Record<Customer>>::builder().clock(clock.clock()).build();
        let (store, faults) = FaultyStore::new(store);
        let manager = Manager::builder(store)
            .idle_timeout(30 * MINUTE)
            .rotate_every(10 * MINUTE)
            .build()
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = services(manager.clone()).unwrap();
        let server = Server::builder().add_routes(routes);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let channel = endpoint.connect().await.unwrap();
        Self { clock, faults, manager, channel }
    }

    fn client(&self) -> Client {
        Client { channel: self.channel.clone(), authorization: None }
    }

    async fn signed_in(&self) -> Client {
        let mut client = self.client();
        client.sign_in("lovelace").await.unwrap();
        assert!(client.authorization.is_some());
        client
    }
}

/// A client that keeps its token.
struct Client {
    channel: Channel,
    authorization: Option<String>,
}

impl Client {
    fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.parse().unwrap());
        }
        request
    }

    /// Keeps a token that a response brings, also a failed one.
    fn keep(&mut self, metadata: &MetadataMap) {
        if let Some(authorization) = metadata.get("authorization") {
            self.authorization = Some(authorization.to_str().unwrap().to_owned());
        }
    }

    async fn receive<M>(
        &mut self,
        call: impl Future<Output = Result<Response<M>, Status>>,
    ) -> Result<M, Status> {
        let received = tokio::time::timeout(PATIENCE, call).await.unwrap();
        match &received {
            Ok(response) => self.keep(response.metadata()),
            Err(status) => self.keep(status.metadata()),
        }
        received.map(Response::into_inner)
    }

    fn credentials(&self, password: &str) -> Request<Credentials> {
        self.request(Credentials { name: "ada".to_owned(), password: password.to_owned() })
    }

    async fn sign_in(&mut self, password: &str) -> Result<Empty, Status> {
        let mut accounts = AccountsClient::new(self.channel.clone());
        let request = self.credentials(password);
        self.receive(accounts.sign_in(request)).await
    }

    async fn confirm_password(&mut self, password: &str) -> Result<Empty, Status> {
        let mut accounts = AccountsClient::new(self.channel.clone());
        let request = self.credentials(password);
        self.receive(accounts.confirm_password(request)).await
    }

    async fn sign_out(&mut self) -> Result<Empty, Status> {
        let mut accounts = AccountsClient::new(self.channel.clone());
        let request = self.request(Empty {});
        self.receive(accounts.sign_out(request)).await
    }

    async fn read(&mut self) -> Result<Balance, Status> {
        let mut balances = BalancesClient::new(self.channel.clone());
        let request = self.request(Empty {});
        self.receive(balances.read(request)).await
    }

    async fn watch(&mut self) -> Result<Streaming<Balance>, Status> {
        let mut balances = BalancesClient::new(self.channel.clone());
        let request = self.request(Empty {});
        self.receive(balances.watch(request)).await
    }

    async fn pay(&mut self, cents: u64) -> Result<Balance, Status> {
        let mut payments = PaymentsClient::new(self.channel.clone());
        let request = self.request(Payment { cents });
        self.receive(payments.pay(request)).await
    }

    fn id(&self) -> SessionId {
        let token = self.authorization.as_deref().unwrap().strip_prefix("Bearer ").unwrap();
        Token::parse(token.as_bytes()).unwrap().id()
    }
}

/// The status that ends a stream.
async fn end(mut stream: Streaming<Balance>) -> Status {
    let messages = async {
        loop {
            if let Err(status) = stream.message().await.map(|message| message.unwrap()) {
                return status;
            }
        }
    };
    tokio::time::timeout(PATIENCE, messages).await.unwrap()
}

#[tokio::test]
async fn client_signs_in_calls_and_signs_out() {
    let world = World::new().await;
    let mut client = world.signed_in().await;
    assert_eq!(client.read().await.unwrap().cents, 1_000);
    assert_eq!(client.pay(300).await.unwrap().cents, 700);
    assert_eq!(client.pay(701).await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(client.read().await.unwrap().cents, 700);

    let first = client.authorization.clone();
    client.sign_in("lovelace").await.unwrap();
    let second = std::mem::replace(&mut client.authorization, first);
    assert_eq!(client.read().await.unwrap_err().code(), Code::Unauthenticated, "it was replaced");
    client.authorization = second;
    client.sign_out().await.unwrap();
    assert_eq!(client.read().await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(world.manager.count().await.unwrap(), 0);
}

#[tokio::test]
async fn client_without_a_session_is_unauthenticated() {
    let world = World::new().await;
    let mut client = world.client();
    assert_eq!(client.sign_in("wrong").await.unwrap_err().message(), "wrong name or password");
    let refused = [
        client.read().await.unwrap_err(),
        client.watch().await.unwrap_err(),
        client.pay(1).await.unwrap_err(),
        client.confirm_password("lovelace").await.unwrap_err(),
    ];
    for status in refused {
        assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "sign in first"));
        assert_eq!(status.metadata().get("www-authenticate").unwrap(), "Bearer");
    }
    client.sign_out().await.unwrap();
}

#[tokio::test]
async fn old_password_is_not_enough_to_pay() {
    let world = World::new().await;
    let mut client = world.signed_in().await;
    world.clock.advance(6 * MINUTE);
    let refused = client.pay(1).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let missing = "insufficient_user_authentication: authenticate again, max_age=300, acr_values=1";
    assert_eq!(refused.message(), missing);
    assert_eq!(client.read().await.unwrap().cents, 1_000, "it is enough to read");

    let before = client.authorization.clone();
    client.confirm_password("lovelace").await.unwrap();
    assert_ne!(client.authorization, before);
    assert_eq!(client.pay(1).await.unwrap().cents, 999);
}

#[tokio::test]
async fn store_that_is_down_is_unavailable() {
    let world = World::new().await;
    let mut client = world.signed_in().await;
    let before = client.authorization.clone();
    world.faults.fail_all(true);
    let down = [
        client.read().await.unwrap_err(),
        client.sign_in("lovelace").await.unwrap_err(),
        client.sign_out().await.unwrap_err(),
    ];
    for status in down {
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "5000");
    }
    world.faults.reset();
    assert_eq!(client.authorization, before);
    assert_eq!(client.read().await.unwrap().cents, 1_000, "the client is still signed in");
}

#[tokio::test]
async fn stream_follows_its_session_and_ends_with_it() {
    let world = World::new().await;
    for way in 0..3 {
        let mut client = world.signed_in().await;
        let mut stream = client.watch().await.unwrap();
        assert_eq!(stream.message().await.unwrap().unwrap().cents, 1_000);
        client.confirm_password("lovelace").await.unwrap();
        assert_eq!(stream.message().await.unwrap().unwrap().cents, 1_000, "a new token is no end");
        client.pay(300).await.unwrap();
        assert_eq!(
            stream.message().await.unwrap().unwrap().cents,
            700,
            "the balance is the new one"
        );
        match way {
            0 => assert!(world.manager.revoke(client.id()).await.unwrap()),
            1 => {
                let ended = world.manager.revoke_owner(&Owner::new("ada").unwrap()).await;
                assert_eq!(ended.unwrap(), 1);
            }
            _ => _ = client.sign_out().await.unwrap(),
        }
        let status = end(stream).await;
        let ended = (Code::Unauthenticated, "the session has ended");
        assert_eq!((status.code(), status.message()), ended);
    }
}

#[tokio::test]
async fn new_token_comes_with_the_head_of_a_stream() {
    let world = World::new().await;
    let mut client = world.signed_in().await;
    let first = client.authorization.clone();
    assert_eq!(client.read().await.unwrap().cents, 1_000);
    assert_eq!(client.authorization, first);
    world.clock.advance(11 * MINUTE);
    let mut stream = client.watch().await.unwrap();
    assert_ne!(client.authorization, first, "a rotation was due");
    assert_eq!(stream.message().await.unwrap().unwrap().cents, 1_000);
    world.clock.advance(MINUTE);
    assert_eq!(client.read().await.unwrap().cents, 1_000);
    client.authorization = first;
    assert_eq!(client.read().await.unwrap_err().code(), Code::Unauthenticated);
}

/// The layer of gRPC-Web may be around the one of sessions or within it.
#[tokio::test]
async fn web_client_gets_the_same_status() {
    let manager = || Manager::new(MemoryStore::new());
    let layer = Sessions::new(manager()).layer();
    let within = layer.named_layer(GrpcWebLayer::new().named_layer(BalancesServer::new(Bank)));
    let around = GrpcWebLayer::new().layer(services(manager()).unwrap());
    let request = || {
        let request = http::Request::post("/bank.Balances/Read");
        let request = request.header("content-type", "application/grpc-web+proto");
        request.body(Body::new(String::from("\0\0\0\0\0"))).unwrap()
    };
    let answers = [
        around.oneshot(request()).await.unwrap(),
        Routes::new(within).oneshot(request()).await.unwrap(),
    ];
    for answer in answers {
        assert_eq!(answer.status(), 200);
        let headers = answer.headers();
        let content_type = headers["content-type"].to_str().unwrap();
        assert!(content_type.starts_with("application/grpc-web"), "{content_type}");
        assert_eq!(headers["grpc-status"], "16");
        assert_eq!(headers["grpc-message"], "sign in first");
    }
}
