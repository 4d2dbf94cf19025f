//! The laws of the store contract, as tests for any store.
//!
//! Each law is a public function that takes a [`Fixture`] and panics if the store breaks the law.
//! [`conformance_suite!`](crate::conformance_suite) makes a test of each law. [`broken_laws`] runs
//! all of them and returns those that the store breaks; [`check_laws`] also returns those that were
//! not checked.

mod concurrent;
mod costs;
mod entries;
mod expiry;
mod law_fixture;
mod namespaces;
mod owners;
mod processes;
mod ready;
mod replacing;
mod restoring;
mod run_concurrently;
mod running;
mod scan_and_clear;
mod succession;
mod touching;
mod unreadable;

use std::future::Future;
use std::time::Duration;

use kvolt_cache::{Key, Store};

pub use self::concurrent::*;
pub use self::costs::*;
pub use self::entries::*;
pub use self::expiry::*;
pub use self::namespaces::*;
pub use self::owners::*;
pub use self::processes::*;
pub use self::ready::*;
pub use self::replacing::*;
pub use self::restoring::*;
#[cfg(feature = "http")]
pub(crate) use self::running::message;
pub use self::running::{
    BrokenLaw, NotChecked, Report, broken_laws, broken_laws_on_a_real_clock, check_costs,
    check_laws, check_laws_on_a_real_clock,
};
pub use self::scan_and_clear::*;
pub use self::succession::*;
pub use self::touching::*;
pub use self::unreadable::*;

/// Gives the suite stores, and moves their clock.
///
/// Each thread of a law gets a clone, so cloning should be cheap. The README of this crate has an
/// example.
pub trait Fixture: Clone + Send + Sync + 'static {
    /// The store.
    type Store: Store<String>;

    /// Makes an empty store that no other law uses.
    fn store(&self) -> impl Future<Output = Self::Store> + Send;

    /// Moves the store's clock forward, or sleeps for this time if the clock can't be moved.
    fn advance(&self, by: Duration) -> impl Future<Output = ()> + Send;

    /// The unit of all times in the suite. Laws read an entry one tick before its deadline and at its
    /// deadline.
    ///
    /// Defaults to one millisecond, the resolution of a store. For a store whose clock can't be
    /// moved, it must be longer than the pause between two calls on a busy machine: 100
    /// milliseconds or more.
    fn tick(&self) -> Duration {
        Duration::from_millis(1)
    }

    /// How much earlier than the exact deadline a slide may end, for a store that does not move a
    /// deadline at every use. At most half of `idle`. Defaults to zero.
    fn slack(&self, idle: Duration) -> Duration {
        let _ = idle;
        Duration::ZERO
    }

    /// Makes the store reclaim expired entries, so that it calls its
    /// [callback](Store::on_expired). Defaults to nothing, for a store that does so by itself during
    /// [`advance`](Self::advance).
    fn clean(&self, store: &Self::Store) -> impl Future<Output = ()> + Send {
        let _ = store;
        async {}
    }

    /// How often each concurrent law runs. Defaults to 250.
    fn rounds(&self) -> usize {
        250
    }

    /// Makes an empty store of another namespace on the same server. With `None`, the default, the
    /// laws about namespaces are not checked.
    fn neighbour(&self, store: &Self::Store) -> impl Future<Output = Option<Self::Store>> + Send {
        let _ = store;
        async { None }
    }

    /// Opens the same store as another process does: on the same server, in the same namespace, with
    /// connections and copies of its own. With `None`, the default, the laws about two processes are
    /// not checked.
    fn peer(&self, store: &Self::Store) -> impl Future<Output = Option<Self::Store>> + Send {
        let _ = store;
        async { None }
    }

    /// Damages a live entry behind the store's back, so that it can't be read. With `false`, the
    /// default, the laws about damaged entries are not checked.
    fn damage(&self, store: &Self::Store, key: &Key) -> impl Future<Output = bool> + Send {
        let _ = (store, key);
        async { false }
    }

    /// Gives a live entry, behind the store's back, a format that is newer than the store knows. With
    /// `false`, the default, the laws about newer entries are not checked.
    fn write_newer(&self, store: &Self::Store, key: &Key) -> impl Future<Output = bool> + Send {
        let _ = (store, key);
        async { false }
    }

    /// Returns the number of commands, round trips and bytes that the store has caused so far. With
    /// `None`, the default, the laws about costs are not checked.
    fn asked(&self, store: &Self::Store) -> impl Future<Output = Option<Asked>> + Send {
        let _ = store;
        async { None }
    }

    /// The largest cost of each operation. Defaults to one command in one round trip each.
    fn costs(&self) -> Costs {
        Costs::default()
    }

    /// Runs a future to its end on this thread.
    ///
    /// The concurrent laws call it on threads of their own, also inside of a law that it runs. A
    /// store that needs a runtime overrides it. With Tokio, enter the runtime (`Handle::enter`) and
    /// then block as the default does, because `Handle::block_on` can't be nested. If the laws run
    /// in a task, wrap the future in `tokio::task::unconstrained`, because the budget of the task is
    /// not renewed in here.
    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        pollster::block_on(future)
    }
}

