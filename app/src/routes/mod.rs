//! Which path leads where, and what each needs.

mod admin;
mod api;
mod audit;
mod counter;
mod csrf;
mod events;
mod home;
mod live;
mod login;
mod password;
mod profile;
mod reauthenticate;
mod sessions;
mod ws;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header::{
    CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{delete, get, post};

use crate::negotiate::refuse;
use crate::pages;
use crate::state::App;

/// No request here has a larger body.
const MAX_BODY_LEN: usize = 16 * 1024;

pub(crate) fn router(app: App) -> Router {
    let cookies = app.cookies().layer();
    let headers = app.headers().layer();

    // These need a session in the cookie.
    let private = Router::new()
        .route("/profile", get(profile::show))
        .route("/counter", get(counter::show).post(counter::add))
        .route("/csrf", get(csrf::show))
        .route("/reauthenticate", get(reauthenticate::show).post(reauthenticate::prove))
        .route_layer(cookies.clone());

    // Who sees and ends sessions is asked for in the store itself, whatever is near.
    let sensitive = Router::new()
        .route("/sessions", get(sessions::list))
        .route("/sessions/{id}", delete(sessions::end))
        .route("/sessions/{id}/end", post(sessions::end))
        .route("/sessions/revoke-others", post(sessions::revoke_others))
        .route("/sessions/revoke-all", post(sessions::revoke_all))
        .route_layer(cookies.clone().strict());

    // These need a password that was given a short time ago, too.
    let guarded = Router::new()
        .route("/password", get(password::show).post(password::change))
        .route("/admin", get(admin::list))
        .route("/admin/sessions/{id}/end", post(admin::end))
        .route("/admin/users/{id}/end", post(admin::end_user))
        .route("/admin/end-everyone", post(admin::revoke_everyone))
        .route("/audit", get(audit::show))
        .route_layer(cookies.clone().strict().require(app.fresh()));

    // An open connection must not keep an idle session alive.
    let watching = Router::new()
        .route("/events", get(events::stream))
        .route("/ws", get(ws::open))
        .route_layer(cookies.clone().peek());

    // These merely know about one.
    let public = Router::new()
        .route("/", get(home::show))
        .route("/login", get(login::to_form).post(login::sign_in))
        .route("/logout", post(login::sign_out))
        .route_layer(cookies.optional());

    // The same sessions by header, for programs. They take no cookie and set none.
    let api =
        Router::new().route("/profile", get(profile::show)).route_layer(headers.clone()).merge(
            Router::new()
                .route("/login", post(api::sign_in))
                .route("/logout", post(api::sign_out))
                .route_layer(headers.optional()),
        );

    Router::new()
        .merge(private)
        .merge(sensitive)
        .merge(guarded)
        .merge(watching)
        .merge(public)
        .nest("/api", api)
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/style.css", get(pages::style))
        .route("/live.js", get(pages::script))
        .fallback(|| async { refuse(StatusCode::NOT_FOUND, "there is nothing here") })
        .layer(DefaultBodyLimit::max(MAX_BODY_LEN))
        .layer(map_response(protect))
        .with_state(app)
}

/// What every response tells browsers: nothing from elsewhere, no frames, no guessing.
async fn protect(mut response: Response) -> Response {
    let policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, policy),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
