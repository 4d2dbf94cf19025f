//! The record of a run: operations, their times and their outcomes, and the injected
//! faults.

use std::fmt;
use std::sync::Arc;

/// Number of a session; part of its data, and never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionNo(pub u32);

/// Number of a token. A session has several tokens, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenNo(pub u32);

/// Number of a public id. A session keeps its id while it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdNo(pub u32);

/// Number of an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerNo(pub u32);

/// Number of an update; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpdateNo(pub u32);

/// Everything that happened in one run.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Operations of the clients, ordered by invocation.
    pub ops: Vec<Op>,
    /// Faults injected into the servers.
    pub faults: Vec<FaultPeriod>,
}

/// One operation of a client.
#[derive(Debug, Clone)]
pub struct Op {
    /// Number of the client.
    pub client: u16,
    /// Number of the server process that performed it.
    pub server: u16,
    /// Start of the call, in nanoseconds since the origin.
    pub invoked: u64,
    /// Time of the answer, the error or the timeout, in nanoseconds since the origin.
    pub returned: u64,
    /// The requested operation.
    pub call: Call,
    /// Its outcome.
    pub outcome: Outcome,
}

/// A requested operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Creates a session.
    Create {
        /// Number of the session.
        session_no: SessionNo,
        /// Its owner.
        owner: Option<OwnerNo>,
    },
    /// Creates a session that replaces the session of a token.
    Login {
        /// Token of the replaced session.
        old: TokenNo,
        /// Number of the new session.
        session_no: SessionNo,
        /// Its owner.
        owner: Option<OwnerNo>,
    },
    /// Reads a session.
    Read {
        /// Token of the session.
        token: TokenNo,
        /// Kind of access.
        access: Reading,
    },
    /// Appends an update number to a session's ledger.
    Update {
        /// Token of the session.
        token: TokenNo,
        /// The number.
        update: UpdateNo,
    },
    /// Replaces a session's token.
    Rotate {
        /// The token to replace.
        token: TokenNo,
        /// Whether it stays valid for a grace period.
        grace: bool,
    },
    /// Ends a session by its token.
    Logout {
        /// Token of the session.
        token: TokenNo,
    },
    /// Ends one of an owner's sessions by its id.
    Revoke {
        /// The owner.
        owner: OwnerNo,
        /// Public id of the session.
        id: IdNo,
    },
    /// Ends all other sessions of an owner.
    RevokeOthers {
        /// Token of the session to keep.
        token: TokenNo,
    },
    /// Ends all sessions of an owner.
    RevokeOwner {
        /// The owner.
        owner: OwnerNo,
    },
    /// Lists an owner's sessions.
    List {
        /// The owner.
        owner: OwnerNo,
    },
}

/// Kind of read access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Counts as use and extends the session.
    Slide,
    /// Does not count as use.
    Peek,
    /// Does not count as use, and bypasses near caches.
    Strict,
}

/// Outcome of a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The call was answered.
    Done(Answer),
    /// The call failed: it took effect, or not, or it may take effect at any time after its
    /// invocation.
    Failed(String),
    /// The client's timeout expired. The call may or may not take effect, as with
    /// [`Failed`](Self::Failed).
    CutOff,
}

/// Answer to a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A new token, after a creation, a login or a rotation.
    Token {
        /// The token.
        token: TokenNo,
        /// The public id in it.
        id: IdNo,
    },
    /// The token was already rotated and has a successor.
    AlreadyRotated,
    /// No such session exists.
    Absent,
    /// The session as read or updated.
    Seen(Seen),
    /// Whether a session was ended.
    Ended(bool),
    /// Number of sessions ended.
    EndedMany(usize),
    /// The owner's sessions.
    Listed(Vec<Seen>),
}

/// A session as returned to a client.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Its public id.
    pub id: IdNo,
    /// Its number.
    pub session_no: SessionNo,
    /// Its owner.
    pub owner: Option<OwnerNo>,
    /// Its ledger.
    pub updates: Arc<[UpdateNo]>,
}

/// A fault and its time span.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultPeriod {
    /// Short name of the fault.
    pub name: String,
    /// Start, in nanoseconds since the origin.
    pub from: u64,
    /// Time of full recovery, in nanoseconds since the origin.
    pub to: u64,
    /// Possible losses of the engine.
    pub may_lose: MayLose,
}

/// Possible losses of an engine in a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MayLose {
    /// Nothing that any client has seen.
    Nothing,
    /// Changes that other clients saw shortly before and that were not acknowledged,
    /// because they were not yet on disk.
    Unacknowledged,
    /// Changes acknowledged shortly before.
    Recent,
}

impl Op {
    /// Returns the answer, if one was received.
    pub fn answer(&self) -> Option<&Answer> {
        match &self.outcome {
            Outcome::Done(answer) => Some(answer),
            Outcome::Failed(_) | Outcome::CutOff => None,
        }
    }

