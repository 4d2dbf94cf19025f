//! A client that performs random operations.

use std::sync::Arc;
use std::time::Duration;

use kvolt_session::{Access, NewSession, Result, RotateOutcome, SessionSnapshot, Token};
use tokio::time::{sleep, timeout};

use crate::history::{Answer, Call, Op, Outcome, OwnerNo, Reading, SessionNo};
use crate::workload::{KnownToken, Workload, name};
use crate::{Ledger, Origin, Plan, Process, Random};

/// A session is ended after this many updates, so that ledgers stay small.
const MAX_UPDATES: usize = 48;

/// Bounds of a short timeout, which interrupts an operation at an arbitrary step.
const SHORT_TIMEOUT: (Duration, Duration) = (Duration::ZERO, Duration::from_millis(4));

pub(crate) struct Client {
    pub(crate) number: u16,
    pub(crate) workload: Arc<Workload>,
    pub(crate) processes: Arc<[Process]>,
    pub(crate) origin: Origin,
    pub(crate) random: Random,
    pub(crate) timeout_range: (Duration, Duration),
    /// One in this many operations gets a short timeout.
    pub(crate) short_timeout_one_in: Option<usize>,
    /// Whether the outcome of the last operation is unknown.
    pub(crate) last_call_failed: bool,
    pub(crate) ops: Vec<Op>,
}

/// An operation to perform, with the token itself.
struct Request {
    call: Call,
    known: Option<KnownToken>,
}

/// The result of a manager call.
enum Reply {
    Token(Token, Option<OwnerNo>),
    Rotated(RotateOutcome, Option<OwnerNo>),
    Session(Option<SessionSnapshot<Ledger>>),
    Ended(bool),
    EndedMany(usize),
    List(Vec<SessionSnapshot<Ledger>>),
}

impl Client {
    pub(crate) async fn run(mut self, plan: Plan) -> Vec<Op> {
        while !self.workload.is_over() {
            if !self.workload.count() {
                self.workload.end();
                break;
            }
            let ask = self.choose();
            let server = self.random.below(self.processes.len());
            if self.ask(server, ask).await {
                let pause = self.random.between(0, plan.pause_max.as_micros() as u64);
                match pause {
                    0 => tokio::task::yield_now().await,
                    _ => sleep(Duration::from_micros(pause)).await,
                }
            } else {
                // While a store is unavailable, back off.
                sleep(Duration::from_millis(self.random.between(5, 25))).await;
            }
        }
        self.ops
    }

    /// Reads a token after the run; returns false if there was no answer.
    pub(crate) async fn read_back(
        &mut self,
        server: usize,
        known: KnownToken,
        access: Reading,
    ) -> bool {
        let call = Call::Read { token: known.number, access };
        self.ask(server, Request { call, known: Some(known) }).await
    }

    /// Lists an owner's sessions after the run; returns false if there was no answer.
    pub(crate) async fn list_back(&mut self, server: usize, owner: OwnerNo) -> bool {
        self.ask(server, Request { call: Call::List { owner }, known: None }).await
    }

    fn choose(&mut self) -> Request {
        if self.workload.has_room() && self.random.one_in(4) || self.random.one_in(60) {
            return self.create();
        }
        // Replay previous tokens, whatever their state.
        let replayed = self.random.one_in(5).then(|| self.workload.old(&mut self.random)).flatten();
        let Some(known) = replayed.or_else(|| self.workload.live(&mut self.random)) else {
            return self.create();
        };
        let token = known.number;
        // A failed removal may take effect at any later time, so the checker can draw no
        // conclusions about that session. While a store is unavailable, clients therefore
        // mostly read and update.
        let calls = if self.last_call_failed && !self.random.one_in(6) { 67 } else { 100 };
        let call = match self.random.below(calls) {
            0..22 => Call::Read { token, access: Reading::Slide },
            22..30 => Call::Read { token, access: Reading::Peek },
            30..35 => Call::Read { token, access: Reading::Strict },
            35..67 => Call::Update { token, update: self.workload.update() },
            67..73 => Call::Rotate { token, grace: false },
            73..79 => Call::Rotate { token, grace: true },
            79..84 => {
                let owner = self.owner_of_another();
                Call::Login { old: token, session_no: self.workload.session_no(), owner }
            }
            84..87 => Call::Logout { token },
            87..94 => Call::List { owner: self.workload.owner(&mut self.random) },
            94..97 => {
                // Sometimes use another owner, which the manager must reject.
                let own = known.owner.filter(|_| !self.random.one_in(4));
                let owner = own.unwrap_or_else(|| self.workload.owner(&mut self.random));
                Call::Revoke { owner, id: known.id }
            }
            97..99 => Call::RevokeOthers { token },
            _ => Call::RevokeOwner { owner: self.workload.owner(&mut self.random) },
        };
        Request { call, known: Some(known) }
    }

    fn create(&mut self) -> Request {
        let owner = self.owner_of_another();
        Request {
            call: Call::Create { session_no: self.workload.session_no(), owner },
            known: None,
        }
    }

    fn owner_of_another(&mut self) -> Option<OwnerNo> {
        (!self.random.one_in(8)).then(|| self.workload.owner_of_another(&mut self.random))
    }

