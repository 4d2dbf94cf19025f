//! Running all laws in one test.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Fixture;

/// A law that a store broke.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokenLaw {
    /// The name of the law's function.
    pub law: &'static str,
    /// What was wrong.
    pub message: String,
}

/// A law by its name, to be run on a fixture.
type Law<F> = (&'static str, fn(&F));

/// Runs every law and returns those that the store breaks.
///
/// The messages of the panics also go to the standard error output.
pub fn broken_laws<F: Fixture>(fixture: &F) -> Vec<BrokenLaw> {
    laws().into_iter().filter_map(|law| run(fixture, law).err()).collect()
}

/// [`broken_laws`], for a store whose clock can't be moved: most laws then sleep most of the
/// time, so `at_once` of them run side by side, each on a store of its own.
///
/// Where others use the machine, more than a tick may pass between two calls. So a law
/// that moves the clock and seems broken is run again when all are through, by itself, with
/// ticks three and then nine times as long, and counts as broken if it fails each time. The
/// laws that start threads of their own don't look at the clock: they run one by one, and once.
pub fn broken_laws_on_a_real_clock<F: Fixture>(fixture: &F, at_once: usize) -> Vec<BrokenLaw> {
    let slowed = |times| Slowed { fixture: fixture.clone(), times };
    let (concurrent, mut sequential): (Vec<_>, Vec<_>) =
        laws().into_iter().partition(|(name, _)| CONCURRENT.contains(name));
    let mut broken: Vec<_> =
        concurrent.into_iter().filter_map(|law| run(&slowed(1), law).err()).collect();

    let open = Mutex::new(&mut sequential);
    let doubtful = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..at_once.max(1) {
            scope.spawn(|| {
                loop {
                    let next = open.lock().unwrap_or_else(PoisonError::into_inner).pop();
                    let Some(law) = next else { return };
                    if run(&slowed(1), law).is_err() {
                        doubtful.lock().unwrap_or_else(PoisonError::into_inner).push(law);
                    }
                }
            });
        }
    });
    let doubtful = doubtful.into_inner().unwrap_or_else(PoisonError::into_inner);
    let again = |law| run(&slowed(3), law).or_else(|_| run(&slowed(9), law)).err();
    broken.extend(doubtful.into_iter().filter_map(again));
    broken
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

fn run<F: Fixture>(fixture: &F, (law, run): Law<F>) -> Result<(), BrokenLaw> {
    catch_unwind(AssertUnwindSafe(|| run(fixture)))
        .map_err(|panic| BrokenLaw { law, message: message(&*panic) })
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(message), _) => message.clone(),
        (None, Some(message)) => String::from(*message),
        (None, None) => String::from("a panic without a message"),
    }
}

/// The laws that start threads of their own.
const CONCURRENT: [&str; 14] = [
    "a_limit_holds_under_concurrent_insertions",
    "a_read_in_flight_never_revives_a_removed_entry",
    "a_renaming_is_one_step_to_readers",
    "a_renaming_never_escapes_remove_owner",
    "a_renaming_never_undoes_a_removal",
    "a_renaming_with_a_value_loses_no_update",
    "clear_misses_nothing_while_others_are_inserted",
    "no_update_is_lost",
    "no_update_is_lost_to_a_renaming",
    "of_concurrent_insertions_one_is_made",
    "of_concurrent_removals_one_removes",
    "of_concurrent_renamings_one_moves",
    "of_concurrent_replacements_of_one_version_one_takes_effect",
    "remove_owner_misses_nothing_while_others_are_inserted",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_laws_that_start_threads_are_those_that_share_a_caller() {
        let files = [include_str!("concurrent.rs"), include_str!("whole.rs")];
        let laws = files.iter().flat_map(|file| file.split("\npub async fn ").skip(1));
        let concurrent = laws.filter(|law| law.contains("together(&"));
        let mut names: Vec<_> = concurrent.filter_map(|law| law.split('<').next()).collect();
        names.sort_unstable();
        assert_eq!(names, CONCURRENT);
    }
}