    /// Returns whether it is unknown if the call took effect.
    pub fn is_unknown(&self) -> bool {
        self.answer().is_none()
    }

    /// Returns the sessions in the answer.
    pub fn seen(&self) -> &[Seen] {
        match self.answer() {
            Some(Answer::Seen(seen)) => std::slice::from_ref(seen),
            Some(Answer::Listed(all)) => all,
            _ => &[],
        }
    }

    /// Returns the latest time at which the call may have taken effect.
    pub fn effective_until(&self) -> u64 {
        if self.is_unknown() { u64::MAX } else { self.returned }
    }
}

impl Call {
    /// Returns the name of the call.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Login { .. } => "login",
            Self::Read { access: Reading::Slide, .. } => "get",
            Self::Read { access: Reading::Peek, .. } => "peek",
            Self::Read { access: Reading::Strict, .. } => "strict",
            Self::Update { .. } => "update",
            Self::Rotate { grace: false, .. } => "rotate",
            Self::Rotate { grace: true, .. } => "rotate+",
            Self::Logout { .. } => "logout",
            Self::Revoke { .. } => "revoke_owned",
            Self::RevokeOthers { .. } => "revoke_others",
            Self::RevokeOwner { .. } => "revoke_owner",
            Self::List { .. } => "list",
        }
    }

    /// Returns the token that identifies the call's session.
    pub const fn token(&self) -> Option<TokenNo> {
        match self {
            Self::Login { old: token, .. }
            | Self::Read { token, .. }
            | Self::Update { token, .. }
            | Self::Rotate { token, .. }
            | Self::Logout { token }
            | Self::RevokeOthers { token } => Some(*token),
            Self::Create { .. }
            | Self::Revoke { .. }
            | Self::RevokeOwner { .. }
            | Self::List { .. } => None,
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |nanos: u64| nanos as f64 / 1e6;
        write!(f, "[{:>11.3} to {:>11.3} ms] ", millis(self.invoked), millis(self.returned))?;
        write!(f, "client {}, server {}: {} -> ", self.client, self.server, self.call)?;
        match &self.outcome {
            Outcome::Done(answer) => answer.fmt(f),
            Outcome::Failed(error) => write!(f, "failed: {error}"),
            Outcome::CutOff => f.write_str("cut off"),
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        match self {
            Self::Create { session_no, owner } => {
                write!(f, "{name} {session_no}{}", OfOwner(*owner))
            }
            Self::Login { old, session_no, owner } => {
                write!(f, "{name} {session_no}{} over {old}", OfOwner(*owner))
            }
            Self::Read { token, .. } | Self::Logout { token } => write!(f, "{name} by {token}"),
            Self::Update { token, update } => write!(f, "{name} by {token} with {update}"),
            Self::Rotate { token, grace } => {
                write!(f, "rotate {token} {}", if *grace { "with grace" } else { "without grace" })
            }
            Self::Revoke { owner, id } => write!(f, "{name} {id} of {owner}"),
            Self::RevokeOthers { token } => write!(f, "{name} except {token}'s"),
            Self::RevokeOwner { owner } | Self::List { owner } => write!(f, "{name} of {owner}"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token { token, id } => write!(f, "{token} of {id}"),
            Self::AlreadyRotated => f.write_str("already rotated"),
            Self::Absent => f.write_str("absent"),
            Self::Seen(seen) => seen.fmt(f),
            Self::Ended(ended) => ended.fmt(f),
            Self::EndedMany(count) => write!(f, "{count} ended"),
            Self::Listed(all) if all.is_empty() => f.write_str("none"),
            Self::Listed(all) => {
                write!(f, "{} sessions:", all.len())?;
                all.iter().try_for_each(|seen| write!(f, " {seen};"))
            }
        }
    }
}

/// Number of ledger entries printed; the last ones are the most useful.
const UPDATES_SHOWN: usize = 6;

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}{} [", self.session_no, self.id, OfOwner(self.owner))?;
        let hidden = self.updates.len().saturating_sub(UPDATES_SHOWN);
        if hidden > 0 {
            write!(f, "{hidden} more")?;
        }
        self.updates[hidden..].iter().try_for_each(|update| write!(f, " {update}"))?;
        f.write_str(" ]")
    }
}

struct OfOwner(Option<OwnerNo>);

impl fmt::Display for OfOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |owner| write!(f, " of {owner}"))
    }
}

macro_rules! display_with_prefix {
    ($($number:ident $letter:literal;)+) => {
        $(impl fmt::Display for $number {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($letter, "{}"), self.0)
            }
        })+
    };
}

display_with_prefix! {
    SessionNo "session ";
    TokenNo "token ";
    IdNo "id ";
    OwnerNo "owner ";
    UpdateNo "u";
}
