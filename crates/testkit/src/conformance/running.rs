//! Running all laws in one test.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kvolt_cache::Key;

use super::{Asked, Costs, Fixture};

/// A law that a store broke.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokenLaw {
    /// The name of the law's function.
    pub law: &'static str,
    /// The message of the panic.
    pub message: String,
}

/// The outcome of all laws.
///
/// ```
/// use std::time::Duration;
/// use kvolt_testkit::conformance::check_laws;
/// use kvolt_testkit::{Fixture, ManualClock, ModelStore};
///
/// #[derive(Clone, Default)]
/// struct Reference(ManualClock);
///
/// impl Fixture for Reference {
///     type Store = ModelStore<String>;
///
///     async fn store(&self) -> Self::Store {
///         ModelStore::new(self.0.clock())
///     }
///     async fn advance(&self, by: Duration) {
///         self.0.advance(by);
///     }
///     fn rounds(&self) -> usize {
///         2
///     }
/// }
///
/// let report = check_laws(&Reference::default());
/// assert_eq!(report.broken, []);
/// // This fixture has no hook that counts commands, for instance:
/// assert!(!report.not_checked.is_empty());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The laws that the store breaks.
    pub broken: Vec<BrokenLaw>,
    /// The laws that were not checked, or only in part, each with the reason: a missing hook of the
    /// [`Fixture`], or a missing ability of the store.
    pub not_checked: Vec<NotChecked>,
}

/// A law that was not checked, or only in part.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotChecked {
    /// The name of the law's function.
    pub law: &'static str,
    /// The missing hook of the fixture, or ability of the store.
    pub why: &'static str,
}

thread_local! {
    /// The parts that the law on this thread could not check.
    static NOT_CHECKED: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
}

/// Notes that the law that runs on this thread is not checked, or only in part.
pub(super) fn report_not_checked(why: &'static str) {
    eprintln!("not checked: {why}");
    NOT_CHECKED.with_borrow_mut(|all| all.push(why));
}

/// A law by its name, to be run on a fixture.
type Law<F> = (&'static str, fn(&F));

/// Runs every law and returns those that the store breaks.
///
/// The messages of the panics also go to the standard error output.
pub fn broken_laws<F: Fixture>(fixture: &F) -> Vec<BrokenLaw> {
    check_laws(fixture).broken
}

/// Runs every law, and returns those that the store breaks and those that were not checked.
pub fn check_laws<F: Fixture>(fixture: &F) -> Report {
    let mut report = Report::default();
    laws().into_iter().for_each(|law| report.add(run(fixture, law)));
    report
}

/// Runs only the laws about costs, one by one: for a fixture whose count covers all its stores, or
/// that is too slow for the other laws.
pub fn check_costs<F: Fixture>(fixture: &F) -> Report {
    let mut report = Report::default();
    let costs = laws().into_iter().filter(|(name, _)| COSTS.contains(name));
    costs.for_each(|law| report.add(run(fixture, law)));
    report
}

/// [`broken_laws`], for a store whose clock can't be moved: see
/// [`check_laws_on_a_real_clock`].
pub fn broken_laws_on_a_real_clock<F: Fixture>(fixture: &F, at_once: usize) -> Vec<BrokenLaw> {
    check_laws_on_a_real_clock(fixture, at_once).broken
}

/// [`check_laws`], for a store whose clock can't be moved. Most laws then sleep most of the time, so
/// `at_once` of them run in parallel, each on a store of its own.
///
/// On a busy machine, more than a tick may pass between two calls. So a law that moves the clock and
/// seems broken runs again after all others, alone, with ticks three and then nine times as long,
/// and counts as broken if it fails each time. The laws that start threads of their own and those
/// about costs do not depend on the clock: they run one by one, and once.
pub fn check_laws_on_a_real_clock<F: Fixture>(fixture: &F, at_once: usize) -> Report {
    let slowed = |times| Slowed { fixture: fixture.clone(), times };
    let (concurrent, mut sequential): (Vec<_>, Vec<_>) =
        laws().into_iter().partition(|(name, _)| is_alone(name));
    let mut report = Report::default();
    concurrent.into_iter().for_each(|law| report.add(run(&slowed(1), law)));

    let open = Mutex::new(&mut sequential);
    let (doubtful, done) = (Mutex::new(Vec::new()), Mutex::new(&mut report));
    std::thread::scope(|scope| {
        for _ in 0..at_once.max(1) {
            scope.spawn(|| {
                loop {
                    let next = open.lock().unwrap_or_else(PoisonError::into_inner).pop();
                    let Some(law) = next else { return };
                    match run(&slowed(1), law) {
                        (Err(_), _) => {
                            doubtful.lock().unwrap_or_else(PoisonError::into_inner).push(law);
                        }
                        run => done.lock().unwrap_or_else(PoisonError::into_inner).add(run),
                    }
                }
            });
        }
    });
    for law in doubtful.into_inner().unwrap_or_else(PoisonError::into_inner) {
        let again = run(&slowed(3), law);
        report.add(if again.0.is_err() { run(&slowed(9), law) } else { again });
    }
    report
}

impl Report {
    fn add(&mut self, (held, not_checked): Run) {
        self.broken.extend(held.err());
        self.not_checked.extend(not_checked);
    }
}

/// A fixture with longer ticks.
#[derive(Clone)]
struct Slowed<F> {
    fixture: F,
    times: u32,
}

impl<F: Fixture> Fixture for Slowed<F> {
    type Store = F::Store;

    fn store(&self) -> impl Future<Output = Self::Store> + Send {
        self.fixture.store()
    }

    fn advance(&self, by: Duration) -> impl Future<Output = ()> + Send {
        self.fixture.advance(by)
    }

    fn tick(&self) -> Duration {
        self.fixture.tick() * self.times
    }

    fn slack(&self, idle: Duration) -> Duration {
        self.fixture.slack(idle)
    }

    fn clean(&self, store: &Self::Store) -> impl Future<Output = ()> + Send {
        self.fixture.clean(store)
    }

    fn rounds(&self) -> usize {
        self.fixture.rounds()
    }

    fn neighbour(&self, store: &Self::Store) -> impl Future<Output = Option<Self::Store>> + Send {
        self.fixture.neighbour(store)
    }

    fn peer(&self, store: &Self::Store) -> impl Future<Output = Option<Self::Store>> + Send {
        self.fixture.peer(store)
    }

    fn damage(&self, store: &Self::Store, key: &Key) -> impl Future<Output = bool> + Send {
        self.fixture.damage(store, key)
    }

    fn write_newer(&self, store: &Self::Store, key: &Key) -> impl Future<Output = bool> + Send {
        self.fixture.write_newer(store, key)
    }

    fn asked(&self, store: &Self::Store) -> impl Future<Output = Option<Asked>> + Send {
        self.fixture.asked(store)
    }

    fn costs(&self) -> Costs {
        self.fixture.costs()
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.fixture.block_on(future)
    }
}

fn laws<F: Fixture>() -> Vec<Law<F>> {
    let mut laws: Vec<Law<F>> = Vec::new();
    macro_rules! gather {
        ({} $($law:ident)+) => {
            $(laws.push((stringify!($law), |fixture| fixture.block_on(super::$law(fixture))));)+
        };
    }
    crate::each_law!([gather] {});
    laws
}

/// Whether a law held, and what of it was not checked.
type Run = (Result<(), BrokenLaw>, Vec<NotChecked>);

fn run<F: Fixture>(fixture: &F, (law, run): Law<F>) -> Run {
    NOT_CHECKED.take();
    let held = catch_unwind(AssertUnwindSafe(|| run(fixture)))
        .map_err(|panic| BrokenLaw { law, message: message(&*panic) });
    let not_checked = NOT_CHECKED.take().into_iter().map(|why| NotChecked { law, why });
    (held, not_checked.collect())
}

pub(crate) fn message(panic: &(dyn std::any::Any + Send)) -> String {
    match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(message), _) => message.clone(),
        (None, Some(message)) => String::from(*message),
        (None, None) => String::from("a panic without a message"),
    }
}

