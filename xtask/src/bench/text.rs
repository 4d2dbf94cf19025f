//! The words of the report: what each part measures, why KVolt is behind where it is, and what each
//! library promises.

/// A part of the report.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section {
    pub(super) part: &'static str,
    pub(super) title: &'static str,
    pub(super) about: &'static str,
    /// For tables whose names begin so, what the rows are compared with.
    pub(super) gaps: &'static [(&'static str, Gap)],
    /// Whether the security level of each library is beside its number.
    pub(super) levels: bool,
    /// Below the tables whose names begin so.
    pub(super) notes: &'static [(&'static str, &'static str)],
}

impl Section {
    pub(super) const fn plain(part: &'static str, title: &'static str) -> Self {
        Self { part, title, about: "", gaps: &[], levels: false, notes: &[] }
    }
}

/// How far a row is from its floor.
#[derive(Debug, Clone, Copy)]
pub(super) enum Gap {
    /// In each cell, how many times the row of this name it is.
    Cells(&'static str),
    /// The difference to one row, round by round, and how many times the same difference of another
    /// row that is.
    Added { bare: &'static str, floor: &'static str },
    /// Which share of the first column of another row it is: a name for it, its table, its row.
    Shares(&'static [(&'static str, &'static str, &'static str)]),
}

impl Gap {
    /// The heads of the columns that it adds.
    pub(super) fn heads(&self) -> Vec<String> {
        match self {
            Self::Cells(_) => Vec::new(),
            Self::Added { bare, floor } if bare == floor => vec![format!("added to {bare}")],
            Self::Added { bare, floor } => {
                vec![format!("added to {bare}"), format!("to {floor}'s")]
            }
            Self::Shares(floors) => {
                floors.iter().map(|(name, ..)| format!("share of {name}")).collect()
            }
        }
    }
}

pub(super) const BEGINNING: &str = "\
# Benchmarks

<!-- Written by `cargo xtask bench` from docs/benchmarks.json; the words are in xtask/src/bench/text.rs. -->

";

pub(super) const COMMANDS: &str = "
## How to run it

```console
$ cargo xtask bench                  # all parts, at most 20 minutes after building
$ cargo xtask bench --quick          # two minutes
$ cargo xtask bench http serve       # some parts; `--list` names them
$ cargo xtask bench --report         # this page and its plots again, from docs/benchmarks.json
```

A run of all parts writes this page, its plots and `docs/benchmarks.json`, which has every sample. Every run writes its
results to `target/bench-results`. The parts on stores start their own Redis, PostgreSQL and MariaDB (`cargo xtask test
--install --only servers` installs them), and `instructions` needs valgrind.

Contenders take turns, round by round. A cell has the median of the rounds and, in parentheses, their middle half (with
three rounds, all). Every library is built with the same profile, uses the same allocator, keeps the same user of some
130 bytes as JSON, and is set up as its own documentation advises. A *floor* is what no session layer can be better
than: a bare route, a layer written by hand for one program, one round trip of the driver, a map without expiry.
Work of one thread in one process is counted in its processor time, so that the load of the machine matters little.
";

pub(super) const BEHIND: &str = "
## Where KVolt is not ahead

Each row on which another library, or a map without expiry, has the better median:

| row | KVolt | is | why |
|---|---|---|---|
";

pub(super) const SECURITY_BEGINNING: &str = "
## What each library promises

A faster library may do less. In short, as in the tables, and in full. [COMPARE.md](../COMPARE.md) has the evidence. Of ruts
and saysion, which are not in it, the source was read.

| library | in short | what it means |
|---|---|---|
";

