//! A table of events. It says itself what it lacks:
//!
//! - Rows of a process are numbered without a gap: a number that is missing was deleted.
//! - A row `lost` counts the events for which the buffer had no room, a row `missed` those that
//!   never reached the listener.
//! - A process ends with a row `stopped`. Without it, its last events may be missing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kvolt::Manager;
use kvolt::session::{Event, EventKind, EventListener, Timestamp};
use sqlx::{QueryBuilder, Sqlite, SqlitePool};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const MAX_BATCH: usize = 500;
const MAX_PAUSE: Duration = Duration::from_secs(5);

const TABLE: &str = "CREATE TABLE IF NOT EXISTS audit (
    process TEXT, number INTEGER, at_millis INTEGER, event TEXT, detail TEXT, session TEXT,
    owner TEXT, acting_for TEXT, actor TEXT, because TEXT, PRIMARY KEY (process, number))";

/// Writes events to the table, from a buffer that bounds what an outage of the database costs.
pub(crate) struct Audit {
    buffer: Arc<Buffer>,
    writer: JoinHandle<()>,
}

/// For [`kvolt::session::ManagerBuilder::listener`]. The manager drops it after its last event.
pub(crate) struct Listener(Arc<Buffer>);

struct Buffer {
    rows: Mutex<Rows>,
    changed: Notify,
}

#[derive(Default)]
struct Rows {
    waiting: VecDeque<Row>,
    capacity: usize,
    next: i64,
    /// Events without a row, since the last row.
    lost: u64,
    /// What the manager has counted, and the table has.
    missed: u64,
    /// The listener is gone.
    is_complete: bool,
}

#[derive(Clone, Default)]
struct Row {
    number: i64,
    at_millis: i64,
    event: &'static str,
    detail: String,
    session: Option<String>,
    owner: Option<String>,
    acting_for: Option<String>,
    actor: Option<String>,
    because: Option<String>,
}

impl Audit {
    /// Starts to write. `process` is another one at each start of the program.
    pub(crate) fn start(pool: SqlitePool, process: String, capacity: usize) -> (Self, Listener) {
        let rows = Rows { capacity, ..Rows::default() };
        let buffer = Arc::new(Buffer { rows: Mutex::new(rows), changed: Notify::new() });
        let writer = tokio::spawn(write(Arc::clone(&buffer), pool, process));
        (Self { buffer: Arc::clone(&buffer), writer }, Listener(buffer))
    }

    /// Adds a row if the manager has [missed](Manager::events_missed) further events.
    pub(crate) fn note_missed(&self, missed: u64) {
        let mut rows = self.buffer.rows();
        let further = missed - rows.missed;
        if further > 0 && rows.push(Row { event: "missed", detail: further.to_string(), ..Row::default() }) {
            rows.missed = missed;
        }
    }

    /// Writes what is left, and returns whether the table has everything. The caller drops all
    /// other clones of the manager first: the last one ends the listener.
    pub(crate) async fn finish<T>(self, manager: Manager<T>, limit: Duration) -> bool
    where
        T: Send + Sync + 'static,
    {
        self.note_missed(manager.events_missed());
        drop(manager);
        timeout(limit, self.writer).await.is_ok()
    }
}

impl EventListener for Listener {
    fn on_event(&self, event: &Event) {
        let detail = match event.kind {
            EventKind::Ended { reason } => reason.name().to_owned(),
            EventKind::Refused { reason } => reason.name().to_owned(),
            _ => String::new(),
        };
        let actor = event.actor.as_ref();
        let is_kept = self.0.rows().push(Row {
            number: 0,
            at_millis: millis(event.at),
            event: event.kind.name(),
            detail,
            session: event.id.map(|id| id.to_string()),
            owner: event.owner.as_ref().map(ToString::to_string),
            acting_for: event.acting_for.as_ref().map(ToString::to_string),
            actor: actor.map(|actor| actor.name().to_owned()),
            because: actor.and_then(|actor| actor.reason()).map(str::to_owned),
        });
        if !is_kept {
            self.0.rows().lost += 1;
        }
        self.0.changed.notify_one();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.rows().is_complete = true;
        self.0.changed.notify_one();
    }
}

impl Buffer {
    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows {
    /// Adds a row, after one for events that were lost before it. `false` if there is no room.
    fn push(&mut self, row: Row) -> bool {
        let lost = (self.lost > 0).then(|| Row {
            event: "lost",
            detail: self.lost.to_string(),
            at_millis: row.at_millis,
            ..Row::default()
        });
        if self.waiting.len() + 1 + usize::from(lost.is_some()) > self.capacity {
            return false;
        }
        self.lost = 0;
        for row in lost.into_iter().chain([row]) {
            self.next += 1;
            self.waiting.push_back(Row { number: self.next, ..row });
        }
        true
    }

    /// Adds the last rows, whose room is beyond the capacity. `false` if they were added before.
    fn stop(&mut self) -> bool {
        self.capacity = usize::MAX;
        let is_first = self.is_complete;
        self.is_complete = false;
        is_first && self.push(Row { event: "stopped", ..Row::default() })
    }
}

/// Writes the oldest rows first. A batch leaves the buffer once it is in the table; it can be
/// written twice without an effect.
async fn write(buffer: Arc<Buffer>, pool: SqlitePool, process: String) {
    let mut pause = Duration::from_millis(50);
    loop {
        let (batch, is_complete) = {
            let rows = buffer.rows();
            let batch: Vec<Row> = rows.waiting.iter().take(MAX_BATCH).cloned().collect();
            (batch, rows.is_complete)
        };
        if batch.is_empty() {
            if is_complete && buffer.rows().stop() {
                continue;
            }
            if buffer.rows().capacity == usize::MAX {
                return;
            }
            buffer.changed.notified().await;
            continue;
        }
        match insert(&pool, &process, &batch).await {
            Ok(()) => {
                buffer.rows().waiting.drain(..batch.len());
                pause = Duration::from_millis(50);
            }
            Err(error) => {
                eprintln!("can't write {} events to the audit table: {error}", batch.len());
                sleep(pause).await;
                pause = (pause * 2).min(MAX_PAUSE);
            }
        }
    }
}

async fn insert(pool: &SqlitePool, process: &str, batch: &[Row]) -> sqlx::Result<()> {
    sqlx::query(TABLE).execute(pool).await?;
    let mut insert = QueryBuilder::<Sqlite>::new("INSERT OR IGNORE INTO audit ");
    insert.push_values(batch, |mut values, row| {
        values.push_bind(process).push_bind(row.number).push_bind(row.at_millis);
        values.push_bind(row.event).push_bind(&row.detail).push_bind(&row.session);
        values.push_bind(&row.owner).push_bind(&row.acting_for);
        values.push_bind(&row.actor).push_bind(&row.because);
    });
    insert.build().execute(pool).await.map(drop)
}

fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}