/// Whether a law runs with no other beside it.
fn is_alone(law: &str) -> bool {
    CONCURRENT.contains(&law) || COSTS.contains(&law)
}

/// The laws that start threads of their own.
const CONCURRENT: [&str; 19] = [
    "a_change_never_escapes_remove_owner",
    "a_limit_holds_under_concurrent_insertions",
    "a_limit_holds_under_concurrent_logins",
    "a_login_and_a_change_of_what_it_replaces_exclude_each_other",
    "a_login_is_one_step_to_readers",
    "a_login_never_revives_what_was_logged_out",
    "a_login_never_saves_an_entry_from_remove_owner",
    "a_read_in_flight_never_revives_a_removed_entry",
    "a_touch_in_flight_never_brings_old_deadlines_back",
    "an_answer_that_is_no_copy_is_current",
    "clear_misses_nothing_while_others_are_inserted",
    "no_update_is_lost",
    "nothing_in_flight_outlives_the_deadline",
    "of_a_removal_and_a_change_of_one_version_one_takes_effect",
    "of_concurrent_insertions_one_is_made",
    "of_concurrent_logins_over_one_entry_one_is_done",
    "of_concurrent_removals_one_removes",
    "of_concurrent_replacements_of_one_version_one_takes_effect",
    "remove_owner_misses_nothing_while_others_are_inserted",
];

/// The laws about costs.
const COSTS: [&str; 6] = [
    "a_list_costs_what_it_returns",
    "an_insertion_costs_the_same_at_any_limit",
    "each_operation_costs_what_is_stated",
    "no_cost_grows_with_the_owners_entries",
    "only_reads_and_writes_carry_values",
    "what_is_ready_asks_nothing",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_laws_that_start_threads_are_those_that_share_a_caller() {
        let files = [
            include_str!("concurrent.rs"),
            include_str!("processes.rs"),
            include_str!("scan_and_clear.rs"),
        ];
        let laws = files.iter().flat_map(|file| file.split("\npub async fn ").skip(1));
        let concurrent = laws.filter(|law| law.contains("run_concurrently(&"));
        let mut names: Vec<_> = concurrent.filter_map(|law| law.split('<').next()).collect();
        names.sort_unstable();
        assert_eq!(names, CONCURRENT);
    }

    #[test]
    fn the_laws_about_costs_are_known() {
        let laws = include_str!("costs.rs").split("\npub async fn ").skip(1);
        let mut names: Vec<_> = laws.filter_map(|law| law.split('<').next()).collect();
        names.sort_unstable();
        assert_eq!(names, COSTS);
    }
}
