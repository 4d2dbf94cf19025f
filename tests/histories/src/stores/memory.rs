use std::time::Duration;

use kvolt_cache::{MemoryStore, NearCache};
use kvolt_session::Record;
use kvolt_testkit::{Call, Faults, FaultyStore, PushingStore};

use super::{Setup, to_text};
use crate::checker::Rules;
use crate::{Fault, FaultInjector, Ledger, Process, Random, Schedule};

type Inner = MemoryStore<Record<Ledger>>;

/// Interval of the heartbeat that keeps a near cache current.
const HEARTBEAT: Duration = Duration::from_millis(20);

pub(super) fn open(near_cache: Option<Duration>) -> Result<Setup, String> {
    let rules = Rules { bound: near_cache, ..Rules::default() };
    let (store, faults) = FaultyStore::new(Inner::new());
    let Some(bound) = near_cache else {
        // Two views of one store: one completes calls immediately, the other only after a
        // suspension.
        let (slow, slow_faults) = FaultyStore::new(store.inner().clone());
        slow_faults.answers_at_once(false);
        let processes = [
            Process::new(store, rules.grace).map_err(to_text)?,
            Process::new(slow, rules.grace).map_err(to_text)?,
        ];
        let injector = Box::new(CallFaults { faults: vec![faults, slow_faults] });
        return Ok(Setup { processes: processes.into(), rules, injector });
    };
    faults.answers_at_once(false);
    // One process has a near cache; the other changes the store behind it.
    let (pushing, pushes) = PushingStore::new(store);
    let near = NearCache::builder(pushing.clone()).bound(bound).build().map_err(to_text)?;
    let processes = [
        Process::new(near, rules.grace).map_err(to_text)?,
        Process::new(pushing, rules.grace).map_err(to_text)?,
    ];
    let beating = pushes.clone();
    tokio::spawn(async move {
        loop {
            // While pushes are cut off, the heartbeat never completes.
            let _ = tokio::time::timeout(HEARTBEAT, beating.beat()).await;
            tokio::time::sleep(HEARTBEAT).await;
        }
    });
    let injector = Box::new(PushFaults { pushes, failing: CallFaults { faults: vec![faults] } });
    Ok(Setup { processes: processes.into(), rules, injector })
}

/// Fails, holds and loses calls and answers.
struct CallFaults {
    faults: Vec<Faults>,
}

impl FaultInjector for CallFaults {
    fn inject(&mut self, random: &mut Random) -> Fault {
        let Some(faults) = random.choose(&self.faults) else { return Fault::harmless("nothing") };
        if random.one_in(3) {
            faults.only(&[
                Call::Insert,
                Call::Touch,
                Call::Replace,
                Call::Remove,
                Call::RemoveOwner,
            ]);
        }
        Fault::harmless(match random.below(6) {
            0 => {
                faults.fail_next(random.between(1, 50) as usize);
                "some calls fail"
            }
            1 => {
                faults.fail_all(true);
                "all calls fail"
            }
            2 => {
                faults.lose_next_answers(random.between(1, 50) as usize);
                "some answers get lost"
            }
            3 => {
                faults.lose_all_answers(true);
                "all answers get lost"
            }
            4 => {
                faults.hold_calls();
                "calls are held"
            }
            _ => {
                faults.hold_answers();
                "answers are held"
            }
        })
    }

    fn undo(&mut self) {
        for faults in &self.faults {
            faults.fail_next(0);
            faults.fail_all(false);
            faults.lose_next_answers(0);
            faults.lose_all_answers(false);
            faults.only(&[]);
            faults.release();
        }
    }

    fn schedule(&self) -> Schedule {
        Schedule { pause: (20, 200), duration: (5, 250) }
    }
}

/// Also holds and drops the changes pushed to a near cache.
struct PushFaults {
    pushes: kvolt_testkit::Pushes,
    failing: CallFaults,
}

impl FaultInjector for PushFaults {
    fn inject(&mut self, random: &mut Random) -> Fault {
        match random.below(4) {
            0 => {
                self.pushes.hold();
                Fault::harmless("pushes are held")
            }
            1 => {
                self.pushes.cut();
                Fault::harmless("pushes are cut off")
            }
            _ => self.failing.inject(random),
        }
    }

    fn undo(&mut self) {
        self.pushes.heal();
        self.pushes.release();
        self.failing.undo();
    }

    fn schedule(&self) -> Schedule {
        Schedule { pause: (50, 500), duration: (20, 600) }
    }
}