/// The library, its level in short, and in full. The first whose name a row begins with counts.
pub(super) const SECURITY: &[(&str, &str, &str)] = &[
    (
        "KVolt",
        "token hashed; an end is final; no change lost",
        "The store has the token's SHA-256. A session that was ended stays ended, for one session, a user's, or all. A new \
         token replaces the old one in one atomic step. Concurrent changes all take effect.",
    ),
    (
        "tower-sessions",
        "token in clear; a late save revives; last save wins",
        "The store has the token. A request that began before a logout and saves after it stores the session again. \
         Concurrent changes: the last save wins. A user's sessions can't be listed or ended.",
    ),
    (
        "axum_session",
        "token in clear; adopts ids; logout delayed by copies",
        "The store has the token. An id that the client made is adopted unless ids are signed. Each server keeps a copy for \
         an hour, which admits a session that was ended on another.",
    ),
    (
        "actix-session with cookies",
        "encrypted cookie; the server can't end it",
        "Everything is in the cookie, so no server ends a session before its time.",
    ),
    (
        "actix-session",
        "key in clear, cookie encrypted; a late save revives",
        "The store has the key; the cookie is encrypted on top. A late save stores the session under a new key. Concurrent \
         changes: the last save wins.",
    ),
    (
        "ruts",
        "token in clear; a late set revives; fields apart",
        "The store has the token, of 128 bits. A field that is set after the session was deleted creates it again; other \
         fields keep concurrent changes. Each field has its own deadline, and a read prolongs none.",
    ),
    (
        "saysion",
        "id hashed; a late save is an error; last save wins",
        "The store has the BLAKE3 of the cookie. A save after the session was deleted is an error. Concurrent changes: the \
         last save wins. It has no layer: cookie, deadline and rotation are the caller's.",
    ),
    (
        "a hand-written layer",
        "token hashed; nothing else",
        "Cookie, SHA-256, a map with a deadline that slides, `Vary`, `no-store`. It has no logout, rotation, policy or event.",
    ),
];

/// A row of KVolt's and one of another's that do the same work, or the nearest to it.
pub(super) struct Comparison {
    pub(super) part: &'static str,
    /// Tables whose names begin so.
    pub(super) table: &'static str,
    /// Those of these names; none are all.
    pub(super) columns: &'static [&'static str],
    pub(super) ours: &'static str,
    pub(super) peer: &'static str,
    /// The row that is taken off both first.
    pub(super) above: Option<&'static str>,
    pub(super) why: &'static str,
}

const REQUEST: &[&str] = &["a request"];
const BARE: Option<&str> = Some("a bare route");

const fn request(part: &'static str, peer: &'static str, why: &'static str) -> Comparison {
    Comparison { part, table: "", columns: REQUEST, ours: "KVolt", peer, above: BARE, why }
}

const fn serve(
    table: &'static str,
    ours: &'static str,
    peer: &'static str,
    why: &'static str,
) -> Comparison {
    let columns = &["requests", "p99"];
    Comparison { part: "serve", table, columns, ours, peer, above: None, why }
}

const fn size(
    part: &'static str,
    table: &'static str,
    peer: &'static str,
    why: &'static str,
) -> Comparison {
    Comparison { part, table, columns: &[], ours: "KVolt", peer, above: None, why }
}

const fn cache(table: &'static str, peer: &'static str, why: &'static str) -> Comparison {
    size("cache", table, peer, why)
}

const NO_DIGEST: &str = "It hashes no token, which takes 60 to 90 ns of KVolt's share.";
const NO_SLIDE: &str = "It writes no deadline, and hashes no token.";
const FLOOR_LAYER: &str =
    "KVolt has policy, events, previous tokens and other stores, which one program may not need.";
const SCRIPT: &str = "A slide is a script in Redis that compares versions, 12 us there where `SET` takes 1; it can't revive \
                      a session. KVolt by default writes a slide only when 1/16 of the idle time has passed.";
const DUE: &str = "Both read once. KVolt also hashes the token and decides whether a slide is due.";
const MOKA: &str = "moka's copy is read without asking whether it is current; KVolt's is checked against a feed of changes, \
                    so that an end on another server is seen.";
const CHANGE_LOG: &str = "A row of KVolt's is in four B-trees (row, key, deadline, owner), and a change is also in the log that \
                          other processes read.";
const OWNER: &str = "KVolt keeps an index by owner, so that a user's sessions can be listed and ended, and the session's own \
                     facts (created, last use, deadlines, device).";
const NO_EXPIRY: &str = "It has no expiry: KVolt reads the time and compares two deadlines.";
const FILED: &str = "It has no expiry: KVolt files each entry by its deadline beside its map.";
const SAME_MEMORY: &str = "Both wait for the same memory.";
const PLAIN_MAP: &str = "A `HashMap` behind a lock keeps less for each entry than a map that is read without one, and its \
                         entries are not filed by owner and deadline.";

