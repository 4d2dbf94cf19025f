//! The life of a session as `tracing` events, under the target `kvolt::session`.
//!
//! They name the public id, never the token, and nothing of the application's data.

use crate::{Owner, SessionId};

const TARGET: &str = "kvolt::session";

pub(crate) fn created(id: SessionId) {
    tracing::info!(target: TARGET, %id, "session created");
}

pub(crate) fn rotated(from: SessionId, id: SessionId) {
    tracing::info!(target: TARGET, %from, %id, "session rotated");
}

pub(crate) fn ended(id: SessionId, reason: Reason) {
    tracing::info!(target: TARGET, %id, reason = reason.name(), "session ended");
}

pub(crate) fn ended_by_owner(owner: &Owner, sessions: usize, reason: Reason) {
    tracing::info!(target: TARGET, %owner, sessions, reason = reason.name(), "sessions ended");
}

pub(crate) fn undecodable(error: &kvolt_cache::Error) {
    let error: &(dyn std::error::Error + 'static) = error;
    tracing::warn!(target: TARGET, error, "a session can't be decoded, and is ended");
}

/// Why sessions ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reason {
    Logout,
    NewLogin,
    Limit,
    RevokedOne,
    RevokedOthers,
    RevokedAll,
    Undecodable,
}

impl Reason {
    fn name(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::NewLogin => "new login",
            Self::Limit => "limit",
            Self::RevokedOne => "revoked",
            Self::RevokedOthers => "others revoked",
            Self::RevokedAll => "all revoked",
            Self::Undecodable => "undecodable",
        }
    }
}
