//! The suite, tested: each store here breaks the contract in one way that stores in the wild do,
//! and a law has to say so.

mod broken;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use broken::{Broken, Fault};
use kvolt_cache::Key;
use kvolt_testkit::conformance::{self, Asked, check_costs, check_laws};
use kvolt_testkit::{Fixture, ManualClock, check_ops, ops_from_bytes};

#[derive(Clone)]
struct Breaking(Fault, ManualClock);

impl Fixture for Breaking {
    type Store = Broken;

    async fn store(&self) -> Broken {
        Broken::new(self.0, &self.1)
    }

    async fn advance(&self, by: Duration) {
        self.1.advance(by);
    }

    async fn neighbour(&self, store: &Broken) -> Option<Broken> {
        Some(store.neighbour())
    }

    async fn peer(&self, store: &Broken) -> Option<Broken> {
        Some(store.clone())
    }

    async fn damage(&self, store: &Broken, key: &Key) -> bool {
        store.damage(key)
    }

    async fn write_newer(&self, store: &Broken, key: &Key) -> bool {
        store.damage(key)
    }

    async fn asked(&self, store: &Broken) -> Option<Asked> {
        Some(store.asked())
    }

    fn rounds(&self) -> usize {
        if self.0 == Fault::None { 10 } else { 200 }
    }
}

fn breaking(fault: Fault) -> Breaking {
    Breaking(fault, ManualClock::new())
}

#[test]
fn a_store_without_faults_breaks_no_law() {
    let report = check_laws(&breaking(Fault::None));
    assert_eq!((report.broken, report.not_checked), (Vec::new(), Vec::new()));
}

macro_rules! found {
    ($($name:ident: $fault:ident breaks $law:ident;)+) => {
        $(
            #[test]
            fn $name() {
                let fixture = breaking(Fault::$fault);
                let law = || pollster::block_on(conformance::$law(&fixture));
                assert!(catch_unwind(AssertUnwindSafe(law)).is_err(), "the law holds");
            }
        )+
    };
}

