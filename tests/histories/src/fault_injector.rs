use std::sync::Arc;
use std::time::Duration;

use crate::history::{FaultPeriod, MayLose};
use crate::workload::Workload;
use crate::{Origin, Plan, Random};

/// Injects faults into the servers of a store, and undoes them. All methods may block.
pub trait FaultInjector: Send + 'static {
    /// Injects one fault.
    fn inject(&mut self, random: &mut Random) -> Fault;

    /// Undoes the fault. When it returns, the servers have recovered or are recovering.
    fn undo(&mut self);

    /// Returns how often faults are injected, and for how long.
    fn schedule(&self) -> Schedule {
        Schedule::default()
    }
}

/// A fault that was injected.
#[derive(Debug, Clone)]
pub struct Fault {
    /// A short name.
    pub name: String,
    /// Possible losses of the engine.
    pub may_lose: MayLose,
}

impl Fault {
    /// A fault that must lose nothing.
    pub fn harmless(name: impl Into<String>) -> Self {
        Self { name: name.into(), may_lose: MayLose::Nothing }
    }
}

/// Minimum and maximum durations in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// Pause between two faults.
    pub pause: (u64, u64),
    /// Duration of a fault.
    pub duration: (u64, u64),
}

impl Default for Schedule {
    fn default() -> Self {
        Self { pause: (300, 1_200), duration: (50, 1_200) }
    }
}

/// Injects faults until the run is over, and undoes the last one. Returns the injector,
/// since its servers stop on drop.
pub(crate) fn run(
    mut injector: Box<dyn FaultInjector>,
    workload: &Arc<Workload>,
    origin: Origin,
    plan: &Plan,
) -> (Box<dyn FaultInjector>, Vec<FaultPeriod>) {
    let mut random = Random::new(plan.seed, u64::MAX);
    let schedule = injector.schedule();
    let mut faults = Vec::new();
    while !plan.without_faults
        && sleep(workload, random.between(schedule.pause.0, schedule.pause.1))
    {
        let from = origin.elapsed();
        let fault = injector.inject(&mut random);
        // The minimum of two draws: short faults are more frequent, and some outlast every
        // timeout.
        let (least, most) = schedule.duration;
        sleep(workload, random.between(least, most).min(random.between(least, most)));
        injector.undo();
        let Fault { name, may_lose } = fault;
        faults.push(FaultPeriod { name, from, to: origin.elapsed(), may_lose });
    }
    (injector, faults)
}

/// Sleeps; returns false as soon as the run is over.
fn sleep(workload: &Workload, millis: u64) -> bool {
    let steps = millis.div_ceil(10);
    for _ in 0..steps {
        if workload.is_over() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    !workload.is_over()
}
