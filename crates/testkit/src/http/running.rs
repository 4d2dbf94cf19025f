//! Running laws, one or all.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::Poll;

use super::Application;
use crate::conformance::{BrokenLaw, NotChecked, Report, message};

/// Why a law stopped: the application lacks this hook.
struct Missing(&'static str);

/// Stops a law whose hook does nothing.
pub(super) fn require(hook: &'static str, is_there: bool) {
    if !is_there {
        eprintln!("not checked: the application has no hook `{hook}`");
        resume_unwind(Box::new(Missing(hook)));
    }
}

/// Runs a law to its end on a runtime of its own.
#[doc(hidden)]
pub fn run(law: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime starts").block_on(law);
}

/// Runs every law, each on an application that `start` starts, and returns those that the
/// application breaks and those that were not checked, because it has no hook for them.
///
/// The messages of the panics also go to the standard error output. Needs a Tokio runtime with I/O
/// and time.
pub async fn check_laws<A: Application>(start: impl AsyncFn() -> A) -> Report {
    let mut report = Report::default();
    for law in laws() {
        report.note(law, check(law, &start().await).await);
    }
    report
}

/// Runs the law of this name, on an application that no other law has used: see [`check_laws`].
///
/// # Panics
///
/// Panics if there is no law of this name: see [`laws`].
pub async fn check_law(law: &str, application: &impl Application) -> Report {
    let known = laws().into_iter().find(|known| *known == law);
    let law = known.unwrap_or_else(|| panic!("there is no law `{law}`"));
    let mut report = Report::default();
    report.note(law, check(law, application).await);
    report
}

async fn check(law: &str, application: &impl Application) -> Result<(), Panic> {
    macro_rules! of_that_name {
        ({} $($name:ident $(needs $hook:ident)?;)+) => {
            match law {
                $(stringify!($name) => caught(Box::pin(super::$name(application))).await,)+
                _ => unreachable!("each law has a name"),
            }
        };
    }
    crate::each_http_law!([of_that_name] {})
}

/// The names of all laws.
pub fn laws() -> Vec<&'static str> {
    macro_rules! names {
        ({} $($law:ident $(needs $hook:ident)?;)+) => { vec![$(stringify!($law)),+] };
    }
    crate::each_http_law!([names] {})
}

type Panic = Box<dyn std::any::Any + Send>;

async fn caught(mut law: Pin<Box<impl Future<Output = ()>>>) -> Result<(), Panic> {
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| law.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

impl Report {
    fn note(&mut self, law: &'static str, ran: Result<(), Panic>) {
        let Err(panic) = ran else { return };
        match panic.downcast_ref::<Missing>() {
            Some(Missing(why)) => self.not_checked.push(NotChecked { law, why }),
            None => self.broken.push(BrokenLaw { law, message: message(&*panic) }),
        }
    }
}