found! {
    a_get_that_slides_is_found: GetSlides breaks a_get_moves_nothing;
    a_read_with_an_early_time_is_found: ReadAtIsEarly breaks a_read_has_the_time_of_the_store;
    a_clock_of_its_own_is_found: ClockIsAnother breaks a_store_follows_its_clock;
    a_slide_that_is_never_due_is_found: SlideIsNeverDue breaks a_read_says_when_a_slide_is_due;
    a_slide_that_is_always_due_is_found: SlideIsAlwaysDue breaks a_read_says_when_a_slide_is_due;
    a_use_that_is_never_told_is_found: SlideIsNeverDue breaks a_use_starts_the_idle_time_again;
    a_touch_that_upserts_is_found: TouchIsAnUpsert breaks a_read_in_flight_never_revives_a_removed_entry;
    a_touch_that_revives_a_logout_is_found: TouchIsAnUpsert breaks a_login_never_revives_what_was_logged_out;
    a_touch_that_escapes_remove_owner_is_found: TouchIsAnUpsert breaks a_change_never_escapes_remove_owner;
    a_touch_that_outlives_the_end_is_found: TouchIsAnUpsert breaks nothing_in_flight_outlives_the_deadline;
    a_touch_that_creates_is_found: TouchCreates breaks touch_never_creates;
    a_touch_with_old_deadlines_is_found: TouchWritesOldDeadlines breaks a_touch_in_flight_never_brings_old_deadlines_back;
    a_touch_that_moves_back_is_found: TouchMovesBack breaks touch_never_moves_a_deadline_back;
    a_touch_that_does_not_prolong_is_found: TouchMovesBack breaks a_touch_starts_the_idle_time_again;
    a_touch_that_answers_too_early_is_found: TouchAnswersTooEarly breaks a_touch_answers_with_the_deadlines;
    a_touch_that_names_a_version_is_found: TouchNamesAVersion breaks a_touch_has_nothing_to_do_with_the_version;
    an_insertion_that_overwrites_is_found: InsertOverwrites breaks insert_makes_an_entry_only_where_nothing_is;
    a_limit_that_is_checked_first_is_found: LimitIsChecked breaks a_limit_holds_under_concurrent_insertions;
    a_limit_that_is_clamped_is_found: LimitIsClamped breaks a_limit_that_can_not_be_held_is_refused;
    a_login_over_any_version_is_found: ReplacesAnyVersion breaks an_insertion_over_another_version_does_nothing;
    a_login_that_needs_an_old_entry_is_found: ReplacesOnlyWhatIsThere breaks an_insertion_over_nothing_is_an_insertion;
    a_login_that_removes_first_is_found: ReplacedIsRemovedFirst breaks a_refused_insertion_replaces_nothing;
    a_login_with_a_gap_is_found: ReplacedIsRemovedFirst breaks a_login_is_one_step_to_readers;
    a_login_that_counts_the_old_is_found: ReplacedCounts breaks a_limit_does_not_count_what_is_replaced;
    a_login_that_makes_room_is_found: ReplacedMakesRoom breaks a_limit_counts_only_its_owners_entries;
    a_login_beyond_the_limit_is_found: ReplacesInSteps breaks a_limit_holds_under_concurrent_logins;
    a_login_in_steps_is_found: ReplacesInSteps breaks of_concurrent_logins_over_one_entry_one_is_done;
    a_login_beside_a_change_is_found: ReplacesInSteps breaks a_login_and_a_change_of_what_it_replaces_exclude_each_other;
    a_login_beside_a_logout_is_found: ReplacesInSteps breaks a_login_never_revives_what_was_logged_out;
    a_login_that_leaves_the_old_is_found: ReplacedStays breaks an_insertion_replaces_another_entry;
    a_login_that_saves_the_old_is_found: ReplacedStays breaks a_login_never_saves_an_entry_from_remove_owner;
    forgotten_times_are_found: TimesAreForgotten breaks a_restored_entry_keeps_its_times;
    a_restored_entry_that_lives_on_is_found: TimesAreForgotten breaks a_restored_entry_ends_at_its_deadline;
    a_copy_with_new_times_is_found: TimesAreForgotten breaks a_scan_can_be_restored_elsewhere;
    a_forgotten_creation_is_found: CreationIsForgotten breaks restored_entries_are_listed_by_their_creation;
    an_ended_entry_that_is_restored_is_found: EndedIsRestored breaks a_restored_entry_that_has_ended_is_not_inserted;
    a_replacement_that_creates_is_found: ReplaceCreates breaks replace_never_creates;
    a_compare_then_set_is_found: CompareThenSet breaks no_update_is_lost;
    a_late_expiry_is_found: ExpiryIsLate breaks an_entry_is_there_until_its_deadline_and_absent_from_it_on;
    a_removal_of_any_version_is_found: RemovesAnyVersion breaks remove_takes_effect_only_on_the_version_that_it_names;
    a_compare_then_remove_is_found: CompareThenRemove breaks of_a_removal_and_a_change_of_one_version_one_takes_effect;
    an_owner_hint_that_decides_is_found: OwnerHintDecides breaks a_wrong_owner_hint_changes_no_outcome;
    a_removal_of_what_was_listed_is_found: RemoveOwnerLists breaks a_change_never_escapes_remove_owner;
    a_removal_that_misses_is_found: RemoveOwnerMisses breaks remove_owner_removes_all_of_the_owner_and_nothing_else;
    a_removal_that_keeps_nothing_is_found: KeepsNothing breaks remove_owner_keeps_the_one_that_is_named;
    a_list_without_order_is_found: ListIsUnordered breaks a_list_has_the_oldest_first;
    a_scan_that_repeats_is_found: ScanRepeats breaks a_scan_has_each_live_entry_once;
    a_scan_from_any_cursor_is_found: AnyCursorScans breaks a_cursor_of_another_store_is_an_error;
    a_count_of_one_page_is_found: CountsOnePage breaks a_count_has_each_live_entry_once;
    a_removal_that_is_reported_is_found: RemovalIsReported breaks each_entry_that_expires_is_reported_once;
    an_end_that_is_reported_twice_is_found: EndIsReportedTwice breaks each_entry_that_expires_is_reported_once;
    namespaces_that_are_one_are_found: NamespacesAreOne breaks a_key_of_another_namespace_is_absent;
    namespaces_with_one_set_of_keys_are_found: NamespacesAreOne breaks a_key_is_free_in_another_namespace;
    owners_that_are_shared_are_found: OwnersAreShared breaks an_owner_is_another_in_another_namespace;
    a_clear_of_all_namespaces_is_found: ClearCrosses breaks scans_counts_and_clears_stay_in_their_namespace;
    a_count_of_all_namespaces_is_found: CountCrosses breaks scans_counts_and_clears_stay_in_their_namespace;
    an_end_in_another_namespace_is_found: EndsCross breaks an_end_is_reported_in_its_namespace;
    damage_that_hides_others_is_found: DamageHidesOthers breaks a_damaged_entry_hides_no_other;
    damage_that_is_hidden_is_found: DamageIsHidden breaks a_damaged_entry_hides_no_other;
    damage_that_is_absence_is_found: DamageIsAbsence breaks a_damaged_entry_is_an_error_and_stays;
    damage_that_stays_is_found: DamageStays breaks a_damaged_entry_can_be_removed;
    damage_that_outlives_its_owner_is_found: DamageOutlivesItsOwner breaks a_damaged_entry_goes_with_its_owner;
    damage_that_is_overwritten_is_found: DamageIsOverwritten breaks a_newer_entry_is_an_error_and_stays;
    a_newer_entry_that_stays_is_found: DamageStays breaks a_newer_entry_can_be_removed;
    an_old_strict_answer_is_found: StrictIsOld breaks what_one_process_has_done_the_other_finds;
    a_shared_old_answer_is_found: SharesOldAnswers breaks an_answer_that_is_no_copy_is_current;
    a_look_that_slides_is_found: LookSlides breaks a_look_moves_nothing;
    a_forgotten_use_is_found: UseIsForgotten breaks a_use_in_place_needs_no_touch;
    a_stale_look_is_found: ShowsWhatWas breaks what_has_ended_is_shown_to_no_visitor;
    a_place_by_key_is_found: PlacesByKey breaks a_place_is_a_few_bits_of_the_key;
    a_place_of_many_bits_is_found: PlacesWithManyBits breaks a_place_is_a_few_bits_of_the_key;
    a_second_command_is_found: AsksTwice breaks each_operation_costs_what_is_stated;
    a_look_that_asks_is_found: ReadyAsks breaks what_is_ready_asks_nothing;
    a_limit_that_fetches_values_is_found: LimitFetchesValues breaks an_insertion_costs_the_same_at_any_limit;
    an_insertion_that_fetches_keys_is_found: InsertFetchesKeys breaks no_cost_grows_with_the_owners_entries;
    a_list_that_fetches_what_is_gone_is_found: ListFetchesWhatIsGone breaks a_list_costs_what_it_returns;
    a_removal_that_fetches_values_is_found: RemoveFetchesValues breaks only_reads_and_writes_carry_values;
}

