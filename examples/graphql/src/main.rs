//! GraphQL with async-graphql: the session in resolvers, sign-in and logout as mutations, and a
//! subscription that ends with the session.
//!
//! ```console
//! $ cargo run -p graphql &
//! $ URL=http://127.0.0.1:3000/graphql
//! $ LOGIN='mutation { login(name: \"ada\", password: \"lovelace\") { name } }'
//! $ curl -c jar --json "{\"query\": \"$LOGIN\"}" $URL
//! {"data":{"login":{"name":"ada"}}}
//! $ curl -b jar --json '{"query": "mutation { visit }"}' $URL
//! {"data":{"visit":1}}
//! $ curl -b jar --json '{"query": "{ me { name visits } }"}' $URL
//! {"data":{"me":{"name":"ada","visits":1}}}
//! $ curl -b jar -c jar --json '{"query": "mutation { logout }"}' $URL
//! {"data":{"logout":true}}
//! $ curl -b jar --json '{"query": "{ me { name } }"}' $URL
//! {"data":null,"errors":[{"message":"sign in first",…}]}
//! ```

use async_graphql::http::ALL_WEBSOCKET_PROTOCOLS;
use async_graphql::{Context, Data, Object, Result, Schema, SimpleObject, Subscription};
use async_graphql_axum::{GraphQLProtocol, GraphQLRequest, GraphQLResponse, GraphQLWebSocket};
use axum::Router;
use axum::extract::{State, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::{get, post};
use futures_util::stream::{self, Stream};
use kvolt::{Manager, MemoryStore, NewSession, Session, SessionHandle, Sessions};

/// The data of a session.
#[derive(Clone, SimpleObject)]
struct User {
    name: String,
    visits: u32,
}

/// Signs the client in and out.
fn client<'a>(context: &Context<'a>) -> Result<&'a SessionHandle<User>> {
    context.data()
}

/// The session, or `None` for a visitor.
fn optional_session(context: &Context<'_>) -> Result<Option<Session<User>>> {
    Ok(client(context)?.clone().try_into_session()?)
}

/// The session, for fields that need one.
fn session(context: &Context<'_>) -> Result<Session<User>> {
    optional_session(context)?.ok_or_else(|| "sign in first".into())
}

struct Query;

#[Object]
impl Query {
    async fn me(&self, context: &Context<'_>) -> Result<User> {
        Ok(session(context)?.data().clone())
    }

    /// For visitors too.
    async fn greeting(&self, context: &Context<'_>) -> Result<String> {
        let session = optional_session(context)?;
        Ok(session.map_or("hello".to_owned(), |user| format!("hello {}", user.name)))
    }
}

struct Mutation;

#[Object]
impl Mutation {
    /// Replace this with your own check of the password.
    async fn login(&self, context: &Context<'_>, name: String, password: String) -> Result<User> {
        if name != "ada" || password != "lovelace" {
            return Err("wrong name or password".into());
        }
        let user = User { name: name.clone(), visits: 0 };
        client(context)?.login(NewSession::new(user.clone()).owner(name)).await?;
        Ok(user)
    }

    async fn visit(&self, context: &Context<'_>) -> Result<u32> {
        let mut session = session(context)?;
        session.update(|user| user.visits += 1).await?;
        Ok(session.visits)
    }

    async fn logout(&self, context: &Context<'_>) -> Result<bool> {
        client(context)?.logout().await?;
        Ok(true)
    }
}

struct Subscription;

#[Subscription]
impl Subscription {
    /// The visits after each change of the session, by whichever request.
    async fn visits(&self, context: &Context<'_>) -> Result<impl Stream<Item = u32>> {
        Ok(stream::unfold(session(context)?.live(), async |mut live| {
            Some((live.changed().await?.data().visits, live))
        }))
    }
}

type AppSchema = Schema<Query, Mutation, Subscription>;

async fn execute(
    client: SessionHandle<User>,
    State(schema): State<AppSchema>,
    request: GraphQLRequest,
) -> GraphQLResponse {
    schema.execute(request.into_inner().data(client)).await.into()
}

/// The connection is closed when its session ends. Its resolvers have the session of the handshake.
async fn subscribe(
    session: Session<User>,
    State(schema): State<AppSchema>,
    protocol: GraphQLProtocol,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.protocols(ALL_WEBSOCKET_PROTOCOLS).on_upgrade(async move |socket| {
        let mut data = Data::default();
        data.insert(session.handle().clone());
        tokio::select! {
            () = session.live().ended() => {}
            () = GraphQLWebSocket::new(socket, schema, protocol).with_data(data).serve() => {}
        }
    })
}

fn app() -> Router {
    let sessions = Sessions::new(Manager::<User>::new(MemoryStore::new()));
    Router::new()
        // A `GET` could carry a mutation, and pages of other sites can link to it.
        .route("/graphql", post(execute))
        .route("/subscriptions", get(subscribe))
        .layer(sessions.layer().optional())
        .with_state(Schema::new(Query, Mutation, Subscription))
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    axum::serve(tokio::net::TcpListener::bind("127.0.0.1:3000").await?, app()).await
}

#[cfg(test)]
mod tests;
