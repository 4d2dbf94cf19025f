//! A manager on a store that can be broken, with a clock that can be moved.
#![allow(unreachable_pub, reason = "it is a module of each test file")]
#![allow(dead_code, reason = "each test file uses its part")]

use std::time::Duration;

use kvolt_cache::{ManualClock, MemoryStore};
use kvolt_session::testing::RecordedEvents;
use kvolt_session::{Manager, ManagerBuilder, NewSession, Owner, Record, RotateOutcome, Token};
use kvolt_testkit::{Faults, FaultyStore};

pub const IDLE: Duration = Duration::from_secs(600);
pub const LIFETIME: Duration = Duration::from_secs(3_600);
pub const GRACE: Duration = Duration::from_secs(10);
pub const TICK: Duration = Duration::from_millis(1);

pub struct World {
    pub time: ManualClock,
    pub store: MemoryStore<Record<String>>,
    pub faults: Faults,
    pub manager: Manager<String>,
    pub events: RecordedEvents,
}

pub fn world() -> World {
    world_with(|builder| builder)
}

pub fn world_with(
    settings: impl FnOnce(ManagerBuilder<String>) -> ManagerBuilder<String>,
) -> World {
    let time = ManualClock::new();
    let store = MemoryStore::builder().clock(time.clock()).build();
    let (faulty, faults) = FaultyStore::new(store.clone());
    let builder = Manager::builder(faulty).idle_timeout(IDLE).lifetime(LIFETIME);
    let manager = settings(builder).build().unwrap();
    let events = RecordedEvents::of(&manager);
    World { time, store, faults, manager, events }
}

pub fn ada() -> NewSession<String> {
    NewSession::new(String::from("ada")).owner("ada")
}

pub fn bob() -> NewSession<String> {
    NewSession::new(String::from("bob")).owner("bob")
}

pub fn owner(name: &str) -> Owner {
    Owner::new(name).unwrap()
}

impl World {
    pub async fn lives(&self, token: &Token) -> bool {
        self.manager.peek(token).await.unwrap().is_some()
    }

    pub async fn data(&self, token: &Token) -> String {
        self.manager.peek(token).await.unwrap().unwrap().data().clone()
    }

    pub async fn rotate(&self, token: &Token) -> Token {
        rotated(self.manager.rotate(token).await.unwrap())
    }

    pub async fn of(&self, name: &str) -> usize {
        self.manager.list(&owner(name)).await.unwrap().sessions.len()
    }
}

#[track_caller]
pub fn rotated(rotated: RotateOutcome) -> Token {
    match rotated {
        RotateOutcome::Token(token) => token,
        other => panic!("{other:?}"),
    }
}

/// Tokens that a client which knows only a session's id may present.
#[derive(Debug, Clone, Copy)]
pub enum Forgery {
    /// Random bytes after the id.
    Random,
    /// The random part and mark of a token of another session.
    OtherSession,
    /// The token with one bit of its random part changed, so the mark is wrong for it.
    OtherRandom,
    /// The token with one bit of its mark changed.
    OtherMark,
    /// Zeros after the id.
    Zeros,
}

impl Forgery {
    pub const ALL: [Self; 5] =
        [Self::Random, Self::OtherSession, Self::OtherRandom, Self::OtherMark, Self::Zeros];
}

/// A token with the right id and a wrong secret.
pub fn forged(forgery: Forgery, token: &Token, other: &Token) -> Token {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let bytes = |token: &Token| URL_SAFE_NO_PAD.decode(token.expose()).unwrap();
    let mut forged = bytes(token);
    match forgery {
        Forgery::Random => getrandom::fill(&mut forged[12..]).unwrap(),
        Forgery::OtherSession if other.id() != token.id() => {
            forged[12..].copy_from_slice(&bytes(other)[12..]);
        }
        Forgery::OtherRandom => forged[20] ^= 1,
        Forgery::OtherMark => forged[35] ^= 1,
        Forgery::OtherSession | Forgery::Zeros => forged[12..].fill(0),
    }
    Token::parse(URL_SAFE_NO_PAD.encode(forged)).unwrap()
}

/// Checks that no call by a token does anything, or shows anything, except to sign in again.
pub async fn does_nothing<T: Clone + Send + Sync + 'static>(
    manager: &Manager<T>,
    token: &Token,
    sees: impl Fn() + Send + Sync + Copy,
) {
    use kvolt_session::{Access, Flash, Level};
    assert!(manager.get(token).await.unwrap().is_none());
    assert!(manager.peek(token).await.unwrap().is_none());
    assert!(manager.get_with(token, Access::SLIDE.strict()).await.unwrap().is_none());
    assert!(manager.read(token, Access::SLIDE, |_| sees()).await.unwrap().is_none());
    assert!(manager.update(token, |_| sees()).await.unwrap().is_none());
    assert!(!manager.flash(token, Flash::new("info", "x")).await.unwrap());
    assert!(manager.take_flashes(token).await.unwrap().is_empty());
    assert!(matches!(manager.rotate(token).await.unwrap(), RotateOutcome::Absent));
    assert!(matches!(
        manager.reauthenticate(token, Level::Three).await.unwrap(),
        RotateOutcome::Absent
    ));
    let changed = manager.change_credentials(token, None).await.unwrap();
    assert!(matches!(changed, (RotateOutcome::Absent, 0)));
    assert_eq!(manager.revoke_others(token).await.unwrap(), 0);
    assert!(!manager.logout(token).await.unwrap());
}

/// The log, as lines of text.
#[derive(Clone, Default)]
pub struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl Log {
    pub fn subscriber(&self, level: tracing::Level) -> impl tracing::Subscriber + Send + Sync {
        let log = self.clone();
        let builder = tracing_subscriber::fmt().with_writer(move || log.clone());
        builder.with_ansi(false).with_max_level(level).finish()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// How many lines have this text.
    pub fn lines_with(&self, text: &str) -> usize {
        self.text().lines().filter(|line| line.contains(text)).count()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