#[test]
fn a_fixture_that_counts_nothing_is_reported() {
    #[derive(Clone)]
    struct Uncounted(Breaking);

    impl Fixture for Uncounted {
        type Store = Broken;

        async fn store(&self) -> Broken {
            self.0.store().await
        }

        async fn advance(&self, by: Duration) {
            self.0.advance(by).await;
        }
    }

    let report = check_costs(&Uncounted(breaking(Fault::AsksTwice)));
    assert_eq!(report.broken, []);
    assert_eq!(report.not_checked.len(), 6);
    assert!(report.not_checked.iter().any(|law| law.law == "each_operation_costs_what_is_stated"));
}

/// Pseudorandom bytes, the same each time.
fn bytes(seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..400).map(|_| next()).collect()
}

#[test]
fn check_ops_finds_sequential_faults() {
    let sequential = [
        Fault::GetSlides,
        Fault::ReadAtIsEarly,
        Fault::SlideIsNeverDue,
        Fault::SlideIsAlwaysDue,
        Fault::TouchCreates,
        Fault::TouchMovesBack,
        Fault::TouchAnswersTooEarly,
        Fault::TouchNamesAVersion,
        Fault::InsertOverwrites,
        Fault::ReplacesAnyVersion,
        Fault::ReplacesOnlyWhatIsThere,
        Fault::ReplacedIsRemovedFirst,
        Fault::ReplacedCounts,
        Fault::ReplacedMakesRoom,
        Fault::ReplacedStays,
        Fault::TimesAreForgotten,
        Fault::CreationIsForgotten,
        Fault::EndedIsRestored,
        Fault::ReplaceCreates,
        Fault::ExpiryIsLate,
        Fault::RemovesAnyVersion,
        Fault::OwnerHintDecides,
        Fault::RemoveOwnerMisses,
        Fault::KeepsNothing,
        Fault::ListIsUnordered,
        Fault::ScanRepeats,
        Fault::CountsOnePage,
        Fault::LookSlides,
        Fault::UseIsForgotten,
        Fault::ShowsWhatWas,
    ];
    let diverges = |fault, seed| {
        let time = ManualClock::new();
        let store = Broken::new(fault, &time);
        pollster::block_on(check_ops(&store, &store.time, &ops_from_bytes(&bytes(seed)))).err()
    };
    for seed in 0..50 {
        let found = diverges(Fault::None, seed);
        assert!(found.is_none(), "{found:?}");
    }
    for fault in sequential {
        let found = (0..500).find_map(|seed| diverges(fault, seed));
        assert!(found.is_some(), "{fault:?} was not found");
    }
}
