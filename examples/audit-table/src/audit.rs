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
use kvolt::session::{Event, EventKind, EventListener};
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
    last_at_millis: i64,
    /// The listener is gone.
    is_complete: bool,
    is_stopped: bool,
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
        if further > 0 && rows.push(Row::of("missed", further.to_string())) {
            rows.missed = missed;
            self.buffer.changed.notify_one();
        }
    }

    /// How many events were lost since the last row.
    #[cfg(test)]
    pub(crate) fn lost(&self) -> u64 {
        self.buffer.rows().lost
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
        let row = Row {
            at_millis: i64::try_from(event.at.as_millis()).unwrap_or(i64::MAX),
            session: event.id.map(|id| id.to_string()),
            owner: event.owner.as_ref().map(ToString::to_string),
            acting_for: event.acting_for.as_ref().map(ToString::to_string),
            actor: actor.map(|actor| actor.name().to_owned()),
            because: actor.and_then(|actor| actor.reason()).map(str::to_owned),
            ..Row::of(event.kind.name(), detail)
        };
        let mut rows = self.0.rows();
        if !rows.push(row) {
            rows.lost += 1;
        }
        drop(rows);
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
    /// Adds a row. `false` if there is no room.
    fn push(&mut self, row: Row) -> bool {
        let has_room = self.waiting.len() + 1 + usize::from(self.lost > 0) <= self.capacity;
        if has_room {
            self.append(row);
        }
        has_room
    }

    /// Adds a row, after one for the events that were lost before it.
    fn append(&mut self, row: Row) {
        self.last_at_millis = row.at_millis.max(self.last_at_millis);
        let lost = std::mem::take(&mut self.lost);
        let lost = (lost > 0).then(|| Row::of("lost", lost.to_string()));
        for row in lost.into_iter().chain([row]) {
            self.next += 1;
            self.waiting.push_back(Row {
                number: self.next,
                at_millis: self.last_at_millis,
                ..row
            });
        }
    }
}

impl Row {
    /// A row of the audit's own.
    fn of(event: &'static str, detail: String) -> Self {
        Self { event, detail, ..Self::default() }
    }
}

/// Writes the oldest rows first. A batch leaves the buffer once it is in the table; it can be
/// written twice without an effect.
async fn write(buffer: Arc<Buffer>, pool: SqlitePool, process: String) {
    let mut pause = Duration::from_millis(50);
    loop {
        let batch: Vec<Row> = {
            let mut rows = buffer.rows();
            if rows.is_complete && rows.waiting.is_empty() {
                if rows.is_stopped {
                    return;
                }
                rows.is_stopped = true;
                rows.append(Row::of("stopped", String::new()));
            }
            rows.waiting.iter().take(MAX_BATCH).cloned().collect()
        };
        if batch.is_empty() {
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