/// Makes a test of every law, for the store of a [`Fixture`].
///
/// `conformance_suite!(fixture)` makes tests that run on [`Fixture::block_on`].
/// `conformance_suite!(fixture, tokio::test)` runs them by an attribute that makes a test of an
/// `async fn`. The expression is evaluated in each test, so it may use the runtime's handle.
#[macro_export]
macro_rules! conformance_suite {
    ($fixture:expr) => {
        $crate::each_law!([$crate::conformance_tests] { {} { $fixture } });
    };
    ($fixture:expr, $($attribute:tt)+) => {
        $crate::each_law!([$crate::conformance_tests] { { $($attribute)+ } { $fixture } });
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    ({ $attribute:tt $fixture:tt } $($law:ident)+) => {
        $( $crate::conformance_test!($attribute $fixture $law); )+
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! conformance_test {
    ({} $fixture:tt $law:ident) => {
        #[test]
        fn $law() {
            let fixture = $fixture;
            $crate::Fixture::block_on(&fixture, $crate::conformance::$law(&fixture));
        }
    };
    ({ $($attribute:tt)+ } $fixture:tt $law:ident) => {
        #[$($attribute)+]
        async fn $law() {
            let fixture = $fixture;
            $crate::conformance::$law(&fixture).await;
        }
    };
}

/// Calls a macro with its arguments and the names of all laws.
#[doc(hidden)]
#[macro_export]
macro_rules! each_law {
    ([$($macro:tt)+] $given:tt) => {
        $($macro)+! {
            $given
            insert_makes_an_entry_only_where_nothing_is
            what_was_inserted_is_read_back_whole
            an_absent_key_is_an_answer_and_not_an_error
            a_removed_entry_is_absent_to_every_operation
            remove_takes_effect_only_on_the_version_that_it_names
            a_key_is_free_again_once_its_entry_was_removed
            a_wrong_owner_hint_changes_no_outcome
            the_shortest_and_the_longest_times_are_no_trouble
            each_name_that_an_owner_may_have_is_kept
            a_limit_that_can_not_be_held_is_refused
            a_read_has_the_time_of_the_store
            a_store_follows_its_clock
            what_is_ready_agrees_with_what_is_read
            a_look_moves_nothing
            a_use_starts_the_idle_time_again
            a_use_in_place_needs_no_touch
            what_has_ended_is_shown_to_no_visitor
            a_place_is_a_few_bits_of_the_key
            an_entry_is_there_until_its_deadline_and_absent_from_it_on
            an_expired_entry_is_absent_to_every_operation
            the_first_to_look_at_an_expired_entry_finds_nothing
            a_key_is_free_again_once_its_entry_has_expired
            each_entry_that_expires_is_reported_once
            a_touch_starts_the_idle_time_again
            a_touch_answers_with_the_deadlines
            touch_never_creates
            touch_never_moves_a_deadline_back
            a_touch_has_nothing_to_do_with_the_version
            a_touch_slides_by_the_newest_deadlines
            a_get_moves_nothing
            a_read_says_when_a_slide_is_due
            the_last_use_is_kept_and_only_touches_move_it
            nothing_but_a_new_expiry_moves_the_absolute_deadline
            replace_takes_effect_only_on_the_version_that_it_names
            a_conflict_tells_how_the_entry_is_now
            replace_never_creates
            every_replacement_changes_the_version_and_no_read_does
            a_version_of_an_ended_entry_does_not_fit_the_next_one
            a_replacement_keeps_the_deadlines
            a_replacement_with_an_expiry_starts_the_deadlines_anew
            a_replacement_keeps_the_owner
            an_insertion_replaces_another_entry
            an_insertion_over_another_version_does_nothing
            an_insertion_over_nothing_is_an_insertion
            a_refused_insertion_replaces_nothing
            an_entry_does_not_replace_itself
            a_limit_does_not_count_what_is_replaced
            a_limit_counts_only_its_owners_entries
            a_restored_entry_keeps_its_times
            a_restored_entry_ends_at_its_deadline
            a_restored_entry_that_has_ended_is_not_inserted
            restored_entries_are_listed_by_their_creation
            a_scan_can_be_restored_elsewhere
            a_list_has_the_oldest_first
            a_list_never_has_an_ended_entry
            remove_owner_removes_all_of_the_owner_and_nothing_else
            remove_owner_keeps_the_one_that_is_named
            remove_owner_keeps_nothing_for_a_key_that_is_not_the_owners
            a_limit_refuses_one_more
            a_limit_removes_the_oldest
            a_limit_counts_only_what_is_live_and_the_owners
            what_one_process_has_done_the_other_finds
            an_answer_that_is_no_copy_is_current
            clear_removes_everything
            a_scan_has_each_live_entry_once
            a_scan_misses_nothing_while_others_come_and_go
            a_count_has_each_live_entry_once
            a_cursor_of_another_store_is_an_error
            a_key_of_another_namespace_is_absent
            a_key_is_free_in_another_namespace
            an_owner_is_another_in_another_namespace
            scans_counts_and_clears_stay_in_their_namespace
            an_end_is_reported_in_its_namespace
            a_damaged_entry_is_an_error_and_stays
            a_damaged_entry_hides_no_other
            a_damaged_entry_can_be_removed
            a_damaged_entry_goes_with_its_owner
            a_newer_entry_is_an_error_and_stays
            a_newer_entry_can_be_removed
            of_concurrent_insertions_one_is_made
            no_update_is_lost
            of_concurrent_replacements_of_one_version_one_takes_effect
            a_read_in_flight_never_revives_a_removed_entry
            of_concurrent_removals_one_removes
            remove_owner_misses_nothing_while_others_are_inserted
            a_limit_holds_under_concurrent_insertions
            a_change_never_escapes_remove_owner
            of_a_removal_and_a_change_of_one_version_one_takes_effect
            a_touch_in_flight_never_brings_old_deadlines_back
            nothing_in_flight_outlives_the_deadline
            of_concurrent_logins_over_one_entry_one_is_done
            a_login_and_a_change_of_what_it_replaces_exclude_each_other
            a_login_never_revives_what_was_logged_out
            a_login_is_one_step_to_readers
            a_limit_holds_under_concurrent_logins
            a_login_never_saves_an_entry_from_remove_owner
            clear_misses_nothing_while_others_are_inserted
            each_operation_costs_what_is_stated
            what_is_ready_asks_nothing
            an_insertion_costs_the_same_at_any_limit
            no_cost_grows_with_the_owners_entries
            a_list_costs_what_it_returns
            only_reads_and_writes_carry_values
        }
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_suite_has_every_law_that_is_written() {
        let files = [
            include_str!("concurrent.rs"),
            include_str!("costs.rs"),
            include_str!("entries.rs"),
            include_str!("expiry.rs"),
            include_str!("namespaces.rs"),
            include_str!("owners.rs"),
            include_str!("processes.rs"),
            include_str!("ready.rs"),
            include_str!("replacing.rs"),
            include_str!("restoring.rs"),
            include_str!("succession.rs"),
            include_str!("touching.rs"),
            include_str!("unreadable.rs"),
            include_str!("scan_and_clear.rs"),
        ];
        let after = files.iter().flat_map(|file| file.split("\npub async fn ").skip(1));
        let mut written: Vec<_> = after.filter_map(|rest| rest.split('<').next()).collect();
        macro_rules! names {
            ({} $($law:ident)+) => { vec![$(stringify!($law)),+] };
        }
        let mut listed: Vec<&str> = crate::each_law!([names] {});
        written.sort_unstable();
        listed.sort_unstable();
        assert_eq!(listed, written);
    }
}
