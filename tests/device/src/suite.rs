/// Makes a test of each check in [`protocol`](crate::protocol), on the server that an expression
/// starts.
#[macro_export]
macro_rules! protocol_suite {
    ($start:expr) => {
        $crate::suite!(@each protocol $start;
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
        );
    };
}

/// Makes a test of each check in [`browser`](crate::browser), on the server that an expression
/// starts.
#[macro_export]
macro_rules! browser_suite {
    ($start:expr) => {
        $crate::suite!(@each browser $start;
            sign_in_binds_the_browser
            lost_bound_cookie_is_renewed_first
            parallel_requests_are_all_admitted
            rotation_and_refresh_go_together
            step_up_is_proved_by_the_browser
            outdated_bound_cookie_is_renewed
            outage_ends_no_device_session
            sign_out_ends_the_device_session
            second_sign_in_replaces_the_device_session

            link_from_another_site_arrives_signed_in
            sign_in_from_another_site_binds_the_browser

            copy_is_worthless_while_the_owner_is_active
            copy_is_worthless_while_the_owner_is_idle
            thief_at_the_refresh_hinders_nothing
            thief_s_own_device_opens_nothing
        );
    };
}

/// The tests of both suites.
#[doc(hidden)]
#[macro_export]
macro_rules! suite {
    (@each $group:ident $start:expr; $($name:ident)*) => { $(
        #[test]
        fn $name() {
            $crate::$group::$name(&$start);
        }
    )* };
}
