//! The faults, and the laws that find them.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, COOKIE, ORIGIN, SET_COOKIE, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

/// A fault, and laws that find it.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) request: fn(&mut Request),
    pub(crate) response: fn(&Before, &mut Response),
    /// By what the time that a law advances is multiplied.
    pub(crate) time: u32,
    /// Whether the hooks that break the store do nothing.
    pub(crate) hooks_do_nothing: bool,
    pub(crate) breaks: &'static [&'static str],
}

/// The request as the client sent it.
pub(crate) struct Before {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
}

pub(crate) const NONE: Fault = Fault {
    name: "none",
    request: |_| (),
    response: |_, _| (),
    time: 1,
    hooks_do_nothing: false,
    breaks: &[],
};

pub(crate) const FAULTS: &[Fault] = &[
    Fault {
        name: "gives the client no token",
        response: |_, response| {
            response.headers_mut().remove(SET_COOKIE);
            response.headers_mut().remove(AUTHORIZATION);
        },
        breaks: &[
            "login_sets_one_cookie",
            "token_has_48_characters",
            "login_is_remembered_by_the_next_request",
            "logout_clears_the_cookie",
            "remembered_cookie_has_a_max_age",
            "bearer_token_goes_back_in_its_header",
            "nested_layers_are_one",
            "visitor_session_begins_with_a_write",
        ],
        ..NONE
    },
    Fault {
        name: "gives each client the same token",
        response: |_, response| {
            let token = "A".repeat(48);
            let cookie =
                format!("__Host-session_id={token}; Path=/; HttpOnly; Secure; SameSite=Lax");
            if let Some(old) = response.headers_mut().get_mut(SET_COOKIE) {
                *old = HeaderValue::try_from(cookie).expect("text");
            }
        },
        breaks: &["each_login_gives_another_token", "chosen_token_is_never_adopted"],
        ..NONE
    },
    Fault {
        name: "loses an attribute of the cookie",
        response: |_, response| {
            each_cookie(response, |cookie| {
                cookie.replace("; Secure", "").replace("; Max-Age", "; X")
            });
        },
        breaks: &[
            "login_sets_one_cookie",
            "logout_clears_the_cookie",
            "logout_with_an_ended_token_clears_the_cookie",
            "remembered_cookie_has_a_max_age",
            "rotated_cookie_is_kept_for_the_rest",
            "visitor_logout_ends_the_basket",
            "all_are_revoked",
        ],
        ..NONE
    },
    Fault {
        name: "drops the cookie of an error",
        response: |_, response| {
            if response.status().as_u16() >= 400 {
                response.headers_mut().remove(SET_COOKIE);
            }
        },
        breaks: &[
            "new_token_survives_a_failing_handler",
            "handler_s_error_still_clears_the_cookie",
        ],
        ..NONE
    },
    Fault {
        name: "sets the cookie with each response",
        response: |before, response| {
            let sent = before.headers.get(COOKIE).and_then(|cookie| cookie.to_str().ok());
            let cookie = format!("{}; Path=/", sent.unwrap_or("__Host-session_id="));
            let cookie = HeaderValue::try_from(cookie).expect("text");
            response.headers_mut().append(SET_COOKIE, cookie);
        },
        breaks: &[
            "unchanged_token_sets_no_cookie",
            "logout_without_a_token_sets_no_cookie",
            "refused_login_changes_nothing",
            "old_token_is_accepted_in_its_grace",
            "parallel_requests_get_one_new_token",
        ],
        ..NONE
    },
    Fault {
        name: "sets one `Set-Cookie` at most",
        response: |_, response| {
            if let Some(last) = response.headers().get_all(SET_COOKIE).iter().next_back().cloned() {
                response.headers_mut().insert(SET_COOKIE, last);
            }
        },
        breaks: &["handler_s_cookies_are_kept"],
        ..NONE
    },
    Fault {
        name: "says nothing about caches",
        response: |_, response| {
            response.headers_mut().remove(VARY);
            response.headers_mut().remove(CACHE_CONTROL);
        },
        breaks: &[
            "session_response_is_not_cached",
            "visitor_response_varies",
            "handler_can_be_stricter_about_caches",
            "handler_s_vary_is_combined",
            "stream_is_not_cached",
            "rejection_says_why",
        ],
        ..NONE
    },
    Fault {
        name: "lets no response be cached",
        response: |_, response| {
            let no_store = HeaderValue::from_static("no-store");
            response.headers_mut().insert(CACHE_CONTROL, no_store);
            response.headers_mut().insert(VARY, HeaderValue::from_static("cookie"));
        },
        breaks: &[
            "visitor_response_varies",
            "handler_can_be_stricter_about_caches",
            "independent_response_keeps_its_caching",
            "not_modified_is_untouched",
        ],
        ..NONE
    },
    Fault {
        name: "answers `HEAD` with other headers",
        response: |before, response| {
            if before.method == Method::HEAD {
                response.headers_mut().remove(VARY);
            }
        },
        breaks: &["head_request_has_no_body"],
        ..NONE
    },
    Fault {
        name: "loses the encoding of a body",
        response: |_, response| drop(response.headers_mut().remove(CONTENT_ENCODING)),
        breaks: &["encoded_body_is_untouched"],
        ..NONE
    },
    Fault {
        name: "keeps the encoding of a body that it replaces",
        response: |before, response| {
            if before.path == "/encoded-error" {
                let gzip = HeaderValue::from_static("gzip");
                response.headers_mut().insert(CONTENT_ENCODING, gzip);
            }
        },
        breaks: &["encoded_error_can_be_decoded"],
        ..NONE
    },
    Fault {
        name: "loses the body",
        response: |_, response| *response.body_mut() = Body::empty(),
        breaks: &[
            "login_is_remembered_by_the_next_request",
            "change_is_read_by_the_next_request",
            "stream_ends_with_a_logout",
            "stream_ends_with_a_revocation",
            "stream_ends_with_the_next_login",
            "stream_survives_a_rotation",
            "list_has_the_owner_s_sessions",
            "one_session_is_revoked_by_its_id",
        ],
        ..NONE
    },
    Fault {
        name: "mixes up bodies",
        response: |before, response| {
            let body = match &*before.path {
                "/count" => "1",
                "/flashes" => "first\nsecond\n",
                "/form" => "no token",
                _ => return,
            };
            *response = Response::new(Body::from(body));
        },
        breaks: &[
            "change_is_read_by_the_next_request",
            "parallel_changes_are_all_kept",
            "messages_are_shown_once",
            "message_is_shown_by_one_of_parallel_pages",
            "form_is_accepted_with_its_token",
        ],
        ..NONE
    },
    Fault {
        name: "knows no origins",
        request: |request| {
            request.headers_mut().remove(ORIGIN);
            request.headers_mut().remove("sec-fetch-site");
        },
        breaks: &[
            "cross_site_request_is_rejected",
            "cross_site_login_is_rejected",
            "only_safe_methods_are_admitted_cross_site",
            "trusted_origin_is_admitted",
            "header_token_is_admitted_cross_site",
            "origin_is_compared_with_the_host",
            "cross_site_websocket_is_rejected",
            "rejection_says_why",
            "form_token_replaces_no_other_check",
        ],
        ..NONE
    },
    Fault {
        name: "takes each request for one of another site",
        request: |request| {
            request.headers_mut().remove(ORIGIN);
            let foreign = HeaderValue::from_static("cross-site");
            request.headers_mut().insert("sec-fetch-site", foreign);
        },
        breaks: &[
            "own_request_is_admitted",
            "trusted_origin_is_admitted",
            "login_sets_one_cookie",
            "cross_site_websocket_is_rejected",
        ],
        ..NONE
    },
    Fault {
        name: "admits no cross-site request",
        response: |before, response| {
            if before.headers.contains_key("sec-fetch-site") {
                *response = status(StatusCode::FORBIDDEN);
            }
        },
        breaks: &[
            "own_request_is_admitted",
            "only_safe_methods_are_admitted_cross_site",
            "header_token_is_admitted_cross_site",
            "one_route_can_admit_other_sites",
        ],
        ..NONE
    },
    Fault {
        name: "takes the last cookie",
        request: |request| {
            let last = request.headers().get_all(COOKIE).iter().next_back();
            let last = last.and_then(|cookies| cookies.to_str().ok()?.rsplit("; ").next());
            if let Some(last) = last.and_then(|cookie| HeaderValue::try_from(cookie).ok()) {
                request.headers_mut().insert(COOKIE, last);
            }
        },
        breaks: &[
            "cookie_is_found_among_others",
            "two_different_cookies_are_refused",
            "logout_ends_the_sessions_of_all_cookies",
        ],
        ..NONE
    },
    Fault {
        name: "takes the first cookie, and of it what it understands",
        request: |request| {
            let first = request.headers().get(COOKIE).and_then(|cookies| cookies.to_str().ok());
            let first = first.and_then(|cookies| cookies.split(';').next());
            let first = first.map(|first| first.replace('"', ""));
            if let Some(first) = first.and_then(|first| HeaderValue::try_from(first).ok()) {
                request.headers_mut().insert(COOKIE, first);
            }
        },
        breaks: &[
            "malformed_cookie_is_ignored",
            "oversized_cookie_header_is_not_searched",
            "two_different_cookies_are_refused",
        ],
        ..NONE
    },
    Fault {
        name: "does not find the header",
        request: |request| drop(request.headers_mut().remove(AUTHORIZATION)),
        breaks: &["bearer_token_is_accepted", "first_source_with_a_token_decides"],
        ..NONE
    },
    Fault {
        name: "finds the token in a query and in any scheme",
        request: |request| {
            let query = request.uri().query().and_then(|query| query.split_once('='));
            let header = request.headers().get(AUTHORIZATION);
            let header = header.and_then(|header| header.to_str().ok()?.rsplit(' ').next());
            let token = query.map(|(_, token)| token).or(header);
            if let Some(token) = token.map(|token| format!("Bearer {token}")) {
                let token = HeaderValue::try_from(token).expect("text");
                request.headers_mut().insert(AUTHORIZATION, token);
            }
        },
        breaks: &["token_is_accepted_at_its_sources_only", "two_different_headers_are_refused"],
        ..NONE
    },
    Fault {
        name: "gives no challenge",
        response: |_, response| drop(response.headers_mut().remove("www-authenticate")),
        breaks: &["refusal_challenges_bearer_clients", "refusal_says_what_is_missing"],
        ..NONE
    },
    Fault {
        name: "ignores `Accept`",
        request: |request| drop(request.headers_mut().remove(ACCEPT)),
        breaks: &[
            "errors_are_json_where_it_was_asked_for",
            "refusal_says_what_is_missing",
            "rejection_says_why",
            "login_during_an_outage_sets_nothing",
            "browser_is_sent_to_the_sign_in_page",
            "browser_is_sent_to_the_step_up_page",
        ],
        ..NONE
    },
    Fault {
        name: "loses the prefix of a router",
        response: |_, response| {
            if let Some(location) = response.headers_mut().get_mut("location") {
                let without = location.to_str().expect("text").replace("/section", "");
                *location = HeaderValue::try_from(without).expect("text");
            }
        },
        breaks: &["page_below_a_prefix_keeps_its_path"],
        ..NONE
    },
    Fault {
        name: "takes each client for a browser",
        request: |request| {
            request.headers_mut().insert(ACCEPT, HeaderValue::from_static("text/html"));
        },
        breaks: &["only_browsers_are_redirected", "errors_are_json_where_it_was_asked_for"],
        ..NONE
    },
    Fault {
        name: "makes one error of all",
        response: |_, response| {
            if response.status().as_u16() >= 400 {
                *response = status(StatusCode::INTERNAL_SERVER_ERROR);
            }
        },
        breaks: &[
            "visitor_is_refused_where_a_session_is_required",
            "login_at_the_limit_is_a_409",
            "form_without_its_token_is_rejected",
            "strong_route_needs_its_level",
            "handler_can_require_a_level",
            "missing_session_asks_to_sign_in",
            "inner_layer_can_require_more",
            "websocket_needs_a_session",
            "unknown_route_is_a_404",
            "call_takes_effect_before_the_response",
        ],
        ..NONE
    },
    Fault {
        name: "takes an outage for a logout",
        response: |_, response| {
            if response.status() == StatusCode::SERVICE_UNAVAILABLE {
                *response = status(StatusCode::UNAUTHORIZED);
                let cleared = HeaderValue::from_static("__Host-session_id=; Path=/; Max-Age=0");
                response.headers_mut().insert(SET_COOKIE, cleared);
            }
        },
        breaks: &["outage_is_a_503", "outage_is_no_logout", "login_during_an_outage_sets_nothing"],
        ..NONE
    },
    Fault {
        name: "takes an unreadable session for none",
        response: |_, response| {
            if response.status() == StatusCode::INTERNAL_SERVER_ERROR {
                *response = status(StatusCode::UNAUTHORIZED);
            }
        },
        breaks: &["unreadable_session_is_a_500", "handler_without_its_layer_is_a_500"],
        ..NONE
    },
    Fault {
        name: "asks the store for clients without a token",
        request: |request| {
            let token = format!("__Host-session_id={}", "A".repeat(48));
            let token = HeaderValue::try_from(token).expect("text");
            request.headers_mut().entry(COOKIE).or_insert(token);
        },
        breaks: &["outage_does_not_affect_visitors", "logout_without_a_token_sets_no_cookie"],
        ..NONE
    },
    Fault {
        name: "refuses no client",
        response: |_, response| {
            if response.status() == StatusCode::UNAUTHORIZED {
                *response = Response::new(Body::from("ada"));
            }
        },
        breaks: &[
            "login_ends_the_session_before_it",
            "logout_ends_the_session",
            "changed_token_is_refused",
            "session_id_is_not_a_token",
            "chosen_token_is_never_adopted",
            "malformed_cookie_is_ignored",
            "logout_in_the_grace_ends_the_session",
            "changed_credentials_end_the_other_sessions",
            "old_token_is_refused_after_its_grace",
            "reused_token_ends_the_session",
            "others_are_revoked",
            "one_session_is_revoked_by_its_id",
            "all_are_revoked",
            "logout_is_never_undone",
            "idle_session_ends",
            "sensitive_route_needs_recent_authentication",
        ],
        ..NONE
    },
    Fault {
        name: "signs out at the client alone",
        request: |request| goes_to(request, "/logout", "/"),
        breaks: &[
            "logout_with_an_ended_token_clears_the_cookie",
            "logout_in_the_grace_ends_the_session",
        ],
        ..NONE
    },
    Fault {
        name: "does not see the session before a login",
        request: |request| {
            if request.uri().path().contains("/login/") {
                request.headers_mut().remove(COOKIE);
            }
        },
        breaks: &[
            "login_ends_the_session_before_it",
            "login_at_the_limit_is_a_409",
            "login_carries_the_basket_over",
            "unreadable_session_is_replaced_by_a_login",
        ],
        ..NONE
    },
    Fault {
        name: "signs in anew where it should rotate",
        request: |request| {
            goes_to(request, "/rotate", "/login/ada");
            goes_to(request, "/reauthenticate/2", "/login/ada");
        },
        breaks: &[
            "rotation_keeps_the_session",
            "form_token_ends_at_the_login",
            "reauthentication_gives_a_new_token",
        ],
        ..NONE
    },
    Fault {
        name: "uses a session where it should peek",
        request: |request| goes_to(request, "/peek", "/name"),
        breaks: &["peek_keeps_no_session_alive", "peek_rotates_no_token"],
        ..NONE
    },
    Fault {
        name: "peeks where it should use a session",
        request: |request| goes_to(request, "/name", "/peek"),
        breaks: &["due_token_is_rotated_once", "parallel_requests_get_one_new_token"],
        ..NONE
    },
    Fault {
        name: "shows the sessions of visitors everywhere",
        request: |request| goes_to(request, "/name", "/basket-owner"),
        breaks: &["visitor_session_is_hidden_elsewhere"],
        ..NONE
    },
    Fault {
        name: "checks no form token",
        request: |request| goes_to(request, "/script", "/name"),
        breaks: &["form_without_its_token_is_rejected", "form_token_ends_at_the_login"],
        ..NONE
    },
    Fault {
        name: "does not upgrade",
        request: |request| {
            request.headers_mut().remove("upgrade");
        },
        breaks: &["websocket_ends_with_its_session"],
        ..NONE
    },
    Fault {
        name: "lets no time pass",
        time: 0,
        breaks: &[
            "idle_session_ends",
            "peek_keeps_no_session_alive",
            "rejected_request_keeps_no_session_alive",
            "used_session_ends_after_its_lifetime",
            "remembered_session_lasts_longer",
            "rotated_cookie_is_kept_for_the_rest",
            "due_token_is_rotated_once",
            "old_token_is_refused_after_its_grace",
            "reused_token_ends_the_session",
            "sensitive_route_needs_recent_authentication",
        ],
        ..NONE
    },
    Fault {
        name: "lets too much time pass",
        time: 2,
        breaks: &[
            "used_session_stays",
            "idle_session_ends",
            "used_session_ends_after_its_lifetime",
        ],
        ..NONE
    },
    Fault {
        name: "has a store that never fails",
        hooks_do_nothing: true,
        breaks: &[
            "outage_is_a_503",
            "outage_is_no_logout",
            "login_during_an_outage_sets_nothing",
            "unreadable_session_is_a_500",
        ],
        ..NONE
    },
    Fault {
        name: "fails where a session can't be read",
        response: |before, response| {
            // As an error of the extractor would, before the handler runs.
            if response.status().is_success() && before.path == "/logout" {
                *response = status(StatusCode::INTERNAL_SERVER_ERROR);
            }
        },
        breaks: &["unreadable_session_can_be_signed_out"],
        ..NONE
    },
];

fn status(status: StatusCode) -> Response {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

fn each_cookie(response: &mut Response, change: impl Fn(&str) -> String) {
    let cookies: Vec<_> = response.headers().get_all(SET_COOKIE).iter().cloned().collect();
    response.headers_mut().remove(SET_COOKIE);
    for cookie in cookies {
        let changed = change(cookie.to_str().expect("text"));
        let changed = HeaderValue::try_from(changed).expect("text");
        response.headers_mut().append(SET_COOKIE, changed);
    }
}

/// Sends a request for one route to another.
fn goes_to(request: &mut Request, from: &str, to: &str) {
    if request.uri().path() == from {
        *request.uri_mut() = to.parse().expect("a path");
    }
}