pub(super) const COMPARISONS: &[Comparison] = &[
    request("http", "a hand-written layer", FLOOR_LAYER),
    request("http", "tower-sessions, not sliding", NO_SLIDE),
    request("http", "tower-sessions, sliding", NO_DIGEST),
    request("http", "axum_session", NO_DIGEST),
    request("http", "ruts, not sliding", NO_SLIDE),
    request("http", "ruts, sliding", NO_DIGEST),
    request("http", "saysion, not sliding", "It writes no deadline, and has no layer of its own."),
    request("http", "saysion, sliding", "It has no layer of its own."),
    request("actix", "actix-session with a map, not sliding", NO_SLIDE),
    request("actix", "actix-session with cookies, not sliding", NO_SLIDE),
    request("actix", "actix-session with a map, sliding", NO_DIGEST),
    request("actix", "actix-session with cookies, sliding", NO_DIGEST),
    serve("memory", "KVolt", "tower-sessions, not sliding", NO_SLIDE),
    serve("memory", "KVolt", "tower-sessions, sliding at each use", NO_DIGEST),
    serve("Redis", "KVolt", "tower-sessions, not sliding", DUE),
    serve("Redis", "KVolt", "tower-sessions, sliding at each use", DUE),
    serve("Redis", "KVolt, sliding at each use", "tower-sessions, sliding at each use", SCRIPT),
    serve("Redis", "KVolt with a near cache", "tower-sessions with moka, not sliding", MOKA),
    serve(
        "Redis",
        "KVolt with a near cache",
        "tower-sessions with moka, sliding at each use",
        MOKA,
    ),
    serve("PostgreSQL", "KVolt", "tower-sessions, not sliding", DUE),
    serve("PostgreSQL", "KVolt", "tower-sessions, sliding at each use", DUE),
    serve(
        "PostgreSQL",
        "KVolt, sliding at each use",
        "tower-sessions, sliding at each use",
        "Both wait for the disk at each commit.",
    ),
    serve("PostgreSQL", "KVolt", "ruts, not sliding", DUE),
    serve(
        "PostgreSQL",
        "KVolt, sliding at each use",
        "ruts, sliding at each use",
        "Both wait for the disk at each commit.",
    ),
    serve("SQLite", "KVolt", "tower-sessions, not sliding", DUE),
    serve("SQLite", "KVolt", "tower-sessions, sliding at each use", DUE),
    serve(
        "SQLite",
        "KVolt, sliding at each use",
        "tower-sessions, sliding at each use",
        CHANGE_LOG,
    ),
    size("memory", "sessions", "tower-sessions, not sliding", PLAIN_MAP),
    size(
        "memory",
        "sessions",
        "axum_session",
        "KVolt keeps your type as it is, here in seven allocations, where axum_session keeps one JSON text; and the \
         deadlines, owner and device that it files.",
    ),
    size("memory", "sessions", "ruts, not sliding", PLAIN_MAP),
    size("memory", "sessions", "saysion, not sliding", PLAIN_MAP),
    size(
        "memory",
        "entries",
        "papaya, no expiry",
        "A queue item of 16 bytes and an idle time of 8 move an entry up by one size of the allocator.",
    ),
    size("memory", "entries", "dashmap, no expiry", FILED),
    size("memory", "entries", "quick_cache, no expiry", FILED),
    size("memory", "entries", "moka, time to live", FILED),
    size("stored", "Redis", "tower-sessions", OWNER),
    size("stored", "PostgreSQL", "tower-sessions", OWNER),
    size("stored", "PostgreSQL", "ruts", OWNER),
    size("stored", "SQLite", "tower-sessions", OWNER),
    cache("read", "moka, time to live", SAME_MEMORY),
    cache("read", "moka, time to idle", SAME_MEMORY),
    cache("read", "papaya, no expiry", NO_EXPIRY),
    cache("read", "quick_cache, no expiry", NO_EXPIRY),
    cache("read", "dashmap, no expiry", NO_EXPIRY),
    cache("insert", "moka, time to live", FILED),
    cache("insert", "papaya, no expiry", FILED),
    cache("insert", "quick_cache, no expiry", FILED),
    cache("insert", "dashmap, no expiry", FILED),
    cache("remove", "moka, time to live", FILED),
    cache("remove", "papaya, no expiry", FILED),
    cache("remove", "quick_cache, no expiry", FILED),
    cache("remove", "dashmap, no expiry", FILED),
];

const LAYER: Gap = Gap::Added { bare: "a bare route", floor: "a hand-written layer" };
const BARE_SHARE: (&str, &str, &str) = ("a bare route", "memory", "a bare route");
const DRIVER: &str = "a bare route and one round trip of the driver";

