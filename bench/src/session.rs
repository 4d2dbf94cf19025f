//! Reading a session, beside reading the entry it lives in.

use kvolt::cache::{AfterRead, Key, MemoryStore};
use kvolt::session::{Access, Manager, Ready, Record, Token};

use crate::cache::by;
use crate::harness::{Contender, Race, Settings, Table, below, mix, now};

const SESSIONS: u64 = 100_000;
const OPS: u64 = 500_000;

const ENTRY: &str = "the entry alone";
const READY: &str = "KVolt, `Manager::get_ready`";
const LOOK: &str = "KVolt, `Manager::read`";

pub(crate) struct User {
    pub(crate) id: u64,
}

pub(crate) struct World {
    pub(crate) store: MemoryStore<Record<User>>,
    pub(crate) manager: Manager<User>,
    pub(crate) tokens: Vec<Token>,
}

pub(crate) fn world(sessions: u64) -> World {
    let store = MemoryStore::new();
    let manager = Manager::new(store.clone());
    let create = |id| now(manager.create(User { id })).expect("there is room");
    let tokens = (0..sessions).map(create).collect();
    World { store, manager, tokens }
}

/// A token and the key of its session, side by side, so that to reach for the one
/// costs what it costs to reach for the other. In a request, both have just been made.
#[repr(align(128))]
struct Client {
    token: Token,
    key: Key,
}

/// In no order, so that neither map nor heap is met in the order in which it was filled.
fn shuffle<T>(all: &mut [T]) {
    for last in (1..all.len()).rev() {
        all.swap(last, below(last as u64 + 1, mix(last as u64)) as usize);
    }
}

#[inline(always)]
fn each<T>(all: &[T], thread: usize, ops: u64, read: impl Fn(&T) -> Option<u64>) -> u64 {
    let start = thread * all.len() / 2;
    let all = all[start..].iter().chain(&all[..start]).cycle();
    all.take(ops as usize).map(|one| read(one).expect("it is live")).sum()
}

/// Like [`each`], but only what was read says which is next: no two reads overlap.
#[inline(always)]
fn chain<T>(all: &[T], thread: usize, ops: u64, read: impl Fn(&T) -> Option<u64>) -> u64 {
    let mut seen = thread as u64 * 1_000;
    for counter in 0..ops {
        let number = below(all.len() as u64, mix(counter) ^ seen);
        seen = read(&all[number as usize]).expect("it is live");
    }
    seen
}

fn id_of(record: &Record<User>) -> u64 {
    record.data().expect("it is kept as it is").id
}

/// The user's id, by a manager whose store answers at once.
pub(crate) fn read(manager: &Manager<User>, token: &Token) -> Option<u64> {
    match manager.get_ready(token, Access::SLIDE) {
        Ready::Yes(session) => session.expect("it works").map(|session| session.id),
        Ready::No(_) => None,
    }
}

pub(crate) fn run(settings: Settings) {
    let World { store, manager, tokens } = world(SESSIONS);
    let client = |token: Token| Client { key: token.id().key(manager.namespace()), token };
    let mut clients: Vec<Client> = tokens.into_iter().map(client).collect();
    shuffle(&mut clients);
    let entry =
        |client: &Client| store.read(&client.key, |entry| (AfterRead::Slide, id_of(entry.value)));
    let ready = |client: &Client| read(&manager, &client.token);
    let looked = |client: &Client| {
        now(manager.read(&client.token, Access::SLIDE, |user| user.id)).expect("it works")
    };
    let contenders = [
        Contender::new(ENTRY, |thread, ops| each(&clients, thread, ops, entry)),
        Contender::new(READY, |thread, ops| each(&clients, thread, ops, ready)),
        Contender::new(LOOK, |thread, ops| each(&clients, thread, ops, looked)),
    ];
    let chained = [
        Contender::new(ENTRY, |thread, ops| chain(&clients, thread, ops, entry)),
        Contender::new(READY, |thread, ops| chain(&clients, thread, ops, ready)),
        Contender::new(LOOK, |thread, ops| chain(&clients, thread, ops, looked)),
    ];
    let (rounds, ops) = (settings.rounds(), settings.pick(OPS, OPS / 5));
    let table = Table::new("session", format!("read of any of {SESSIONS} sessions"));
    for threads in [1, 2] {
        for (pattern, contenders) in [("throughput", &contenders[..]), ("latency", &chained)] {
            let column = format!("{pattern}, {}", by(threads));
            Race { column: &column, rounds, threads, ops }.run(&table, contenders);
        }
    }
    let hot = &clients[..1];
    let contenders = [
        Contender::new(ENTRY, |_, ops| each(hot, 0, ops, entry)),
        Contender::new(READY, |_, ops| each(hot, 0, ops, ready)),
        Contender::new(LOOK, |_, ops| each(hot, 0, ops, looked)),
    ];
    let table = Table::new("session", "read of one hot session");
    for threads in [1, 2] {
        Race { column: by(threads), rounds, threads, ops }.run(&table, &contenders);
    }
}
