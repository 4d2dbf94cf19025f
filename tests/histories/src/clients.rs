//! A client, which calls at random.

use std::sync::Arc;
use std::time::Duration;

use kvolt_session::{Access, NewSession, Result, RotateOutcome, SessionSnapshot, Token};
use tokio::time::{sleep, timeout};

use crate::history::{Answer, Birth, Call, Op, Outcome, OwnerNo, Reading};
use crate::world::{Known, World, name};
use crate::{Ledger, Origin, Plan, Process, Random};

/// A session with so many updates is ended, so that a ledger stays small.
const MAX_UPDATES: usize = 48;

/// How long a client waits that gives up almost at once: in the midst of any step.
const HASTE: (Duration, Duration) = (Duration::ZERO, Duration::from_millis(4));

pub(crate) struct Client {
    pub(crate) number: u16,
    pub(crate) world: Arc<World>,
    pub(crate) processes: Arc<[Process]>,
    pub(crate) origin: Origin,
    pub(crate) random: Random,
    pub(crate) patience: (Duration, Duration),
    /// One in so many questions is given up almost at once.
    pub(crate) hasty_one_in: Option<usize>,
    /// Whether the last question had no answer.
    pub(crate) is_troubled: bool,
    pub(crate) ops: Vec<Op>,
}

/// A call to make, with the token itself.
struct Ask {
    call: Call,
    known: Option<Known>,
}