    /// Performs and records an operation, and updates the workload; returns false if there
    /// was no answer.
    async fn ask(&mut self, server: usize, ask: Request) -> bool {
        let has_short_timeout =
            self.short_timeout_one_in.is_some_and(|times| self.random.one_in(times));
        let (least, most) = if has_short_timeout { SHORT_TIMEOUT } else { self.timeout_range };
        let timeout_range = self.random.between(least.as_micros() as u64, most.as_micros() as u64);
        let process = self.processes[server].clone();
        let invoked = self.origin.elapsed();
        let reply = perform(&process, &ask);
        let reply = timeout(Duration::from_micros(timeout_range), reply).await;
        let returned = self.origin.elapsed();
        let outcome = match reply {
            Ok(Ok(reply)) => Outcome::Done(self.answer(reply)),
            Ok(Err(error)) => Outcome::Failed(error.to_string()),
            Err(_) => Outcome::CutOff,
        };
        let op = Op {
            client: self.number,
            server: server as u16,
            invoked,
            returned,
            call: ask.call,
            outcome,
        };
        self.apply_outcome(&op, ask.known.as_ref());
        self.last_call_failed = op.is_unknown();
        self.ops.push(op);
        !self.last_call_failed
    }

    fn answer(&self, reply: Reply) -> Answer {
        match reply {
            Reply::Token(token, owner) | Reply::Rotated(RotateOutcome::Token(token), owner) => {
                let (token, id) = self.workload.add(token, owner);
                Answer::Token { token, id }
            }
            Reply::Rotated(RotateOutcome::AlreadyRotated, _) => Answer::AlreadyRotated,
            Reply::Rotated(RotateOutcome::Absent, _) | Reply::Session(None) => Answer::Absent,
            Reply::Session(Some(session)) => Answer::Seen(self.workload.seen(&session)),
            Reply::Ended(ended) => Answer::Ended(ended),
            Reply::EndedMany(count) => Answer::EndedMany(count),
            Reply::List(all) => {
                Answer::Listed(all.iter().map(|session| self.workload.seen(session)).collect())
            }
        }
    }

    /// Retires the tokens and owners that clients should no longer use.
    fn apply_outcome(&mut self, op: &Op, known: Option<&KnownToken>) {
        let retire_session =
            || self.workload.retire(|live| known.is_some_and(|it| it.id == live.id));
        let retire_token =
            || self.workload.retire(|live| known.is_some_and(|it| it.number == live.number));
        match (&op.call, &op.outcome) {
            // These may take effect at any later time, and the checker would need to allow
            // for that until the end of the run.
            (Call::RevokeOwner { owner }, Outcome::Failed(_) | Outcome::CutOff) => {
                self.workload.retire_owner(*owner);
            }
            (Call::RevokeOthers { .. }, Outcome::Failed(_) | Outcome::CutOff) => {
                if let Some(owner) = known.and_then(|known| known.owner) {
                    self.workload.retire_owner(owner);
                }
            }
            (Call::Logout { .. } | Call::Login { .. } | Call::Revoke { .. }, Outcome::Done(_))
                if op.answer() != Some(&Answer::Ended(false)) =>
            {
                retire_session();
            }
            (Call::Rotate { .. }, Outcome::Done(_)) | (_, Outcome::Done(Answer::Absent)) => {
                retire_token();
            }
            (_, Outcome::Done(Answer::Seen(seen))) if seen.updates.len() > MAX_UPDATES => {
                retire_session();
            }
            _ => {}
        }
    }
}

async fn perform(process: &Process, ask: &Request) -> Result<Reply> {
    let Process { strict, graceful } = process;
    let known = ask.known.as_ref();
    let (token, owner) = (known.map(|known| &*known.token), known.and_then(|known| known.owner));
    Ok(match (&ask.call, token) {
        (Call::Create { session_no, owner }, _) => {
            Reply::Token(strict.create(session(*session_no, *owner)).await?, *owner)
        }
        (Call::Login { session_no, owner, .. }, old) => {
            Reply::Token(strict.login(old, session(*session_no, *owner)).await?, *owner)
        }
        (Call::List { owner }, _) => Reply::List(strict.list(&name(*owner)).await?.sessions),
        (Call::RevokeOwner { owner }, _) => {
            Reply::EndedMany(strict.revoke_owner(&name(*owner)).await?)
        }
        // The following calls need a token.
        (_, None) => Reply::Session(None),
        (Call::Read { access, .. }, Some(token)) => Reply::Session(match access {
            Reading::Slide => strict.get(token).await?,
            Reading::Peek => strict.peek(token).await?,
            Reading::Strict => strict.get_with(token, Access::PEEK.strict()).await?,
        }),
        (Call::Update { update, .. }, Some(token)) => {
            let append = |ledger: &mut Ledger| ledger.updates.push(update.0);
            Reply::Session(strict.update(token, append).await?)
        }
        (Call::Rotate { grace, .. }, Some(token)) => {
            let manager = if *grace { graceful } else { strict };
            Reply::Rotated(manager.rotate(token).await?, owner)
        }
        (Call::Revoke { owner, .. }, Some(token)) => {
            Reply::Ended(strict.revoke_owned(&name(*owner), token.id()).await?)
        }
        (Call::Logout { .. }, Some(token)) => Reply::Ended(strict.logout(token).await?),
        (Call::RevokeOthers { .. }, Some(token)) => {
            Reply::EndedMany(strict.revoke_others(token).await?)
        }
    })
}

fn session(session_no: SessionNo, owner: Option<OwnerNo>) -> NewSession<Ledger> {
    let session = NewSession::new(Ledger { session_no: session_no.0, updates: Vec::new() });
    match owner {
        Some(owner) => session.owner(name(owner)),
        None => session,
    }
}
