//! The laws of the store contract, as tests for any store.
//!
//! Each law is a public function that takes a [`Fixture`] and panics if the
//! store breaks the law. [`conformance_suite!`](crate::conformance_suite) makes
//! a test of each; [`broken_laws`] runs all of them and tells which do not hold.

mod concurrent;
mod entries;
mod expiry;
mod grace;
mod lab;
mod owners;
mod renaming;
mod replacing;
mod running;
mod together;
mod whole;

use std::future::Future;
use std::time::Duration;

use kvolt_cache::Store;

pub use self::concurrent::*;
pub use self::entries::*;
pub use self::expiry::*;
pub use self::grace::*;
pub use self::owners::*;
pub use self::renaming::*;
pub use self::replacing::*;
pub use self::running::{BrokenLaw, broken_laws, broken_laws_on_a_real_clock};
pub use self::whole::*;

/// How the suite gets a store and moves its time.
///
/// Cloned into every thread that a law starts, so it should be cheap to clone.
pub trait Fixture: Clone + Send + Sync + 'static {
    /// The store.
    type Store: Store<String>;

    /// An empty store of its own, which nobody else uses meanwhile.
    fn store(&self) -> impl Future<Output = Self::Store> + Send;

    /// Moves the store's clock forward; where that can't be done, sleeps so long.
    fn advance(&self, by: Duration) -> impl Future<Output = ()> + Send;

    /// The unit of all times in the suite: an entry is looked at one tick
    /// before its deadline and at its deadline.
    ///
    /// One millisecond, the finest that a store can tell, for a store whose
    /// clock can be moved. For one whose clock can't, as much as must not
    /// pass unnoticed between two calls on a busy machine: 100 milliseconds or
    /// more.
    fn tick(&self) -> Duration {
        Duration::from_millis(1)
    }

    /// By how much a slide may fall short, for a store that does not move a
    /// deadline at every read. At most half of `idle`.
    fn slack(&self, idle: Duration) -> Duration {
        let _ = idle;
        Duration::ZERO
    }

    /// Has the store give back the memory of what has ended, so that it
    /// [tells](Store::on_expired) of it. Nothing, and right, for a store that does
    /// so by itself while time passes by [`advance`](Self::advance).
    fn clean(&self, store: &Self::Store) -> impl Future<Output = ()> + Send {
        let _ = store;
        async {}
    }

    /// How often each concurrent law is tried.
    fn rounds(&self) -> usize {
        250
    }

    /// Runs a future to its end on this thread.
    ///
    /// The concurrent laws call it on threads of their own, and inside of a
    /// law that is run by it. A store that is bound to a runtime overrides it:
    /// with Tokio for example by entering the runtime (`Handle::enter`) and
    /// then doing as here, since `Handle::block_on` can't be nested.
    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        pollster::block_on(future)
    }
}

/// Makes a test of every law, for the store of a [`Fixture`].
///
/// `conformance_suite!(fixture)` makes tests that run on
/// [`Fixture::block_on`]. `conformance_suite!(fixture, tokio::test)`, with any
/// attribute that makes a test of an `async fn`, runs them there; the
/// expression is evaluated in each test, so it may ask for the runtime's handle.
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

/// Calls a macro with what it is given and the names of all laws.
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
            a_key_is_free_again_once_its_entry_was_removed
            what_is_ready_agrees_with_what_is_read
            the_shortest_and_the_longest_times_are_no_trouble
            an_owner_that_is_too_long_is_refused
            an_entry_is_there_until_its_deadline_and_absent_from_it_on
            an_expired_entry_is_absent_to_every_operation
            the_first_to_look_at_an_expired_entry_finds_nothing
            a_key_is_free_again_once_its_entry_has_expired
            a_slide_starts_the_idle_time_anew
            a_peek_moves_nothing
            nothing_but_a_new_expiry_moves_the_absolute_deadline
            the_last_use_is_told_and_only_slides_move_it
            what_has_ended_is_told_once_and_nothing_else_is
            replace_takes_effect_only_on_the_version_that_it_names
            a_conflict_tells_how_the_entry_is_now
            replace_never_creates
            every_replacement_changes_the_version_and_no_read_does
            a_version_of_an_ended_entry_does_not_fit_the_next_one
            a_replacement_keeps_the_deadlines
            a_replacement_with_an_expiry_starts_the_deadlines_anew
            a_replacement_keeps_the_owner
            rename_moves_the_entry_as_it_is
            rename_with_an_expiry_starts_the_deadlines_anew
            rename_with_a_value_takes_effect_only_on_the_version_it_names
            rename_to_a_taken_key_changes_nothing
            rename_to_a_key_of_an_ended_entry_is_done
            rename_of_nothing_makes_nothing
            rename_to_another_owner_moves_it_in_the_index
            rename_keeps_the_age
            rename_holds_the_limit_without_counting_itself
            a_former_key_leads_to_the_successor
            a_read_by_a_former_key_keeps_nothing_alive
            a_removal_by_the_former_key_ends_the_successor
            a_former_key_is_no_second_entry
            a_former_key_is_superseded_and_can_not_be_renamed_again
            a_former_key_is_taken_until_its_grace_has_passed
            a_grace_ends_exactly
            a_grace_never_outlives_the_successor
            a_former_key_never_leads_to_another_entry
            a_chain_of_former_keys_leads_to_the_last_successor
            a_grace_that_has_passed_stays_passed
            a_list_has_the_oldest_first
            a_list_never_has_an_ended_entry
            remove_owner_removes_all_of_the_owner_and_nothing_else
            remove_owner_keeps_the_one_that_is_named
            remove_owner_keeps_nothing_for_a_key_that_is_not_the_owners
            a_limit_refuses_one_more
            a_limit_removes_the_oldest
            a_limit_counts_only_what_is_live_and_the_owners
            clear_removes_everything
            a_scan_has_each_live_entry_once
            a_scan_misses_nothing_while_others_come_and_go
            a_count_has_each_live_entry_once
            of_concurrent_insertions_one_is_made
            no_update_is_lost
            of_concurrent_replacements_of_one_version_one_takes_effect
            a_read_in_flight_never_revives_a_removed_entry
            of_concurrent_removals_one_removes
            remove_owner_misses_nothing_while_others_are_inserted
            a_limit_holds_under_concurrent_insertions
            of_concurrent_renamings_one_moves
            a_renaming_never_escapes_remove_owner
            a_renaming_never_undoes_a_removal
            a_renaming_is_one_step_to_readers
            no_update_is_lost_to_a_renaming
            a_renaming_with_a_value_loses_no_update
            clear_misses_nothing_while_others_are_inserted
        }
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_suite_has_every_law_that_is_written() {
        let files = [
            include_str!("concurrent.rs"),
            include_str!("entries.rs"),
            include_str!("expiry.rs"),
            include_str!("grace.rs"),
            include_str!("owners.rs"),
            include_str!("renaming.rs"),
            include_str!("replacing.rs"),
            include_str!("whole.rs"),
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
