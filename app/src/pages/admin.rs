//! The pages of administrators.

use askama::Template;
use kvolt::session::{Owner, SessionId, SessionList, Timestamp};

use super::{Frame, SessionRows, acting};
use crate::accounts::Accounts;
use crate::audit::Entry;
use crate::devices;
use crate::times::exact;
use crate::users::{Role, User};

/// The sessions of all users, page by page, or those of one user.
#[derive(Template)]
#[template(path = "admin.html")]
pub(crate) struct Admin<'a> {
    frame: Frame,
    /// The name of the one user, or nothing.
    user: &'a str,
    /// The id of that user, if the account exists.
    user_id: Option<u32>,
    /// Whether an administrator can act for that user.
    is_actable: bool,
    list: SessionRows,
    next: Option<&'a str>,
}

impl<'a> Admin<'a> {
    pub(crate) fn new(
        frame: Frame,
        list: &SessionList<User>,
        current: SessionId,
        now: Timestamp,
        accounts: &Accounts,
    ) -> Self {
        let list = SessionRows::new("/admin/sessions", list, current, now, accounts);
        let list = SessionRows { has_users: true, ..list };
        Self { frame, user: "", user_id: None, is_actable: false, list, next: None }
    }

    /// Shows the sessions of one user, by name.
    pub(crate) fn of_user(
        mut self,
        user: &'a str,
        user_id: Option<u32>,
        accounts: &Accounts,
    ) -> Self {
        if !user.is_empty() {
            let encoded = askama::filters::urlencode(user).map(|user| user.to_string());
            self.list.next = format!("/admin?user={}", encoded.unwrap_or_default());
        }
        let account = user_id.and_then(|id| accounts.user(id));
        let is_actable = account.is_some_and(|account| account.user.role == Role::User);
        Self { user, user_id, is_actable, ..self }
    }

    /// The path that ends all sessions of the one user.
    fn end_user_path(&self) -> Option<String> {
        self.user_id.map(|id| format!("/admin/users/{id}/end"))
    }

    /// The path that starts to act for the one user.
    fn act_path(&self) -> Option<String> {
        let id = self.user_id.filter(|_| self.is_actable)?;
        Some(format!("/admin/users/{id}/act"))
    }

    /// The place at which the next page starts.
    pub(crate) fn before(self, next: Option<&'a str>) -> Self {
        Self { next, ..self }
    }
}

#[derive(Template)]
#[template(path = "audit.html")]
pub(crate) struct AuditLog {
    frame: Frame,
    rows: Vec<AuditRow>,
}

struct AuditRow {
    at: String,
    event: String,
    reason: String,
    user: String,
    actor: String,
    device: String,
    address: String,
    session: String,
}

impl AuditLog {
    pub(crate) fn new(frame: Frame, entries: &[Entry], accounts: &Accounts) -> Self {
        let name = |owner: &Option<Owner>| owner.as_ref().map(|owner| accounts.owner_name(owner));
        let row = |entry: &Entry| AuditRow {
            at: exact(entry.at),
            event: entry.event.replace('_', " "),
            reason: entry.reason.replace('_', " "),
            user: match (name(&entry.owner), name(&entry.acting_for)) {
                (user, None) => user.unwrap_or_default(),
                (by, Some(user)) => acting(by, &user),
            },
            actor: entry.actor.as_ref().map(|by| accounts.actor_name(by)).unwrap_or_default(),
            device: entry.device.as_ref().map(devices::name).unwrap_or_default(),
            address: entry.device.as_ref().map(devices::address).unwrap_or_default(),
            session: entry.session.map(|id| id.to_string()).unwrap_or_default(),
        };
        Self { frame, rows: entries.iter().map(row).collect() }
    }
}
