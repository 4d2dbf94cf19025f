//! The settings that the laws expect, and what all adapters' handlers write in the same way.

use std::time::Duration;

use kvolt_middleware::{Refusal, Result, Session, Sessions};
use kvolt_session::{
    AnonymousSessions, Level, ManagerBuilder, OwnerLimit, SessionId, StepUp, Timeouts, TokenReuse,
};
use kvolt_testkit::http::{
    FRESH, GRACE, IDLE, LIFETIME, LIMIT, LOOKUP, REMEMBERED_IDLE, REMEMBERED_LIFETIME,
    ROTATE_EVERY, TRUSTED_ORIGIN,
};

use crate::User;

/// The sessions of the application.
pub(crate) fn sessions(builder: ManagerBuilder<User>) -> Sessions<User> {
    let carry_over =
        |visitor: &User, user: &mut User| user.basket.extend(visitor.basket.iter().cloned());
    let manager = builder
        .timeouts(Timeouts::new(IDLE, LIFETIME))
        .remembered_timeouts(Timeouts::new(REMEMBERED_IDLE, REMEMBERED_LIFETIME))
        .rotate_every(ROTATE_EVERY)
        .rotation_grace(GRACE)
        .token_reuse(TokenReuse::EndSession)
        .owner_limit(OwnerLimit::refuse(LIMIT))
        .anonymous(AnonymousSessions::new(1_000).carry_over(carry_over))
        .build()
        .expect("valid settings");
    Sessions::builder(manager)
        .lookup(LOOKUP.parse().expect("a valid lookup"))
        .trusted_origin(TRUSTED_ORIGIN)
        // No law is about this timeout, and the machine may be busy.
        .store_timeout(Duration::from_secs(30))
        .build()
        .expect("valid settings")
}

/// The refusal of `/page` and the routes below it.
pub(crate) fn to_pages() -> Refusal {
    let refusal = Refusal::redirect_browsers("/sign-in");
    refusal.and_then(|refusal| refusal.step_up_page("/password")).expect("paths of this site")
}

pub(crate) fn fresh() -> StepUp {
    StepUp::within(FRESH)
}

pub(crate) fn strong() -> StepUp {
    StepUp::at_level(Level::Two)
}

/// The owner's sessions, one on each line.
pub(crate) async fn list(session: &Session<User>) -> Result<String> {
    let list = session.list().await?;
    let readable = list.sessions.iter().map(|other| other.id());
    let unreadable = list.unreadable.iter().copied();
    let line = |id: SessionId| {
        let mark = if id == session.id() { '*' } else { '-' };
        format!("{mark} {id}\n")
    };
    Ok(readable.chain(unreadable).map(line).collect())
}
