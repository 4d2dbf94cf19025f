/// Generates a test for each attack, on the deployment that a function opens.
///
/// The order is that of the table in `SECURITY.md` (the README lists all attacks), followed
/// by the attacks on logins and accounts.
#[macro_export]
macro_rules! attacks {
    ($open:expr) => {
        $crate::attacks!(@each $open;
            a_deleted_session_is_not_restored_by_a_save_in_flight
            a_request_in_flight_across_a_logout_changes_nothing_and_gets_no_cookie
            an_expired_session_is_not_restored_by_a_save_in_flight
            slide_in_flight_restores_nothing

            of_two_writers_at_once_neither_is_lost
            an_update_in_flight_across_a_rotation_is_kept_or_told

            an_id_that_collides_overwrites_nobody
            insertion_to_a_taken_key_changes_nothing

            a_jar_saved_before_a_sign_in_is_worth_nothing_after_it
            a_jar_saved_before_a_change_of_user_is_worth_nothing_after_it

            a_token_that_the_client_chose_is_never_adopted
            a_thousand_unknown_ids_and_a_thousand_logouts_of_nobody_store_nothing

            a_dump_of_the_store_holds_no_token
            a_stored_key_presented_as_a_token_is_refused

            an_idle_session_ends_and_no_call_brings_it_back
            nothing_that_is_done_with_a_session_moves_its_end
            looking_does_not_keep_a_session_alive

            a_session_takes_no_more_than_its_bound_and_says_so

            a_form_token_does_not_survive_a_login

            what_depends_on_a_session_is_kept_by_no_cache
            the_cookie_is_secure_behind_a_proxy_that_ends_tls
            a_logout_from_a_nested_path_empties_a_real_jar

            two_thousand_tokens_differ_and_use_the_whole_alphabet_at_every_place

            a_change_of_the_password_ends_the_others_and_renews_this_one
            owners_whose_names_are_alike_do_not_reach_each_other

            one_sign_in_too_many_is_refused_or_ends_the_oldest
            the_limit_of_sessions_is_exact_with_two_hundred_sign_ins_at_once
            ending_all_during_two_hundred_sign_ins_leaves_nothing_that_came_before_it

            two_applications_on_one_server_never_meet
            copied_entry_is_unknown_under_any_other_key
            what_is_no_token_never_reaches_the_store

            an_outage_and_its_end_leave_the_data_unharmed
            a_lost_answer_is_an_error_and_nothing_is_half_done
            a_session_that_can_not_be_decoded_is_not_written_over

            after_a_rotation_the_old_token_is_refused
            a_new_token_reaches_the_client_also_when_its_handler_fails
            a_rotation_that_fails_or_is_given_up_leaves_exactly_one_session

            a_logout_on_one_server_is_one_on_the_other
            a_copy_that_is_fetched_across_a_logout_revives_nothing
            a_logout_that_nobody_is_told_of_is_seen_within_the_bound
            a_token_made_of_the_name_of_other_data_is_unknown
            who_has_a_session_that_can_not_be_decoded_signs_in_and_out
            unreadable_session_hides_no_other_and_can_be_ended

            // Attackers who know a public id or can write to the store.
            id_alone_does_nothing_to_a_session
            login_with_a_strangers_id_signs_no_stranger_out
            id_alone_keeps_no_session_alive
            junk_for_a_known_id_is_read_once_and_not_decoded
            store_writer_makes_no_session_immortal
            store_writer_gives_no_session_to_another_owner

            // Logins and accounts.
            a_sensitive_act_is_refused_to_a_session_that_is_stale_or_too_low
            of_proofs_at_once_none_lowers_anything
            a_proof_that_comes_too_late_is_told_and_lifts_nothing

            a_replaced_token_is_refused_after_its_grace_and_told_of
            earlier_token_is_a_reuse_however_old_it_is
            with_the_reuse_of_a_token_thief_and_owner_are_both_out
            within_the_grace_both_tokens_work_and_there_is_one_successor
            a_replaced_token_keeps_nothing_alive
            a_replaced_token_ends_nothing_and_changes_nothing

            a_session_from_before_a_change_of_the_account_is_refused
            a_change_of_the_credentials_ends_the_others_and_renews_this_one
            a_change_of_the_credentials_that_comes_too_late_is_told

            two_hundred_visitors_never_make_more_than_the_bound
            a_basket_that_is_filled_during_the_sign_in_loses_nothing
            nothing_of_one_user_goes_to_another
            an_anonymous_session_opens_no_protected_route

            a_connection_that_stays_open_ends_with_its_session
            a_logout_elsewhere_closes_an_open_connection_soon
            an_open_connection_follows_a_change_of_the_token
            an_outage_ends_no_open_connection_and_hides_no_end

            each_message_is_read_by_exactly_one_of_thirty_readers

            an_administrator_finds_all_and_ends_one_or_everybody

            a_remembered_cookie_is_kept_no_longer_than_its_session
            a_remembered_session_ends_on_the_server_though_its_cookie_is_there
        );
    };
    (@each $open:expr; $($name:ident)*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            if let Some(stage) = $open.await {
                $crate::attacks::$name(&stage).await;
            }
        }
    )* };
}
