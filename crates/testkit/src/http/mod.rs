#![doc = include_str!("adapters.md")]
//!
//! [`http_suite!`]: crate::http_suite
//! [`conformance`]: crate::conformance

mod client;
mod connections;
mod devices;
mod forms;
mod layers;
mod origins;
mod outages;
mod responses;
mod rotation;
mod running;
mod signing_in;
mod step_up;
mod time;
mod tokens;
mod visitors;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

pub use self::connections::*;
pub use self::devices::*;
pub use self::forms::*;
pub use self::layers::*;
pub use self::origins::*;
pub use self::outages::*;
pub use self::responses::*;
pub use self::rotation::*;
#[doc(hidden)]
pub use self::running::run;
pub use self::running::{check_law, check_laws, laws};
pub use self::signing_in::*;
pub use self::step_up::*;
pub use self::time::*;
pub use self::tokens::*;
pub use self::visitors::*;

/// The name of the session's cookie.
pub const COOKIE: &str = "__Host-session_id";

/// Where the application searches for the token.
pub const LOOKUP: &str = "cookie:__Host-session_id,header:Authorization";

/// How long a session lives without use: ten minutes.
pub const IDLE: Duration = Duration::from_secs(600);

/// How long a session lives at most: one hour.
pub const LIFETIME: Duration = Duration::from_secs(3_600);

/// How long a remembered session lives without use: seven days.
pub const REMEMBERED_IDLE: Duration = Duration::from_secs(7 * 86_400);

/// How long a remembered session lives at most: thirty days.
pub const REMEMBERED_LIFETIME: Duration = Duration::from_secs(30 * 86_400);

/// The age at which a token is replaced: half an hour.
pub const ROTATE_EVERY: Duration = Duration::from_secs(1_800);

/// How long a previous token is accepted: ten seconds. After twice that time, its use ends the
/// session.
pub const GRACE: Duration = Duration::from_secs(10);

/// The age of an authentication that counts as recent: five minutes.
pub const FRESH: Duration = Duration::from_secs(300);

/// How many sessions an owner may have. One more is refused.
pub const LIMIT: u32 = 4;

/// An origin whose pages may change state.
pub const TRUSTED_ORIGIN: &str = "https://trusted.example";

/// The body of `/encoded` and `/encoded-error`: a text, compressed by gzip.
pub const ENCODED: [u8; 30] = [
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 75, 206, 207, 45, 40, 74, 45, 46, 78, 77, 1, 0, 30, 75, 86,
    151, 10, 0, 0, 0,
];

/// The `Host` of every request.
const HOST: &str = "app.test";

/// The `Set-Cookie` of a logout.
const CLEARED_COOKIE: &str = "__Host-session_id=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 \
                              00:00:00 GMT; HttpOnly; Secure; SameSite=Lax";

