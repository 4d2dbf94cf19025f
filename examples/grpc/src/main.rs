//! Services of tonic behind the session layer. The token travels in the metadata `authorization`,
//! both ways: a client sends it with each call, and replaces it when a response brings another one.
//!
//! | call | without a session | otherwise |
//! |---|---|---|
//! | `bank.Accounts/SignIn` | a new token | a new token, and the old session ends |
//! | `bank.Accounts/ConfirmPassword` | `UNAUTHENTICATED` | a new token |
//! | `bank.Accounts/SignOut` | | the session ends |
//! | `bank.Balances/Read` | `UNAUTHENTICATED` | the balance |
//! | `bank.Balances/Watch` | `UNAUTHENTICATED` | a stream that follows its session and ends with it |
//! | `bank.Payments/Pay` | `UNAUTHENTICATED` | `PERMISSION_DENIED` 5 minutes after the password |

mod messages;

use std::error::Error;
use std::pin::Pin;
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt};
use kvolt::{Level, Manager, MemoryStore, NewSession, Session, SessionHandle, Sessions, StepUp};
use tonic::service::{LayerExt, Routes};
use tonic::transport::Server;
use tonic::{Request, Response, Status, async_trait};

use generated::accounts_server::{Accounts, AccountsServer};
use generated::balances_server::{Balances, BalancesServer};
use generated::payments_server::{Payments, PaymentsServer};
use messages::{Balance, Credentials, Empty, Payment};

/// The traits, servers and clients that `build.rs` generates.
#[allow(unreachable_pub, unused_qualifications, reason = "the code is generated")]
mod generated {
    tonic::include_proto!("bank.Accounts");
    tonic::include_proto!("bank.Balances");
    tonic::include_proto!("bank.Payments");
}

/// The data of a session.
#[derive(Clone)]
struct Customer {
    name: String,
    cents: u64,
}

/// The session's error as a status, with its metadata.
fn status(error: kvolt::Error) -> Status {
    Status::from_header_map(&error.to_grpc()).expect("an error has a code")
}

/// The client of a call, with or without a session.
fn client<M>(request: &Request<M>) -> Result<SessionHandle<Customer>, Status> {
    SessionHandle::from_extensions(request.extensions()).map_err(status)
}

/// The session of a call, or `UNAUTHENTICATED`.
fn session<M>(request: &Request<M>) -> Result<Session<Customer>, Status> {
    Session::from_extensions(request.extensions()).map_err(status)
}

/// Replace this with your own check.
fn check(given: &Credentials) -> Result<(), Status> {
    let is_right = given.name == "ada" && given.password == "lovelace";
    is_right.then_some(()).ok_or_else(|| Status::unauthenticated("wrong name or password"))
}

struct Bank;

#[async_trait]
impl Accounts for Bank {
    async fn sign_in(&self, request: Request<Credentials>) -> Result<Response<Empty>, Status> {
        let given = request.get_ref();
        check(given)?;
        let customer = Customer { name: given.name.clone(), cents: 1_000 };
        let session = NewSession::new(customer).owner(given.name.clone());
        client(&request)?.login(session).await.map_err(status)?;
        Ok(Response::new(Empty {}))
    }

    async fn confirm_password(
        &self,
        request: Request<Credentials>,
    ) -> Result<Response<Empty>, Status> {
        let session = session(&request)?;
        if request.get_ref().name != session.name {
            return Err(Status::unauthenticated("wrong name or password"));
        }
        check(request.get_ref())?;
        session.reauthenticate(Level::One).await.map_err(status)?;
        Ok(Response::new(Empty {}))
    }

    async fn sign_out(&self, request: Request<Empty>) -> Result<Response<Empty>, Status> {
        client(&request)?.logout().await.map_err(status)?;
        Ok(Response::new(Empty {}))
    }
}

#[async_trait]
impl Balances for Bank {
    async fn read(&self, request: Request<Empty>) -> Result<Response<Balance>, Status> {
        let session = session(&request)?;
        Ok(Response::new(Balance { cents: session.cents }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<Balance, Status>> + Send>>;

    /// Sends the balance, and again after each change of the session, until the session ends.
    async fn watch(&self, request: Request<Empty>) -> Result<Response<Self::WatchStream>, Status> {
        let session = session(&request)?;
        let now = stream::iter([Ok(Balance { cents: session.cents })]);
        let changes = stream::unfold(session.live(), async |mut live| {
            let cents = live.changed().await?.data().cents;
            Some((Ok(Balance { cents }), live))
        });
        let ended = stream::iter([Err(Status::unauthenticated("the session has ended"))]);
        Ok(Response::new(Box::pin(now.chain(changes).chain(ended))))
    }
}

#[async_trait]
impl Payments for Bank {
    async fn pay(&self, request: Request<Payment>) -> Result<Response<Balance>, Status> {
        let mut session = session(&request)?;
        let cents = request.get_ref().cents;
        let mut is_paid = false;
        let paid = session.update(|customer| {
            let left = customer.cents.checked_sub(cents);
            is_paid = left.is_some();
            customer.cents = left.unwrap_or(customer.cents);
        });
        let cents = paid.await.map_err(status)?.data().cents;
        if !is_paid {
            return Err(Status::failed_precondition("the balance is too low"));
        }
        Ok(Response::new(Balance { cents }))
    }
}

/// The services, each behind its own layer.
fn services(manager: Manager<Customer>) -> Result<Routes, Box<dyn Error>> {
    let sessions = Sessions::builder(manager).lookup("header:Authorization".parse()?).build()?;
    let open = sessions.layer().optional();
    let closed = sessions.layer();
    let recent = sessions.layer().require(StepUp::within(Duration::from_secs(5 * 60)));
    Ok(Routes::new(open.named_layer(AccountsServer::new(Bank)))
        .add_service(closed.named_layer(BalancesServer::new(Bank)))
        .add_service(recent.named_layer(PaymentsServer::new(Bank))))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let services = services(Manager::new(MemoryStore::new()))?;
    Ok(Server::builder().add_routes(services).serve("127.0.0.1:3000".parse()?).await?)
}

#[cfg(test)]
mod tests;