/// A manager's reply.
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
        while !self.world.is_over() {
            if !self.world.count() {
                self.world.end();
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
                // A client does not call a thousand times a second while the store is down.
                sleep(Duration::from_millis(self.random.between(5, 25))).await;
            }
        }
        self.ops
    }

    /// Reads a token back after everything; `false` if there was no answer.
    pub(crate) async fn read_back(&mut self, server: usize, known: Known, access: Reading) -> bool {
        let call = Call::Read { token: known.number, access };
        self.ask(server, Ask { call, known: Some(known) }).await
    }

    /// Lists an owner's sessions after everything; `false` if there was no answer.
    pub(crate) async fn list_back(&mut self, server: usize, owner: OwnerNo) -> bool {
        self.ask(server, Ask { call: Call::List { owner }, known: None }).await
    }

    fn choose(&mut self) -> Ask {
        if self.world.has_room() && self.random.one_in(4) || self.random.one_in(60) {
            return self.create();
        }
        // Old tokens are replayed, whatever became of them.
        let replayed = self.random.one_in(5).then(|| self.world.old(&mut self.random)).flatten();
        let Some(known) = replayed.or_else(|| self.world.live(&mut self.random)) else {
            return self.create();
        };
        let token = known.number;
        // A call that failed to end a session may end it at any later time, and then the checker knows
        // nothing about the session. So while a store is down, clients mostly read and update.
        let calls = if self.is_troubled && !self.random.one_in(6) { 67 } else { 100 };
        let call = match self.random.below(calls) {
            0..22 => Call::Read { token, access: Reading::Slide },
            22..30 => Call::Read { token, access: Reading::Peek },
            30..35 => Call::Read { token, access: Reading::Strict },
            35..67 => Call::Update { token, update: self.world.update() },
            67..73 => Call::Rotate { token, grace: false },
            73..79 => Call::Rotate { token, grace: true },
            79..84 => {
                let owner = self.owner_of_another();
                Call::Login { old: token, birth: self.world.birth(), owner }
            }
            84..87 => Call::Destroy { token },
            87..94 => Call::List { owner: self.world.owner(&mut self.random) },
            94..97 => {
                // Sometimes another owner's, which must be rejected.
                let own = known.owner.filter(|_| !self.random.one_in(4));
                let owner = own.unwrap_or_else(|| self.world.owner(&mut self.random));
                Call::End { owner, id: known.id }
            }
            97..99 => Call::EndOthers { token },
            _ => Call::EndAll { owner: self.world.owner(&mut self.random) },
        };
        Ask { call, known: Some(known) }
    }

    fn create(&mut self) -> Ask {
        let owner = self.owner_of_another();
        Ask { call: Call::Create { birth: self.world.birth(), owner }, known: None }
    }

    fn owner_of_another(&mut self) -> Option<OwnerNo> {
        (!self.random.one_in(8)).then(|| self.world.owner_of_another(&mut self.random))
    }

    /// Asks, records, and takes note of what the answer means; `false` if none came.
    async fn ask(&mut self, server: usize, ask: Ask) -> bool {
        let is_hasty = self.hasty_one_in.is_some_and(|times| self.random.one_in(times));
        let (least, most) = if is_hasty { HASTE } else { self.patience };
        let patience = self.random.between(least.as_micros() as u64, most.as_micros() as u64);
        let process = self.processes[server].clone();
        let invoked = self.origin.elapsed();
        let reply = perform(&process, &ask);
        let reply = timeout(Duration::from_micros(patience), reply).await;
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
        self.learn(&op, ask.known.as_ref());
        self.is_troubled = op.is_unknown();
        self.ops.push(op);
        !self.is_troubled
    }

    fn answer(&self, reply: Reply) -> Answer {
        match reply {
            Reply::Token(token, owner) | Reply::Rotated(RotateOutcome::Token(token), owner) => {
                let (token, id) = self.world.add(token, owner);
                Answer::Token { token, id }
            }
            Reply::Rotated(RotateOutcome::AlreadyRotated, _) => Answer::AlreadyRotated,
            Reply::Rotated(RotateOutcome::Absent, _) | Reply::Session(None) => Answer::Absent,
            Reply::Session(Some(session)) => Answer::Seen(self.world.seen(&session)),
            Reply::Ended(ended) => Answer::Ended(ended),
            Reply::EndedMany(count) => Answer::EndedMany(count),
            Reply::List(all) => {
                Answer::Listed(all.iter().map(|session| self.world.seen(session)).collect())
            }
        }
    }

    /// Updates the tokens that clients use.
    fn learn(&mut self, op: &Op, known: Option<&Known>) {
        let retire_session = || self.world.retire(|live| known.is_some_and(|it| it.id == live.id));
        let retire_token =
            || self.world.retire(|live| known.is_some_and(|it| it.number == live.number));
        match (&op.call, &op.outcome) {
            // These may take effect at any later time, which the checker would have to allow for.
            (Call::EndAll { owner }, Outcome::Failed(_) | Outcome::CutOff) => {
                self.world.retire_owner(*owner);
            }
            (Call::EndOthers { .. }, Outcome::Failed(_) | Outcome::CutOff) => {
                if let Some(owner) = known.and_then(|known| known.owner) {
                    self.world.retire_owner(owner);
                }
            }
            (Call::Destroy { .. } | Call::Login { .. } | Call::End { .. }, Outcome::Done(_))
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

async fn perform(process: &Process, ask: &Ask) -> Result<Reply> {
    let Process { strict, graceful } = process;
    let known = ask.known.as_ref();
    let (token, owner) = (known.map(|known| &*known.token), known.and_then(|known| known.owner));
    Ok(match (&ask.call, token) {
        (Call::Create { birth, owner }, _) => {
            Reply::Token(strict.create(session(*birth, *owner)).await?, *owner)
        }
        (Call::Login { birth, owner, .. }, old) => {
            Reply::Token(strict.login(old, session(*birth, *owner)).await?, *owner)
        }
        (Call::List { owner }, _) => Reply::List(strict.list(&name(*owner)).await?.sessions),
        (Call::EndAll { owner }, _) => Reply::EndedMany(strict.revoke_owner(&name(*owner)).await?),
        // All further calls have a token.
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
        (Call::End { owner, .. }, Some(token)) => {
            Reply::Ended(strict.revoke_owned(&name(*owner), token.id()).await?)
        }
        (Call::Destroy { .. }, Some(token)) => Reply::Ended(strict.logout(token).await?),
        (Call::EndOthers { .. }, Some(token)) => {
            Reply::EndedMany(strict.revoke_others(token).await?)
        }
    })
}

fn session(birth: Birth, owner: Option<OwnerNo>) -> NewSession<Ledger> {
    let session = NewSession::new(Ledger { birth: birth.0, updates: Vec::new() });
    match owner {
        Some(owner) => session.owner(name(owner)),
        None => session,
    }
}
