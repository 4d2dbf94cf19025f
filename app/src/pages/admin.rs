//! The pages of administrators.

use askama::Template;
use kvolt::session::{Event, SessionId, SessionList, SessionSnapshot, Timestamp};

use super::Frame;
use crate::accounts::Accounts;
use crate::audit::reason;
use crate::devices::name;
use crate::times::When;
use crate::users::User;

/// Everybody's sessions, some at a time, or those of one user.
#[derive(Template)]
#[template(path = "admin.html")]
pub(crate) struct Admin<'a> {
    frame: Frame,
    /// Whose sessions are asked for, if one user's.
    user: &'a str,
    /// The id of that user, if there is one of that name.
    user_id: Option<u32>,
    rows: Vec<Row>,
    unreadable: &'a [SessionId],
    next: Option<&'a str>,
}

struct Row {
    id: SessionId,
    user: String,
    device: String,
    user_agent: String,
    address: String,
    created: When,
    last_seen: When,
    current: bool,
}

impl<'a> Admin<'a> {
    pub(crate) fn new(
        frame: Frame,
        listing: &'a SessionList<User>,
        current: SessionId,
        now: Timestamp,
    ) -> Self {
        let row = |session: &SessionSnapshot<User>| Row {
            id: session.id(),
            user: session.name.clone(),
            device: name(session.device()),
            user_agent: session.device().user_agent().unwrap_or_default().to_owned(),
            address: session.device().address().map(|a| a.to_string()).unwrap_or_default(),
            created: When::new(session.created(), now),
            last_seen: When::new(session.last_seen(), now),
            current: session.id() == current,
        };
        let rows = listing.sessions.iter().map(row).collect();
        Self { frame, user: "", user_id: None, rows, unreadable: &listing.unreadable, next: None }
    }

    /// Of one user, by name.
    pub(crate) fn of(self, user: &'a str, user_id: Option<u32>) -> Self {
        Self { user, user_id, ..self }
    }

    /// Where it goes on.
    pub(crate) fn followed_by(self, next: Option<&'a str>) -> Self {
        Self { next, ..self }
    }
}

/// What has happened lately.
#[derive(Template)]
#[template(path = "audit.html")]
pub(crate) struct Audit {
    frame: Frame,
    rows: Vec<Happened>,
}

struct Happened {
    at: When,
    what: &'static str,
    reason: String,
    id: String,
    owner: String,
}

impl Audit {
    pub(crate) fn new(frame: Frame, events: &[Event], accounts: &Accounts, now: Timestamp) -> Self {
        let row = |event: &Event| Happened {
            at: When::new(event.at, now),
            what: event.kind.name(),
            reason: reason(event),
            id: event.id.map(|id| id.to_string()).unwrap_or_default(),
            owner: event.owner.as_ref().map(|owner| accounts.owner_name(owner)).unwrap_or_default(),
        };
        Self { frame, rows: events.iter().map(row).collect() }
    }
}
