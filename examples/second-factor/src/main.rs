//! Sign-in with a password and a code of an authenticator (TOTP, RFC 6238).
//!
//! The password creates a session at level one, the code raises it to level two. Whatever protects
//! the codes is stored with the user, and not with the session.
//!
//! ```console
//! $ cargo run -p second-factor &
//! $ curl -c jar -d 'name=ada' -d 'password=lovelace' http://127.0.0.1:3000/login
//! $ curl -b jar -X POST http://127.0.0.1:3000/enroll
//! {"secret":"JBSWY3DP…","url":"otpauth://totp/Example:ada?secret=JBSWY3DP…&issuer=Example"}
//! $ curl -b jar -c jar -d code=492039 http://127.0.0.1:3000/enroll/confirm
//! {"other_sessions_ended":true,"recovery_codes":["MFRGGZDFMZTWQ2LK",…]}
//! $ curl -b jar http://127.0.0.1:3000/profile
//! you are ada
//! $ curl -c jar -d 'name=ada' -d 'password=lovelace' http://127.0.0.1:3000/login
//! $ curl -b jar -c jar -d code=287082 http://127.0.0.1:3000/code
//! $ curl -b jar http://127.0.0.1:3000/profile
//! you are ada
//! ```

mod users;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use kvolt::{
    Level, Manager, MemoryStore, NewSession, Result, Session, SessionHandle, Sessions, StepUp,
};
use serde::Deserialize;
use serde_json::json;
use totp_rs::{Builder, Secret, Totp, TotpError};

use users::{Checked, Users, random, seconds};

const RECENT: StepUp = StepUp::within(Duration::from_secs(5 * 60));

/// The data of a session.
#[derive(Clone)]
struct User {
    name: String,
    /// Of an enrolment that is not confirmed. With a store on another machine, wrap the codec of the
    /// sessions in `Encrypted`.
    enrolling: Option<Secret>,
}

#[derive(Deserialize)]
struct Credentials {
    name: String,
    password: String,
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

type Shared = State<Arc<Users>>;

/// Replace this with your own check.
fn are_right(given: &Credentials) -> bool {
    (given.name == "ada" && given.password == "lovelace")
        || (given.name == "bob" && given.password == "builder")
}

async fn login(client: SessionHandle<User>, Form(given): Form<Credentials>) -> Result<Response> {
    if !are_right(&given) {
        return Ok((StatusCode::UNAUTHORIZED, "wrong name or password\n").into_response());
    }
    let user = User { name: given.name.clone(), enrolling: None };
    client.login(NewSession::new(user).owner(given.name).level(Level::One)).await?;
    Ok("now send the code\n".into_response())
}

/// The second factor, at a sign-in and before a sensitive action.
///
/// The code is used up first. If the store of the sessions fails then, the user needs another one.
async fn code(
    State(users): Shared,
    user: Session<User>,
    Form(given): Form<Code>,
) -> Result<Response> {
    let now = user.handle().manager().clock().now();
    Ok(match users.check(&user.name, &given.code, now) {
        Checked::Right => user.reauthenticate(Level::Two).await?.into_response(),
        Checked::Wrong => (StatusCode::FORBIDDEN, "wrong code\n").into_response(),
        Checked::TooMany(wait) => {
            let seconds = wait.as_secs() + 1;
            let headers = [(header::RETRY_AFTER, seconds.to_string())];
            (StatusCode::TOO_MANY_REQUESTS, headers, "too many wrong codes\n").into_response()
        }
    })
}

/// A user with a second factor proves it before replacing it: a password alone is not enough. A
/// user without one enrols with the password.
fn required(is_enrolled: bool) -> StepUp {
    RECENT.and_level(if is_enrolled { Level::Two } else { Level::One })
}

/// Six digits for 30 seconds: what every authenticator can do.
fn totp(name: &str, secret: Secret) -> Result<Totp, TotpError> {
    Builder::new().with_secret(secret).with_issuer(Some("Example")).with_account_name(name).build()
}

/// Makes a secret. It is the second factor only after the authenticator has shown that it has it.
async fn enroll(State(users): Shared, mut user: Session<User>) -> Result<Response> {
    user.require(required(users.has_second_factor(&user.name)))?;
    let secret = random::<20>();
    user.update(|user| user.enrolling = Some(secret.clone())).await?;
    let url = totp(&user.name, secret.clone()).and_then(|totp| totp.to_url());
    Ok(match url {
        Ok(url) => Json(json!({ "secret": secret.to_base32(), "url": url })).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    })
}

/// Stores the second factor after its first code. The recovery codes are shown this once.
async fn confirm(
    State(users): Shared,
    mut user: Session<User>,
    Form(given): Form<Code>,
) -> Result<Response> {
    let is_enrolled = users.has_second_factor(&user.name);
    user.require(required(is_enrolled))?;
    let now = seconds(user.handle().manager().clock().now());
    // The update takes the secret out of the session if the code is right. It is a compare-and-swap:
    // of two requests, one gets the secret.
    let mut confirmed = None;
    user.update(|user| {
        confirmed = user.enrolling.clone().and_then(|secret| {
            let totp = totp(&user.name, secret).ok()?;
            let step = totp.check(&given.code, now)?;
            user.enrolling = None;
            Some((totp, step))
        });
    })
    .await?;
    let Some((totp, step)) = confirmed else {
        return Ok((StatusCode::FORBIDDEN, "wrong code\n").into_response());
    };
    // The user's other sessions have not proved it. They end first: if the store fails, nothing is
    // enrolled, and the user starts again.
    user.change_credentials(None).await?;
    let Some(codes) = users.enroll(&user.name, totp, step, is_enrolled) else {
        return Ok((StatusCode::CONFLICT, "start again\n").into_response());
    };
    // If the store fails from here on, the answer still has the codes, which are shown only now.
    let finished = async {
        user.reauthenticate(Level::Two).await?;
        user.change_credentials(None).await // sessions that have begun meanwhile
    };
    let is_finished = finished.await.is_ok();
    let answer = json!({ "recovery_codes": codes, "other_sessions_ended": is_finished });
    Ok(Json(answer).into_response())
}

async fn profile(user: Session<User>) -> String {
    format!("you are {}\n", user.name)
}

async fn pay(user: Session<User>) -> String {
    format!("{} paid\n", user.name)
}

fn app(sessions: &Sessions<User>) -> Router {
    let both_factors = StepUp::at_level(Level::Two);
    let open = Router::new().route("/login", post(login)).route_layer(sessions.layer().optional());
    let one_factor = Router::new()
        .route("/code", post(code))
        .route("/enroll", post(enroll))
        .route("/enroll/confirm", post(confirm))
        .route_layer(sessions.layer().strict());
    let two_factors = Router::new()
        .route("/profile", get(profile))
        .route_layer(sessions.layer().require(both_factors));
    let sensitive = Router::new()
        .route("/pay", post(pay))
        .route_layer(sessions.layer().strict().require(both_factors.and(RECENT)));
    let app = open.merge(one_factor).merge(two_factors).merge(sensitive);
    app.with_state(Arc::new(Users::default()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let sessions = Sessions::new(Manager::new(MemoryStore::new()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    Ok(axum::serve(listener, app(&sessions)).await?)
}

#[cfg(test)]
mod tests;
