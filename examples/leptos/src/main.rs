//! Leptos server functions, on the server: sign in, read the session, change it, sign out.
//!
//! The page is rendered while it is sent, so its server functions run after the response's head.
//! Their changes of the session are in the store when the call returns, and so are kept. A cookie
//! needs the head: sign in by a form or an action, as here, and not while a page is rendered.
//!
//! After `cargo run -p leptos-example`, open <http://localhost:3000/>, or:
//!
//! ```console
//! $ curl -c jar -d 'name=ada&password=lovelace' http://127.0.0.1:3000/api/login
//! null
//! $ curl -b jar http://127.0.0.1:3000/
//! …ada was here 1 times…
//! $ curl -b jar -c jar -X POST http://127.0.0.1:3000/api/logout
//! null
//! ```

use std::sync::LazyLock;

use kvolt::{Manager, MemoryStore, NewSession, Session, SessionHandle, Sessions};
use leptos::prelude::*;
use leptos_axum::{AxumRouteListing, LeptosRoutes, extract, generate_route_list};
use leptos_router::components::{Route, Router, Routes};
use leptos_router::path;
use serde::{Deserialize, Serialize};

/// The data of a session.
#[derive(Clone, Serialize, Deserialize)]
struct User {
    name: String,
    visits: u32,
}

/// Replace this with your own check of the password.
#[server(endpoint = "login")]
async fn login(name: String, password: String) -> Result<(), ServerFnError> {
    if name != "ada" || password != "lovelace" {
        return Err(ServerFnError::new("wrong name or password"));
    }
    let client: SessionHandle<User> = extract().await?;
    client.login(NewSession::new(User { name: name.clone(), visits: 0 }).owner(name)).await?;
    Ok(())
}

/// Counts a visit. `None` without a session.
#[server(endpoint = "visit")]
async fn visit() -> Result<Option<User>, ServerFnError> {
    let Some(mut session) = extract::<Option<Session<User>>>().await? else { return Ok(None) };
    session.update(|user| user.visits += 1).await?;
    Ok(Some(session.data().clone()))
}

#[server(endpoint = "logout")]
async fn logout() -> Result<(), ServerFnError> {
    let client: SessionHandle<User> = extract().await?;
    client.logout().await?;
    Ok(())
}

#[component]
fn Page() -> impl IntoView {
    let user = Resource::new(|| (), |()| visit());
    view! {
        <!DOCTYPE html>
        <title>"Leptos"</title>
        <Suspense fallback=|| "…">
            {move || Suspend::new(async move {
                match user.await {
                    Ok(Some(user)) => view! { <Visitor user/> }.into_any(),
                    Ok(None) => view! { <SignIn/> }.into_any(),
                    Err(_) => "try again later".into_any(),
                }
            })}
        </Suspense>
    }
}

#[component]
fn Visitor(user: User) -> impl IntoView {
    let logout = ServerAction::<Logout>::new();
    view! {
        <p>{format!("{} was here {} times", user.name, user.visits)}</p>
        <ActionForm action=logout><button>"Sign out"</button></ActionForm>
    }
}

#[component]
fn SignIn() -> impl IntoView {
    let login = ServerAction::<Login>::new();
    view! {
        <ActionForm action=login>
            <input name="name"/>
            <input name="password" type="password"/>
            <button>"Sign in"</button>
        </ActionForm>
    }
}

#[component]
fn App() -> impl IntoView {
    view! {
        <Router>
            <Routes fallback=|| "nothing here">
                <Route path=path!("/") view=Page/>
            </Routes>
        </Router>
    }
}

/// The routes of the pages. While Leptos makes this list, no resource loads in the whole process: a
/// page that is rendered meanwhile would wait for ever.
static ROUTES: LazyLock<Vec<AxumRouteListing>> = LazyLock::new(|| generate_route_list(App));

/// The layer goes around pages and server functions alike.
fn app(manager: Manager<User>) -> axum::Router {
    let sessions = Sessions::new(manager);
    let options = LeptosOptions::builder().output_name("leptos-example").build();
    axum::Router::new()
        .leptos_routes(&options, ROUTES.clone(), App)
        .layer(sessions.layer().optional())
        .with_state(options)
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let app = app(Manager::new(MemoryStore::new()));
    axum::serve(tokio::net::TcpListener::bind("127.0.0.1:3000").await?, app).await
}

#[cfg(test)]
mod tests;
