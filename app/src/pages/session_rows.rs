use kvolt::session::{SessionId, SessionList, SessionSnapshot, Timestamp};

use super::acting;
use crate::accounts::Accounts;
use crate::devices;
use crate::times::RelativeTime;
use crate::users::User;

/// A list of sessions, with a button to end each. The template is `session_rows.html`.
pub(super) struct SessionRows {
    /// The path below which sessions are ended.
    pub(super) path: &'static str,
    /// The page to go to afterwards; empty for the default.
    pub(super) next: String,
    /// Whether each row names its user.
    pub(super) has_users: bool,
    pub(super) rows: Vec<SessionRow>,
    /// The sessions that can't be decoded.
    pub(super) unreadable: Vec<SessionId>,
}

pub(super) struct SessionRow {
    pub(super) id: SessionId,
    pub(super) user: String,
    /// If an administrator acts for the user: that, as text.
    pub(super) acting: Option<String>,
    pub(super) device: String,
    pub(super) user_agent: String,
    pub(super) address: String,
    pub(super) created: RelativeTime,
    pub(super) last_seen: RelativeTime,
    pub(super) current: bool,
    /// When its device last proved that it has its key, if it is bound to one.
    pub(super) proved: Option<RelativeTime>,
}

impl SessionRows {
    pub(super) fn new(
        path: &'static str,
        list: &SessionList<User>,
        current: SessionId,
        now: Timestamp,
        accounts: &Accounts,
    ) -> Self {
        let row = |session: &SessionSnapshot<User>| SessionRow {
            id: session.id(),
            user: session.name.clone(),
            acting: session
                .acting_for()
                .map(|_| acting(session.owner().map(|by| accounts.owner_name(by)), &session.name)),
            device: devices::name(session.device()),
            user_agent: session.device().user_agent().unwrap_or_default().to_owned(),
            address: devices::address(session.device()),
            created: RelativeTime::new(session.created(), now),
            last_seen: RelativeTime::new(session.last_seen(), now),
            current: session.id() == current,
            proved: session.device_proved().map(|proved| RelativeTime::new(proved, now)),
        };
        Self {
            path,
            next: String::new(),
            has_users: false,
            rows: list.sessions.iter().map(row).collect(),
            unreadable: list.unreadable.clone(),
        }
    }

    /// The number of sessions.
    pub(super) fn count(&self) -> usize {
        self.rows.len() + self.unreadable.len()
    }
}
