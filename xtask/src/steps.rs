//! A list of named steps, run in order until one fails.

use std::time::{Duration, Instant};

use crate::Failure;

/// How a step ended that did not fail.
pub(crate) enum Done {
    Passed,
    /// Left out, and why.
    Skipped(String),
}

impl From<()> for Done {
    fn from((): ()) -> Self {
        Self::Passed
    }
}

struct Step {
    name: &'static str,
    work: Box<dyn FnOnce() -> Result<Done, Failure>>,
}

#[derive(Default)]
pub(crate) struct Steps {
    list: Vec<Step>,
}

impl Steps {
    /// Adds a step at the end.
    pub(crate) fn add<D: Into<Done>>(
        &mut self,
        name: &'static str,
        work: impl FnOnce() -> Result<D, Failure> + 'static,
    ) {
        let work = Box::new(move || work().map(Into::into));
        self.list.push(Step { name, work });
    }

    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.list.iter().map(|step| step.name).collect()
    }

    /// Keeps the steps of these names only.
    pub(crate) fn keep(&mut self, names: &[String]) -> Result<(), Failure> {
        let known = self.names();
        if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
            return Err(format!("there is no step `{name}`; there are: {}", known.join(", ")));
        }
        self.list.retain(|step| names.iter().any(|name| name == step.name));
        Ok(())
    }

    /// Prints the names of the steps, or runs those that were chosen, or all.
    pub(crate) fn run_chosen(mut self, only_list: bool, chosen: &[String]) -> Result<(), Failure> {
        if only_list {
            for name in self.names() {
                println!("{name}");
            }
            return Ok(());
        }
        if !chosen.is_empty() {
            self.keep(chosen)?;
        }
        self.run()
    }

    /// Runs the steps; the first failure ends it.
    pub(crate) fn run(self) -> Result<(), Failure> {
        let all = self.list.len();
        let start = now();
        let mut passed = 0;
        let mut skipped = Vec::new();
        for (at, step) in self.list.into_iter().enumerate() {
            println!("\n=== {} ({} of {all})", step.name, at + 1);
            let step_start = now();
            match (step.work)() {
                Ok(Done::Passed) => {
                    passed += 1;
                    println!("=== {}: passed in {}", step.name, told(step_start.elapsed()));
                }
                Ok(Done::Skipped(why)) => {
                    println!("=== {}: skipped: {why}", step.name);
                    skipped.push(format!("  {}: {why}", step.name));
                }
                Err(failure) => {
                    println!("\nsteps: {passed} passed, 1 failed, {} skipped", skipped.len());
                    return Err(format!("step `{}` failed: {failure}", step.name));
                }
            }
        }
        println!("\nAll steps done in {}.", told(start.elapsed()));
        println!("steps: {passed} passed, 0 failed, {} skipped", skipped.len());
        skipped.iter().for_each(|step| println!("{step}"));
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "how long a build takes is no session's deadline")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

fn told(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        _ => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_ends_the_run_and_is_named() {
        let mut steps = Steps::default();
        steps.add("good", || Ok(()));
        steps.add("bad", || Err::<(), _>("out of luck".to_owned()));
        steps
            .add("never", || -> Result<(), Failure> { unreachable!("a step ran after a failure") });
        assert_eq!(steps.run(), Err("step `bad` failed: out of luck".to_owned()));
    }

    #[test]
    fn a_step_that_does_not_exist_is_an_error() {
        let mut steps = Steps::default();
        steps.add("good", || Ok(()));
        assert!(steps.keep(&["goood".to_owned()]).is_err());
        assert!(steps.keep(&["good".to_owned()]).is_ok());
    }

    #[test]
    fn a_skipped_step_is_no_failure() {
        let mut steps = Steps::default();
        steps.add("absent", || Ok(Done::Skipped("not here".to_owned())));
        assert_eq!(steps.run(), Ok(()));
    }
}