/// The headers of a WebSocket's handshake, with the key of RFC 6455, section 1.3.
const WEBSOCKET: [(&str, &str); 4] = [
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// A running application with the routes and the settings of [this page](self), on an empty store
/// that no other law uses.
///
/// A hook that does nothing returns `false`, which is the default. The laws that need it are then
/// reported as not checked, or left out by name with `without` in
/// [`http_suite!`](crate::http_suite).
pub trait Application {
    /// The address of its server, which speaks HTTP/1.1 without TLS.
    fn address(&self) -> SocketAddr;

    /// Moves the store's clock forward.
    fn advance(&self, by: Duration) -> impl Future<Output = bool> {
        let _ = by;
        async { false }
    }

    /// Makes each call of the store fail as unavailable, or makes the store work again, such as
    /// with [`Faults::fail_all`](crate::Faults::fail_all).
    fn fail_store(&self, fail: bool) -> impl Future<Output = bool> {
        let _ = fail;
        async { false }
    }

    /// Changes the session with this id in the store, so that its data can't be decoded any longer.
    /// The envelope of its record stays.
    fn damage(&self, id: &str) -> impl Future<Output = bool> {
        let _ = id;
        async { false }
    }
}

async fn advance(application: &impl Application, by: Duration) {
    running::require("advance", application.advance(by).await);
}

async fn fail_store(application: &impl Application, fail: bool) {
    running::require("fail_store", application.fail_store(fail).await);
}

async fn damage(application: &impl Application, id: &str) {
    running::require("damage", application.damage(id).await);
}

/// Makes a test of every law, for an [`Application`].
///
/// `http_suite!(start().await)` evaluates the expression in each test, in a Tokio runtime of one
/// thread. `http_suite!(start().await, without [advance, damage])` ignores the laws that need one of
/// these hooks: each is listed as ignored, with the hook.
#[macro_export]
macro_rules! http_suite {
    ($application:expr) => {
        $crate::http_suite!($application, without []);
    };
    ($application:expr, without [$($hook:ident),*]) => {
        $crate::each_http_law!([$crate::http_tests] { [$($hook)*] { $application } });
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! http_tests {
    ({ $without:tt $application:tt } $($law:ident $(needs $hook:ident)?;)+) => {
        $( $crate::http_test!([$($hook)?] $without $without $application $law); )+
    };
}

/// Compares the hook that a law needs with each that is left out.
#[doc(hidden)]
#[macro_export]
macro_rules! http_test {
    ([$($hook:ident)?] [] $without:tt $application:tt $law:ident) => {
        #[test]
        fn $law() {
            $crate::http::run(async { $crate::http::$law(&$application).await });
        }
    };
    ([advance] [advance $($rest:ident)*] $without:tt $application:tt $law:ident) => {
        $crate::http_test!(@ignored "the application has no hook `advance`", $application $law);
    };
    ([fail_store] [fail_store $($rest:ident)*] $without:tt $application:tt $law:ident) => {
        $crate::http_test!(@ignored "the application has no hook `fail_store`", $application $law);
    };
    ([damage] [damage $($rest:ident)*] $without:tt $application:tt $law:ident) => {
        $crate::http_test!(@ignored "the application has no hook `damage`", $application $law);
    };
    ([$($hook:ident)?] [$other:ident $($rest:ident)*] $without:tt $application:tt $law:ident) => {
        $crate::http_test!([$($hook)?] [$($rest)*] $without $application $law);
    };
    (@ignored $why:literal, $application:tt $law:ident) => {
        #[test]
        #[ignore = $why]
        fn $law() {
            $crate::http::run(async { $crate::http::$law(&$application).await });
        }
    };
}

/// Calls a macro with its arguments, and the names of all laws with the hooks that they need.
#[doc(hidden)]
#[macro_export]
macro_rules! each_http_law {
    ([$($macro:tt)+] $given:tt) => {
        $($macro)+! {
            $given
            login_sets_one_cookie;
            token_has_48_characters;
            login_is_remembered_by_the_next_request;
            visitor_is_refused_where_a_session_is_required;
            change_is_read_by_the_next_request;
            each_login_gives_another_token;
            login_ends_the_session_before_it;
            login_at_the_limit_is_a_409;
            refused_login_changes_nothing;
            logout_clears_the_cookie;
            logout_ends_the_session;
            logout_with_an_ended_token_clears_the_cookie;
            logout_without_a_token_sets_no_cookie;
            remembered_cookie_has_a_max_age;
            chosen_token_is_never_adopted;
            malformed_cookie_is_ignored;
            changed_token_is_refused;
            session_id_is_not_a_token;
            cookie_is_found_among_others;
            two_different_cookies_are_refused;
            logout_ends_the_sessions_of_all_cookies;
            oversized_cookie_header_is_not_searched;
            token_is_accepted_at_its_sources_only;
            bearer_token_is_accepted;
            two_different_headers_are_refused;
            bearer_token_goes_back_in_its_header;
            first_source_with_a_token_decides;
            refusal_challenges_bearer_clients;
            rotation_keeps_the_session;
            old_token_is_accepted_in_its_grace;
            old_token_is_refused_after_its_grace needs advance;
            reused_token_ends_the_session needs advance;
            logout_in_the_grace_ends_the_session;
            new_token_survives_a_failing_handler;
            due_token_is_rotated_once needs advance;
            parallel_requests_get_one_new_token needs advance;
            peek_rotates_no_token needs advance;
            changed_credentials_end_the_other_sessions;
            session_response_is_not_cached;
            visitor_response_varies;
            handler_can_be_stricter_about_caches;
            handler_s_vary_is_combined;
            handler_s_cookies_are_kept;
            independent_response_keeps_its_caching;
            not_modified_is_untouched;
            encoded_body_is_untouched;
            encoded_error_can_be_decoded;
            head_request_has_no_body;
            unchanged_token_sets_no_cookie;
            errors_are_json_where_it_was_asked_for;
            handler_s_error_still_clears_the_cookie;
            unknown_route_is_a_404;
            cross_site_request_is_rejected;
            cross_site_login_is_rejected;
            only_safe_methods_are_admitted_cross_site;
            own_request_is_admitted;
            origin_is_compared_with_the_host;
            trusted_origin_is_admitted;
            header_token_is_admitted_cross_site;
            one_route_can_admit_other_sites;
            cross_site_websocket_is_rejected;
            rejection_says_why;
            form_is_accepted_with_its_token;
            form_without_its_token_is_rejected;
            form_token_ends_at_the_login;
            form_token_replaces_no_other_check;
            messages_are_shown_once;
            message_is_shown_by_one_of_parallel_pages;
            sensitive_route_needs_recent_authentication needs advance;
            strong_route_needs_its_level;
            handler_can_require_a_level;
            refusal_says_what_is_missing;
            reauthentication_gives_a_new_token;
            missing_session_asks_to_sign_in;
            visitor_session_begins_with_a_write;
            visitor_session_is_hidden_elsewhere;
            login_carries_the_basket_over;
            visitor_logout_ends_the_basket;
            nested_layers_are_one;
            inner_layer_can_require_more;
            browser_is_sent_to_the_sign_in_page;
            page_below_a_prefix_keeps_its_path;
            handler_without_its_layer_is_a_500;
            only_browsers_are_redirected;
            browser_is_sent_to_the_step_up_page;
            list_has_the_owner_s_sessions;
            one_session_is_revoked_by_its_id;
            others_are_revoked;
            all_are_revoked;
            stream_ends_with_a_logout;
            stream_ends_with_a_revocation;
            stream_ends_with_the_next_login;
            stream_survives_a_rotation;
            stream_is_not_cached;
            websocket_ends_with_its_session;
            websocket_needs_a_session;
            parallel_changes_are_all_kept;
            call_takes_effect_before_the_response;
            logout_is_never_undone;
            idle_session_ends needs advance;
            used_session_stays needs advance;
            peek_keeps_no_session_alive needs advance;
            rejected_request_keeps_no_session_alive needs advance;
            used_session_ends_after_its_lifetime needs advance;
            remembered_session_lasts_longer needs advance;
            rotated_cookie_is_kept_for_the_rest needs advance;
            outage_is_a_503 needs fail_store;
            login_during_an_outage_sets_nothing needs fail_store;
            outage_is_no_logout needs fail_store;
            outage_does_not_affect_visitors needs fail_store;
            unreadable_session_is_a_500 needs damage;
            unreadable_session_can_be_signed_out needs damage;
            unreadable_session_is_replaced_by_a_login needs damage;
        }
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn suite_has_every_law_that_is_written() {
        let files = [
            include_str!("connections.rs"),
            include_str!("devices.rs"),
            include_str!("forms.rs"),
            include_str!("layers.rs"),
            include_str!("origins.rs"),
            include_str!("outages.rs"),
            include_str!("responses.rs"),
            include_str!("rotation.rs"),
            include_str!("signing_in.rs"),
            include_str!("step_up.rs"),
            include_str!("time.rs"),
            include_str!("tokens.rs"),
            include_str!("visitors.rs"),
        ];
        let after = files.iter().flat_map(|file| file.split("\npub async fn ").skip(1));
        let mut written: Vec<_> = after.filter_map(|rest| rest.split('(').next()).collect();
        let mut listed = super::laws();
        written.sort_unstable();
        listed.sort_unstable();
        assert_eq!(listed, written);
    }
}
