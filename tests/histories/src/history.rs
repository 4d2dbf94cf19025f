//! A history: calls, their times and their outcomes.

use std::fmt;
use std::sync::Arc;

/// The number of a session: it is part of its data, and never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Birth(pub u32);

/// The number of a token. A session has one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenNo(pub u32);

/// The number of a public id, which a session has for as long as it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdNo(pub u32);

/// The number of an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerNo(pub u32);

/// The number of an update, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpdateNo(pub u32);

/// Everything that happened in one run.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The clients' operations, in the order of invocation.
    pub ops: Vec<Op>,
    /// The servers' faults.
    pub faults: Vec<Fault>,
}

/// One operation of a client.
#[derive(Debug, Clone)]
pub struct Op {
    /// The client.
    pub client: u16,
    /// The server process that the client called.
    pub server: u16,
    /// Nanoseconds from the origin to the call.
    pub invoked: u64,
    /// Nanoseconds from the origin to the answer, the error, or the end of the waiting.
    pub returned: u64,
    /// The call.
    pub call: Call,
    /// Its outcome.
    pub outcome: Outcome,
}

/// A call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Makes a session.
    Create {
        /// The number of the session.
        birth: Birth,
        /// Whose it is.
        owner: Option<OwnerNo>,
    },
    /// Makes a session in the place of the one that a token leads to.
    Login {
        /// The token of the session to be ended.
        old: TokenNo,
        /// The number of the new session.
        birth: Birth,
        /// Whose it is.
        owner: Option<OwnerNo>,
    },
    /// Reads a session.
    Read {
        /// By this token.
        token: TokenNo,
        /// How.
        access: Reading,
    },
    /// Appends a number to a session's ledger.
    Update {
        /// By this token.
        token: TokenNo,
        /// The number.
        update: UpdateNo,
    },
    /// Gives a session another token.
    Rotate {
        /// The token to be replaced.
        token: TokenNo,
        /// Whether it is accepted for a while longer.
        grace: bool,
    },
    /// Ends a session.
    Destroy {
        /// By this token.
        token: TokenNo,
    },
    /// Ends one of an owner's sessions.
    End {
        /// Whose.
        owner: OwnerNo,
        /// Which, by its public id.
        id: IdNo,
    },
    /// Ends all sessions of an owner but this one.
    EndOthers {
        /// The token of the one that stays.
        token: TokenNo,
    },
    /// Ends all sessions of an owner.
    EndAll {
        /// Whose.
        owner: OwnerNo,
    },
    /// Lists an owner's sessions.
    List {
        /// Whose.
        owner: OwnerNo,
    },
}

/// How a session is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// It counts as use.
    Slide,
    /// It does not.
    Peek,
    /// It does not, and no copy may answer.
    Strict,
}

/// The outcome of a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It was answered.
    Done(Answer),
    /// It failed: it took effect, or did not, or will take effect at some time from its invocation on.
    Failed(String),
    /// The client gave up. As with [`Failed`](Self::Failed), it may take effect at any time.
    CutOff,
}

/// The answer to a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A new token: of a creation, a login or a rotation.
    Token {
        /// The token.
        token: TokenNo,
        /// The public id that it names.
        id: IdNo,
    },
    /// The token had been rotated, and there is a successor.
    AlreadyRotated,
    /// There is no such session.
    Absent,
    /// The session, as it was read or updated.
    Seen(Seen),
    /// Whether there was a session to be ended.
    Ended(bool),
    /// How many sessions were ended.
    EndedMany(usize),
    /// The owner's sessions.
    Listed(Vec<Seen>),
}

/// A session as it was shown to a client.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Its public id.
    pub id: IdNo,
    /// Its number.
    pub birth: Birth,
    /// Whose it is.
    pub owner: Option<OwnerNo>,
    /// Its ledger.
    pub updates: Arc<[UpdateNo]>,
}

