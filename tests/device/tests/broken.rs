//! Each fault of a server is found by a check, without a browser.

mod fixture;

use fixture::Fault;
use fixture::found::assert_found;
use kvolt_device_tests::protocol;

#[test]
fn offer_to_other_sites_is_found() {
    let text = "offered to a request from another site";
    assert_found(protocol::cross_site_sign_in_is_offered_later, Fault::OfferToOtherSites, text);
}

#[test]
fn other_attributes_are_found() {
    let check = protocol::instructions_repeat_the_cookie_s_attributes;
    assert_found(check, Fault::OtherAttributes, "samesite=strict");
}

#[test]
fn eternal_cookie_is_found() {
    let (idle, active) = (
        protocol::copied_cookies_are_refused_after_the_lifetime,
        protocol::copied_cookies_are_refused_while_the_owner_is_active,
    );
    assert_found(idle, Fault::EternalCookie, "a copy after the lifetime: 200");
    assert_found(active, Fault::EternalCookie, "the copy, after its lifetime: 200");
}

#[test]
fn missing_gate_is_found() {
    let check = protocol::session_cookie_alone_is_refused;
    assert_found(check, Fault::NoGate, "the session cookie alone: 200");
    assert_found(protocol::forged_excuse_opens_nothing, Fault::NoGate, "server_error: 200");
    let check = protocol::copied_cookies_are_refused_after_the_lifetime;
    assert_found(check, Fault::NoGate, "a copy after the lifetime: 200");
}

#[test]
fn missing_reload_is_found() {
    let check = protocol::link_from_another_site_gets_a_page_that_reloads;
    assert_found(check, Fault::NoReload, "no reload");
}

#[test]
fn refresh_for_any_site_is_found() {
    let check = protocol::instructions_have_the_scope_of_the_origin;
    assert_found(check, Fault::AnyInitiator, "a refresh caused by any site");
}

#[test]
fn new_challenge_on_refusal_is_found() {
    let check = protocol::challenge_stays_until_it_is_used;
    assert_found(check, Fault::NewChallengeOnRefusal, "the challenge has changed");
    let check = protocol::thief_can_not_sign_the_owner_out;
    assert_found(check, Fault::NewChallengeOnRefusal, "the owner's refresh");
}

#[test]
fn reusable_challenge_is_found() {
    assert_found(protocol::one_proof_is_good_once, Fault::ReusableChallenge, "four times at once");
    let check = protocol::used_proof_is_answered_with_the_current_challenge;
    assert_found(check, Fault::ReusableChallenge, "a used proof");
}

#[test]
fn record_kept_at_the_sign_out_is_found() {
    let check = protocol::sign_out_ends_the_binding;
    assert_found(check, Fault::LogoutKeepsRecord, "a refresh after the sign-out");
}
