use std::sync::Arc;
use std::time::Duration;

use crate::history::{Fault, MayLose};
use crate::world::World;
use crate::{Origin, Plan, Random};

/// Hurts the servers of a store, and puts them right again. It may block.
pub trait Disturber: Send + 'static {
    /// Does one thing to the servers.
    fn hurt(&mut self, random: &mut Random) -> Hurt;

    /// Undoes it. When it returns, the servers are as they were, or about to be.
    fn heal(&mut self);

    /// How often, and for how long.
    fn rhythm(&self) -> Rhythm {
        Rhythm::default()
    }
}

/// A fault that a server was given.
#[derive(Debug, Clone)]
pub struct Hurt {
    /// In a word or two.
    pub what: String,
    /// The changes that the engine may lose by it.
    pub may_lose: MayLose,
}

impl Hurt {
    /// Something by which nothing may be lost.
    pub fn harmless(what: impl Into<String>) -> Self {
        Self { what: what.into(), may_lose: MayLose::Nothing }
    }
}

/// The shortest and the longest times, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Rhythm {
    /// In which nothing is hurt.
    pub calm: (u64, u64),
    /// From hurting to healing.
    pub hurt: (u64, u64),
}

impl Default for Rhythm {
    fn default() -> Self {
        Self { calm: (300, 1_200), hurt: (50, 1_200) }
    }
}

/// Hurts and heals until the run is over; ends healed. The disturber comes back, since its servers
/// end with it.
pub(crate) fn run(
    mut disturber: Box<dyn Disturber>,
    world: &Arc<World>,
    origin: Origin,
    plan: &Plan,
) -> (Box<dyn Disturber>, Vec<Fault>) {
    let mut random = Random::new(plan.seed, u64::MAX);
    let rhythm = disturber.rhythm();
    let mut faults = Vec::new();
    while !plan.calm && sleep(world, random.between(rhythm.calm.0, rhythm.calm.1)) {
        let from = origin.elapsed();
        let hurt = disturber.hurt(&mut random);
        // Short more often than long, so that there are many and some outlast every patience.
        let (least, most) = rhythm.hurt;
        sleep(world, random.between(least, most).min(random.between(least, most)));
        disturber.heal();
        let Hurt { what, may_lose } = hurt;
        faults.push(Fault { what, from, to: origin.elapsed(), may_lose });
    }
    (disturber, faults)
}

/// Whether the run went on all the time.
fn sleep(world: &World, millis: u64) -> bool {
    let steps = millis.div_ceil(10);
    for _ in 0..steps {
        if world.is_over() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    !world.is_over()
}
