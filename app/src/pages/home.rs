//! The start page of a signed-in user.

use askama::Template;
use kvolt::session::{SessionList, SessionSnapshot, Timestamp};

use super::{Frame, SessionRows};
use crate::accounts::Accounts;
use crate::times::{RelativeTime, left};
use crate::users::User;

#[derive(Template)]
#[template(path = "home.html")]
pub(crate) struct Home<'a> {
    frame: Frame,
    user: &'a User,
    since: RelativeTime,
    left: String,
    remembered: bool,
    list: SessionRows,
}

impl<'a> Home<'a> {
    pub(crate) fn new(
        frame: Frame,
        session: &'a SessionSnapshot<User>,
        all: &SessionList<User>,
        now: Timestamp,
        accounts: &Accounts,
    ) -> Self {
        let mut list = SessionRows::new("/sessions", all, session.id(), now, accounts);
        // Newest first.
        list.rows.reverse();
        Self {
            frame,
            user: session.data(),
            since: RelativeTime::new(session.created(), now),
            left: left(session.ends_at(), now),
            remembered: session.is_remembered(),
            list,
        }
    }
}
