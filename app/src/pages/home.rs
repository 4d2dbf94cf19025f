//! The page of one who is signed in.

use askama::Template;
use kvolt::session::{SessionId, SessionList, SessionSnapshot, Timestamp};

use super::Frame;
use crate::devices::name;
use crate::times::{When, left};
use crate::users::User;

#[derive(Template)]
#[template(path = "home.html")]
pub(crate) struct Home<'a> {
    frame: Frame,
    user: &'a User,
    since: When,
    left: String,
    remembered: bool,
    devices: Vec<Row>,
    unreadable: Vec<SessionId>,
}

struct Row {
    id: SessionId,
    name: String,
    user_agent: String,
    address: String,
    created: When,
    last_seen: When,
    current: bool,
}

impl<'a> Home<'a> {
    pub(crate) fn new(
        frame: Frame,
        session: &'a SessionSnapshot<User>,
        all: &SessionList<User>,
        now: Timestamp,
    ) -> Self {
        let row = |other: &SessionSnapshot<User>| Row {
            id: other.id(),
            name: name(other.device()),
            user_agent: other.device().user_agent().unwrap_or_default().to_owned(),
            address: other.device().address().map(|a| a.to_string()).unwrap_or_default(),
            created: When::new(other.created(), now),
            last_seen: When::new(other.last_seen(), now),
            current: other.id() == session.id(),
        };
        Self {
            frame,
            user: session.data(),
            since: When::new(session.created(), now),
            left: left(session.ends_at(), now),
            remembered: session.is_remembered(),
            // The newest first, which is what people look for.
            devices: all.sessions.iter().rev().map(row).collect(),
            unreadable: all.unreadable.clone(),
        }
    }
}
