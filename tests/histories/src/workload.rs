//! State shared by the clients: tokens, numbers, and the sessions and owners in use.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kvolt_session::{Owner, SessionId, SessionSnapshot, Token};

use crate::history::{IdNo, OwnerNo, Seen, SessionNo, TokenNo, UpdateNo};
use crate::{Ledger, Random};

/// Number of retired tokens kept for replay.
const MAX_OLD: usize = 48;

/// Sessions created per owner before another owner replaces it; keeps lists short.
const SESSIONS_PER_OWNER: u32 = 24;

pub(crate) struct Workload {
    session_nos: AtomicU32,
    updates: AtomicU32,
    ops: AtomicUsize,
    ops_max: usize,
    over: AtomicBool,
    state: Mutex<State>,
    live_max: usize,
    owners_max: usize,
}

#[derive(Default)]
struct State {
    ids: HashMap<SessionId, IdNo>,
    tokens: Vec<KnownToken>,
    live: Vec<KnownToken>,
    old: VecDeque<KnownToken>,
    owners: Vec<(OwnerNo, u32)>,
    owners_made: u32,
}

/// A token issued to a client, and what it identifies.
#[derive(Debug, Clone)]
pub(crate) struct KnownToken {
    pub(crate) token: Arc<Token>,
    pub(crate) number: TokenNo,
    pub(crate) id: IdNo,
    pub(crate) owner: Option<OwnerNo>,
}

impl Workload {
    pub(crate) fn new(live_max: usize, owners_max: usize, ops_max: usize) -> Self {
        Self {
            session_nos: AtomicU32::new(0),
            updates: AtomicU32::new(0),
            ops: AtomicUsize::new(0),
            ops_max,
            over: AtomicBool::new(false),
            state: Mutex::default(),
            live_max,
            owners_max,
        }
    }

    pub(crate) fn session_no(&self) -> SessionNo {
        SessionNo(self.session_nos.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn update(&self) -> UpdateNo {
        UpdateNo(self.updates.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Counts an operation; returns false once the maximum is exceeded.
    pub(crate) fn count(&self) -> bool {
        self.ops.fetch_add(1, Ordering::Relaxed) < self.ops_max
    }

    pub(crate) fn seen(&self, session: &SessionSnapshot<Ledger>) -> Seen {
        let owner = session.owner().and_then(|owner| owner.as_str().parse().ok());
        Seen {
            id: self.state().id(session.id()),
            session_no: SessionNo(session.data().session_no),
            owner: owner.map(OwnerNo),
            updates: session.data().updates.iter().copied().map(UpdateNo).collect(),
        }
    }

    /// Adds a new token to the tokens in use; retires the oldest one if there are too many.
    pub(crate) fn add(&self, token: Token, owner: Option<OwnerNo>) -> (TokenNo, IdNo) {
        let mut state = self.state();
        let (number, id) = (TokenNo(state.tokens.len() as u32), state.id(token.id()));
        let known = KnownToken { token: Arc::new(token), number, id, owner };
        state.tokens.push(known.clone());
        state.live.push(known);
        if state.live.len() > self.live_max {
            let oldest = state.live.remove(0);
            state.retire(oldest);
        }
        (number, id)
    }

    /// Retires the matching tokens: from now on they are only replayed.
    pub(crate) fn retire(&self, is_gone: impl Fn(&KnownToken) -> bool) {
        let mut state = self.state();
        let (gone, live) = std::mem::take(&mut state.live).into_iter().partition(is_gone);
        state.live = live;
        let gone: Vec<KnownToken> = gone;
        gone.into_iter().for_each(|known| state.retire(known));
    }

    /// Retires an owner whose sessions are in an unknown state.
    pub(crate) fn retire_owner(&self, owner: OwnerNo) {
        self.state().owners.retain(|(active, _)| *active != owner);
        self.retire(|known| known.owner == Some(owner));
    }

    /// Returns one of the owners in use.
    pub(crate) fn owner(&self, random: &mut Random) -> OwnerNo {
        let mut state = self.state();
        while state.owners.len() < self.owners_max {
            let owner = OwnerNo(state.owners_made);
            state.owners_made += 1;
            state.owners.push((owner, 0));
        }
        let place = random.below(state.owners.len());
        state.owners[place].0
    }

    /// Returns an owner for a new session, and counts the session.
    pub(crate) fn owner_of_another(&self, random: &mut Random) -> OwnerNo {
        let owner = self.owner(random);
        let mut state = self.state();
        if let Some(place) = state.owners.iter().position(|(active, _)| *active == owner) {
            state.owners[place].1 += 1;
            if state.owners[place].1 >= SESSIONS_PER_OWNER {
                state.owners.remove(place);
            }
        }
        owner
    }

    pub(crate) fn has_room(&self) -> bool {
        self.state().live.len() < self.live_max
    }

    pub(crate) fn live(&self, random: &mut Random) -> Option<KnownToken> {
        random.choose(&self.state().live).cloned()
    }

    pub(crate) fn old(&self, random: &mut Random) -> Option<KnownToken> {
        let state = self.state();
        state.old.get(random.below(state.old.len())).cloned()
    }

    /// Returns every token ever issued, the newest last.
    pub(crate) fn tokens(&self) -> Vec<KnownToken> {
        self.state().tokens.clone()
    }

    /// Returns the number of owners.
    pub(crate) fn owners(&self) -> u32 {
        self.state().owners_made
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn id(&mut self, id: SessionId) -> IdNo {
        let next = IdNo(self.ids.len() as u32);
        *self.ids.entry(id).or_insert(next)
    }

    fn retire(&mut self, known: KnownToken) {
        self.old.push_back(known);
        if self.old.len() > MAX_OLD {
            self.old.pop_front();
        }
    }
}

/// Returns the owner's name in the store.
pub(crate) fn name(owner: OwnerNo) -> Owner {
    Owner::from(u64::from(owner.0))
}