/// Something that was done to a server.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// What, in a word or two.
    pub what: String,
    /// When it began.
    pub from: u64,
    /// When everything had been put right again.
    pub to: u64,
    /// The changes that the engine may lose by it.
    pub may_lose: MayLose,
}

/// The changes that an engine may lose by a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MayLose {
    /// None that a client has seen.
    Nothing,
    /// Changes that other clients saw, and that were neither on the disk nor acknowledged.
    Unacknowledged,
    /// Changes that were acknowledged shortly before.
    Recent,
}

impl Op {
    /// The answer, if one came.
    pub fn answer(&self) -> Option<&Answer> {
        match &self.outcome {
            Outcome::Done(answer) => Some(answer),
            Outcome::Failed(_) | Outcome::CutOff => None,
        }
    }

    /// Whether it may or may not have taken effect.
    pub fn is_unknown(&self) -> bool {
        self.answer().is_none()
    }

    /// The sessions that were shown in the answer.
    pub fn seen(&self) -> &[Seen] {
        match self.answer() {
            Some(Answer::Seen(seen)) => std::slice::from_ref(seen),
            Some(Answer::Listed(all)) => all,
            _ => &[],
        }
    }

    /// The latest moment at which it may have taken effect.
    pub fn effective_until(&self) -> u64 {
        if self.is_unknown() { u64::MAX } else { self.returned }
    }
}

impl Call {
    /// In a word.
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
            Self::Destroy { .. } => "destroy",
            Self::End { .. } => "end",
            Self::EndOthers { .. } => "revoke_others",
            Self::EndAll { .. } => "revoke_owner",
            Self::List { .. } => "list",
        }
    }

    /// The token by which it asks for one session.
    pub const fn token(&self) -> Option<TokenNo> {
        match self {
            Self::Login { old: token, .. }
            | Self::Read { token, .. }
            | Self::Update { token, .. }
            | Self::Rotate { token, .. }
            | Self::Destroy { token }
            | Self::EndOthers { token } => Some(*token),
            Self::Create { .. } | Self::End { .. } | Self::EndAll { .. } | Self::List { .. } => {
                None
            }
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
            Self::Create { birth, owner } => write!(f, "{name} {birth}{}", Of(*owner)),
            Self::Login { old, birth, owner } => {
                write!(f, "{name} {birth}{} over {old}", Of(*owner))
            }
            Self::Read { token, .. } | Self::Destroy { token } => write!(f, "{name} by {token}"),
            Self::Update { token, update } => write!(f, "{name} by {token} with {update}"),
            Self::Rotate { token, grace } => {
                write!(f, "rotate {token} {}", if *grace { "with grace" } else { "without grace" })
            }
            Self::End { owner, id } => write!(f, "{name} {id} of {owner}"),
            Self::EndOthers { token } => write!(f, "{name} than {token}'s"),
            Self::EndAll { owner } | Self::List { owner } => write!(f, "{name} of {owner}"),
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

/// How many of a ledger's numbers are printed: the last ones are the most useful.
const UPDATES_SHOWN: usize = 6;

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}{} [", self.birth, self.id, Of(self.owner))?;
        let hidden = self.updates.len().saturating_sub(UPDATES_SHOWN);
        if hidden > 0 {
            write!(f, "{hidden} more")?;
        }
        self.updates[hidden..].iter().try_for_each(|update| write!(f, " {update}"))?;
        f.write_str(" ]")
    }
}

struct Of(Option<OwnerNo>);

impl fmt::Display for Of {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |owner| write!(f, " of {owner}"))
    }
}

macro_rules! lettered {
    ($($number:ident $letter:literal;)+) => {
        $(impl fmt::Display for $number {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($letter, "{}"), self.0)
            }
        })+
    };
}

lettered! {
    Birth "session ";
    TokenNo "token ";
    IdNo "id ";
    OwnerNo "owner ";
    UpdateNo "u";
}
