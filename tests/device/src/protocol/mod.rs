//! Behaviour that a client of the protocol sees, without a browser.

mod admission;
mod ending;
mod refresh;
mod registration;

pub use admission::*;
pub use ending::*;
pub use refresh::*;
pub use registration::*;

crate::suite::checks! { $ protocol protocol_suite;
    sign_in_offers_a_registration
    cross_site_sign_in_is_offered_later
    registration_needs_its_challenge
    offer_is_valid_for_a_minute
    registration_needs_its_algorithm_and_type
    registration_needs_the_signature_of_its_key
    registration_needs_a_valid_key
    registration_without_a_session_is_rejected
    registration_sets_a_cookie_and_a_challenge
    instructions_repeat_the_cookie_s_attributes
    instructions_have_the_scope_of_the_origin
    second_key_is_rejected
    lost_registration_can_be_repeated

    refresh_sets_a_cookie_and_the_next_challenge
    challenge_stays_until_it_is_used
    refresh_needs_the_signature_of_the_session_s_key
    refresh_of_an_unknown_session_is_not_found
    refresh_ignores_the_bound_cookie
    one_proof_is_good_once
    used_proof_is_answered_with_the_current_challenge
    refresh_survives_changes_of_the_session
    refresh_goes_on_after_a_rotation

    both_cookies_are_accepted
    session_cookie_alone_is_refused
    forged_excuse_opens_nothing
    other_bound_cookies_are_refused
    copied_cookies_are_refused_after_the_lifetime
    copied_cookies_are_refused_while_the_owner_is_active
    link_from_another_site_gets_a_page_that_reloads
    step_up_needs_a_recent_proof

    sign_out_ends_the_binding
    next_sign_in_ends_the_binding
    refused_session_can_be_replaced
    thief_can_not_sign_the_owner_out
    outage_ends_no_binding
    lost_answer_of_the_store_ends_no_binding
}
