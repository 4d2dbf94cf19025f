/// Makes a test of each attack, on the deployment that a function opens.
///
/// The order is that of the table in `SECURITY.md`. The README maps each row to its attacks. The
/// attacks on what an account has around its login follow.
#[macro_export]
macro_rules! attacks {
    ($open:expr) => {
        $crate::attacks!(@each $open;
            deleted_session_is_not_restored_by_a_save_in_flight
            request_in_flight_across_a_logout_gets_no_cookie
            expired_session_is_not_restored_by_a_save_in_flight
            slide_in_flight_restores_nothing

            parallel_updates_are_all_kept
            update_across_a_rotation_is_kept_or_reported

            colliding_id_overwrites_no_session
            insertion_to_an_occupied_key_is_refused

            cookies_are_invalid_after_a_sign_in
            cookies_are_invalid_after_a_change_of_user

            chosen_token_is_never_adopted
            unknown_ids_and_logouts_create_no_entry

            dump_of_the_store_contains_no_token
            stored_key_is_refused_as_a_token

            idle_session_ends_and_stays_ended
            chosen_lifetime_ends_the_session_on_each_server
            no_operation_moves_the_absolute_end
            peek_does_not_extend_a_session

            session_above_the_size_limit_is_an_error

            form_token_does_not_survive_a_login

            response_with_a_session_is_not_cached
            cookie_is_secure_behind_a_tls_proxy
            logout_from_a_nested_path_clears_the_cookie

            tokens_differ_at_every_position

            changed_password_ends_the_other_sessions
            owners_with_similar_names_are_separate

            sign_in_above_the_limit_is_refused_or_ends_the_oldest
            session_limit_is_exact_with_two_hundred_sign_ins
            revoking_all_during_sign_ins_leaves_no_older_session

            applications_on_one_server_are_separate
            copied_entry_is_unknown_under_any_other_key
            malformed_token_never_reaches_the_store

            outage_changes_no_session
            lost_answer_is_an_error
            undecodable_session_is_not_overwritten

            old_token_is_refused_after_a_rotation
            new_token_reaches_the_client_when_its_handler_fails
            failed_rotation_leaves_one_session

            logout_on_one_server_is_a_logout_on_all
            copy_fetched_across_a_logout_is_not_used
            logout_without_notification_is_seen_within_the_bound
            token_for_other_data_is_unknown
            client_with_an_undecodable_session_signs_in_and_out
            unreadable_session_hides_no_other_and_can_be_ended

            // Attackers with an id, and with write access to the store.
            id_alone_has_no_effect
            login_with_a_stranger_s_id_ends_no_session
            id_alone_does_not_extend_a_session
            wrong_secret_costs_one_read_and_no_decoding
            store_writer_makes_no_session_immortal
            store_writer_gives_no_session_to_another_owner

            // Around the login.
            sensitive_action_needs_a_fresh_and_strong_session
            parallel_reauthentications_lower_no_level
            late_reauthentication_is_an_error

            replaced_token_is_refused_and_reported
            old_token_is_a_reuse_at_any_age
            reused_token_signs_out_thief_and_owner
            both_tokens_work_during_the_grace
            replaced_token_does_not_extend_the_session
            replaced_token_changes_no_session

            session_is_refused_after_a_change_of_the_account
            changed_credentials_end_the_other_sessions
            late_change_of_credentials_is_an_error

            visitors_never_exceed_the_limit
            basket_filled_during_the_sign_in_loses_no_item
            data_of_one_user_never_reaches_another
            anonymous_session_opens_no_protected_route

            open_connection_ends_with_its_session
            remote_logout_closes_an_open_connection
            open_connection_survives_a_rotation
            outage_ends_no_open_connection

            message_is_read_by_one_of_thirty_readers

            administrator_finds_and_ends_every_session

            impersonation_is_seen_and_has_no_proof
            impersonation_ends_with_either_account
            administrator_returns_on_another_server
            revocation_misses_no_impersonation

            remembered_cookie_lasts_as_long_as_its_session
            remembered_session_ends_before_a_kept_cookie

            // Sessions that are bound to a device.
            stolen_cookies_are_worthless_after_their_lifetime
            session_cookie_alone_is_worthless
            thief_binds_no_session_of_another
            planted_session_stays_the_thief_s
            binding_survives_each_new_token
            ended_session_is_not_refreshed
            hostile_refreshes_lock_no_owner_out
            proof_is_good_once_and_for_one_session
        );
    };
    (@each $open:expr; $($name:ident)*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            if let Some(deployment) = $open.await {
                $crate::attacks::$name(&deployment).await;
            }
        }
    )* };
}
