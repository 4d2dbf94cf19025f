//! The routes, and what each requires.

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
mod readyz;
mod reauthenticate;
mod sessions;
mod ws;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header::{
    CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{from_fn, map_response};
use axum::response::Response;
use axum::routing::{delete, get, post};

use crate::negotiate::{error, format_errors};
use crate::pages;
use crate::sign_in_link;
use crate::state::App;

/// The maximum length of a request's body.
const MAX_BODY_LEN: usize = 16 * 1024;

pub(crate) fn router(app: App) -> Router {
    let cookies = app.cookies().layer();
    let headers = app.headers().layer();

    // Require a session, by cookie.
    let private = Router::new()
        .route("/profile", get(profile::show))
        .route("/counter", get(counter::show).post(counter::add))
        .route("/csrf", get(csrf::show))
        .route("/reauthenticate", get(reauthenticate::show).post(reauthenticate::confirm))
        .route_layer(cookies.clone());

    // Require a session that the store itself confirms, even with a near cache. The actions of
    // administrators ask for the password themselves, so that they can go on after it.
    let sensitive = Router::new()
        .route("/sessions", get(sessions::list))
        .route("/sessions/{id}", delete(sessions::end))
        .route("/sessions/{id}/end", post(sessions::end))
        .route("/sessions/revoke-others", post(sessions::revoke_others))
        .route("/sessions/revoke-all", post(sessions::revoke_all))
        .route("/password", post(password::change))
        .route("/admin/sessions/{id}/end", post(admin::end))
        .route("/admin/users/{id}/end", post(admin::revoke_owner))
        .route("/admin/users/{id}/act", post(admin::act))
        .route("/admin/end-everyone", post(admin::revoke_everyone))
        .route("/acting/end", post(admin::stop_acting))
        .route_layer(cookies.clone().strict());

    // Require, in addition, that the password was given recently.
    let recent = Router::new()
        .route("/password", get(password::show))
        .route("/admin", get(admin::list))
        .route("/audit", get(audit::show))
        .route_layer(cookies.clone().strict().require(app.fresh()));

    // Require a session, and do not extend it: an open connection must not keep it alive.
    let live = Router::new()
        .route("/events", get(events::stream))
        .route("/ws", get(ws::open))
        .route_layer(cookies.clone().peek());

    // Use a session if the request has one.
    let public = Router::new()
        .route("/", get(home::show))
        .route("/login", get(login::to_form).post(login::sign_in))
        .route(sign_in_link::PATH, get(login::by_link))
        .route("/logout", post(login::sign_out))
        .route_layer(cookies.optional());

    // The same sessions by header, for programs: no cookie is read or set.
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
        .merge(recent)
        .merge(live)
        .merge(public)
        .merge(app.cookies().device_bound_routes())
        .nest("/api", api)
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz::show))
        .route("/style.css", get(pages::style))
        .route("/live.js", get(pages::script))
        .route("/favicon.ico", get(pages::icon))
        .fallback(|| async { error(StatusCode::NOT_FOUND, "there is no page at this address") })
        .layer(DefaultBodyLimit::max(MAX_BODY_LEN))
        .layer(from_fn(format_errors))
        .layer(map_response(protect))
        .with_state(app)
}

/// Adds the security headers where the response has none of its own: only this site's files, no
/// frames, no guessed types.
async fn protect(mut response: Response) -> Response {
    let policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, policy),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "same-origin"),
    ] {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
