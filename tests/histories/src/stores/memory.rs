use std::time::Duration;

use kvolt_cache::{MemoryStore, NearCache};
use kvolt_session::Record;
use kvolt_testkit::{Call, Faults, FaultyStore, PushingStore};

use super::{Setup, words};
use crate::checker::Rules;
use crate::{Disturber, Hurt, Ledger, Process, Random, Rhythm};

type Inner = MemoryStore<Record<Ledger>>;

/// How often a near cache gets a sign of life.
const BEAT: Duration = Duration::from_millis(20);

pub(super) fn open(near_cache: Option<Duration>) -> Result<Setup, String> {
    let rules = Rules { bound: near_cache, ..Rules::default() };
    let (store, faults) = FaultyStore::new(Inner::new());
    let Some(bound) = near_cache else {
        // A store that does no I/O, and the same one as if it did.
        let (slow, slow_faults) = FaultyStore::new(store.inner().clone());
        slow_faults.answers_at_once(false);
        let processes = [
            Process::new(store, rules.grace).map_err(words)?,
            Process::new(slow, rules.grace).map_err(words)?,
        ];
        let disturber = Box::new(Failing { faults: vec![faults, slow_faults] });
        return Ok(Setup { processes: processes.into(), rules, disturber });
    };
    faults.answers_at_once(false);
    // One has copies; the other changes what they are copies of.
    let (pushing, pushes) = PushingStore::new(store, kvolt_cache::Clock::system());
    let near = NearCache::builder(pushing.clone()).bound(bound).build().map_err(words)?;
    let processes = [
        Process::new(near, rules.grace).map_err(words)?,
        Process::new(pushing, rules.grace).map_err(words)?,
    ];
    let beating = pushes.clone();
    tokio::spawn(async move {
        loop {
            // One that is cut off answers never.
            let _ = tokio::time::timeout(BEAT, beating.beat()).await;
            tokio::time::sleep(BEAT).await;
        }
    });
    let disturber = Box::new(FaultyFeed { pushes, failing: Failing { faults: vec![faults] } });
    Ok(Setup { processes: processes.into(), rules, disturber })
}

/// Fails, holds and loses calls and answers.
struct Failing {
    faults: Vec<Faults>,
}

impl Disturber for Failing {
    fn hurt(&mut self, random: &mut Random) -> Hurt {
        let Some(faults) = random.choose(&self.faults) else { return Hurt::harmless("nothing") };
        if random.one_in(3) {
            faults.only(&[
                Call::Insert,
                Call::Touch,
                Call::Replace,
                Call::Remove,
                Call::RemoveOwner,
            ]);
        }
        Hurt::harmless(match random.below(6) {
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

    fn heal(&mut self) {
        for faults in &self.faults {
            faults.fail_next(0);
            faults.fail_all(false);
            faults.lose_next_answers(0);
            faults.lose_all_answers(false);
            faults.only(&[]);
            faults.release();
        }
    }

    fn rhythm(&self) -> Rhythm {
        Rhythm { calm: (20, 200), hurt: (5, 250) }
    }
}

/// Delays and cuts off the changes that are pushed to near caches.
struct FaultyFeed {
    pushes: kvolt_testkit::Pushes,
    failing: Failing,
}

impl Disturber for FaultyFeed {
    fn hurt(&mut self, random: &mut Random) -> Hurt {
        match random.below(4) {
            0 => {
                self.pushes.hold();
                Hurt::harmless("pushes are held")
            }
            1 => {
                self.pushes.cut();
                Hurt::harmless("pushes are cut off")
            }
            _ => self.failing.hurt(random),
        }
    }

    fn heal(&mut self) {
        self.pushes.heal();
        self.pushes.release();
        self.failing.heal();
    }

    fn rhythm(&self) -> Rhythm {
        Rhythm { calm: (50, 500), hurt: (20, 600) }
    }
}