pub(super) const SECTIONS: &[Section] = &[
    Section {
        part: "http",
        title: "A request through axum",
        about: "`GET /profile` of a signed-in user, by calls of the router in one process on one thread. *Plain requests* are \
                those that `axum::serve` makes for a plain router; *with connect info*, their extensions have the client's \
                address, as many applications have it. KVolt always slides. *Sliding* is what another library does when it is \
                asked to prolong a session that is only read: tower-sessions by `with_always_save`, ruts by `expire_field`, \
                saysion by storing the session. ruts keeps sessions in moka; saysion has no layer, so its cookie is found by a \
                function of `axum::middleware::from_fn`.",
        gaps: &[("", LAYER)],
        levels: true,
        notes: &[(
            "plain",
            "Of KVolt's share, under callgrind: the digest 3,400 instructions (some 60 ns where the processor has \
             instructions for it), allocating and freeing 1,000, finding and decoding the token 900, `Vary` and \
             `Cache-Control` 630, the store 480, putting the session into the request 310. Three of its allocations are \
             axum's own for any layer. Done: the token is wiped in one write instead of 75 (80 ns), decoded by a table (45), the \
             cookie found by `memchr` (40). Tried without effect: inlining the call of the inner service.",
        )],
    },
    Section {
        part: "actix",
        title: "A request through actix-web",
        about: "`GET /profile` of a signed-in user, by calls of an actix-web service. actix-session prolongs a session that is only read where \
                `TtlExtensionPolicy::OnEveryRequest` asks it to. Its map is a store written for this: it brings none in memory.",
        gaps: &[("", Gap::Added { bare: "a bare route", floor: "a bare route" })],
        levels: true,
        notes: &[],
    },
    Section {
        part: "serve",
        title: "Requests per second, by store",
        about: "`GET /profile` over sockets: 32 connections that are kept, each with the next request as soon as it has the \
                answer, 2,000 sessions, 30 minutes of idle time. Each program is a process with two threads, the client \
                one with one thread, and the store is on the same cores. PostgreSQL and SQLite wait for the disk at each \
                commit; Redis keeps nothing on disk. *Processor* is the program's own time for a request, as the kernel counts \
                it. The floor of a remote store is a route that asks the same driver for one value.\n\nKVolt writes a slide when \
                1/16 of the idle time has passed, with a near cache about 1/10; *at each use* is `slide_after(0.0)`, which does \
                what tower-sessions does with `with_always_save`. On Redis KVolt has one connection, tower-sessions six, as \
                documented; on PostgreSQL and SQLite each has ten. ruts needs Redis 7.4, which is not on this machine.",
        gaps: &[
            ("Redis'", Gap::Shares(&[])),
            ("Redis", Gap::Shares(&[BARE_SHARE, ("the driver", "Redis", DRIVER)])),
            ("PostgreSQL", Gap::Shares(&[BARE_SHARE, ("the driver", "PostgreSQL", DRIVER)])),
            ("", Gap::Shares(&[BARE_SHARE])),
        ],
        levels: true,
        notes: &[(
            "Redis'",
            "Under callgrind a request to KVolt on Redis takes 60,000 instructions in the program, the kernel not \
             counted. The largest shares: allocating 13 %, copying 7 %, decoding JSON 7 %, the digest 6 %. Done: the future of a \
             request that waits is 2.3 kB, as rare branches are boxed, and is no longer copied whole (72,000 before).",
        )],
    },
    Section {
        part: "rate",
        title: "Latency at a fixed rate",
        about: "Requests arrive on schedule, whatever the answers, and latency counts from when a request was due: one that \
                waits behind slow ones has waited (an open model, without coordinated omission). The rates are shares of \
                what the bare route answers to the same client, on 64 connections. Sending is late by up to 0.1 ms, which \
                is in every row, so the bare route is the floor (·). Below 100 % *in time*, the server does not keep \
                up, and latencies grow with the length of the round.",
        gaps: &[("", Gap::Cells("a bare route"))],
        levels: true,
        notes: &[],
    },
    Section {
        part: "memory",
        title: "Memory",
        about: "Resident memory of a process of its own, divided by the number of entries: a million of 32 bytes of key and \
                100 of value, and 200,000 logins through each library's layer.",
        gaps: &[("entries", Gap::Cells("papaya, no expiry"))],
        levels: true,
        notes: &[(
            "entries",
            "A session's entry holds its data behind a pointer, so that it is handed out without copying.",
        )],
    },
    Section {
        part: "stored",
        title: "Size of a session in a store",
        about: "20,000 logins, each of another user. PostgreSQL: tables and indices; SQLite: its file, without the log.",
        gaps: &[],
        levels: true,
        notes: &[],
    },
    Section {
        part: "commands",
        title: "Commands and round trips of a request",
        about: "Counted by Redis' `MONITOR`, PostgreSQL's log, MariaDB's `Questions`, and by a proxy for round trips, over 100 \
                requests, less what the program does without requests. *Login again* is a login with a session, which ends. \
                A floor is one command in one round trip; with a near cache a read needs none.",
        gaps: &[],
        levels: false,
        notes: &[
            (
                "PostgreSQL",
                "sqlx's pool pings a connection before and after each use, which are the other libraries' further round trips.",
            ),
            ("MariaDB", "A login over a session is a transaction of four statements there."),
            (
                "SQLite",
                "A row of KVolt's is in four B-trees (row, key, deadline, owner), where that of tower-sessions is in two; its \
                 changes are also in the log that other processes read.",
            ),
        ],
    },
    Section {
        part: "changes",
        title: "Changes of one session at once",
        about: "1,000 changes by 32 clients on two servers, each behind the layer, which reads the session. Every change takes \
                effect. The others of this page do not do that work: of two changes at once they keep one.",
        gaps: &[],
        levels: false,
        notes: &[],
    },
    Section {
        part: "scale",
        title: "Many sessions",
        about: "Created by 64 tasks at once, each with an owner of its own; every commit is on disk (Redis: append-only file, \
                always synchronized). 10,000 of them are read at random; 64 tasks sign in again and again over a session; \
                an owner of 10,000 others is revoked; the server is killed and started, and then the application; and all \
                end within three seconds, while four tasks read sessions that live. The SQL stores delete every second here, by \
                default every minute. Sessions in memory are lost with the process. `--entries`, `--share` and `--only` of the \
                program fill more by hand.",
        gaps: &[],
        levels: false,
        notes: &[(
            "sessions",
            "What is still taken is what the process, the server or the table keeps for the next sessions. \
             *Each* is resident memory, Redis' `used_memory`, or table and indices. A server's processor time is that of its processes, as \
             the kernel counts it.",
        )],
    },
    Section {
        part: "cache",
        title: "Entries in memory",
        about: "Keys of 32 bytes, values of 100, all of which are read. *Throughput* reads keys that are known beforehand, so \
                the processor works on several reads at once; *latency* makes each key depend on the value before, as in a \
                request. Nanoseconds of one thread's operation. Behind the point (·), how many times the floor it is.",
        gaps: &[
            ("read", Gap::Cells("`HashMap` of one thread, no expiry")),
            ("", Gap::Cells("`HashMap` in one mutex, no expiry")),
        ],
        levels: false,
        notes: &[(
            "read among 1000000",
            "A read takes some 260 instructions where papaya's takes 160: KVolt reads the time, compares two deadlines, and \
             slides by a compare-and-swap in each new millisecond. In latency the wait for memory hides that. Tried: a map of \
             our own over `seize` in two layouts (slower from a hundred thousand entries on, and `unsafe`), the \
             processor's time-stamp counter (slower where it is trapped), a time that a thread refreshes (expiry would \
             stop with the thread).",
        )],
    },
    Section {
        part: "session",
        title: "Sessions in memory",
        about: "Beside reading the entry that a session is in (·): the token's SHA-256, and the session's data, a second place in \
                memory. `get_ready` hands the data out, and so counts a reference, on which two threads meet.",
        gaps: &[("", Gap::Cells("the entry alone"))],
        levels: false,
        notes: &[],
    },
    Section {
        part: "pause",
        title: "The longest pause of a reader",
        about: "One thread reads 1,000 live entries while a million others expire. *Longest* leaves out pauses in which the \
                scheduler took the processor away. The floor is the same reader while nothing expires (·).",
        gaps: &[("", Gap::Cells("KVolt, nothing expires"))],
        levels: false,
        notes: &[],
    },
    Section {
        part: "device",
        title: "Sessions that are bound to a device",
        about: "In memory. A refresh verifies a signature, which is nearly all of its time.",
        gaps: &[(
            "requests",
            Gap::Added { bare: "device binding off", floor: "device binding off" },
        )],
        levels: false,
        notes: &[(
            "refreshes",
            "A refresh with a good proof is two store commands, a read and a compare-and-swap; without a proof, one.",
        )],
    },
    Section {
        part: "allocations",
        title: "Allocations of a request",
        about: "The making of the request included.",
        gaps: &[("", LAYER)],
        levels: false,
        notes: &[],
    },
    Section {
        part: "instructions",
        title: "Instructions",
        about: "Under callgrind, which has no instructions for SHA-256 and no fast clock: what is hashed counts for more than it \
                does in time.",
        gaps: &[("a request", LAYER)],
        levels: false,
        notes: &[],
    },
];
