//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::url::Kind;

const STORES: &str = "\
Stores:
  A STORE is a URL, env:NAME (a variable that has the URL) or @FILE (a file whose first line is the
  URL), so that no password shows in the list of processes.

    redis://[user:password@]host[:port][/database]   also rediss:// (TLS), valkey://, unix:///path,
                                                     redis+sentinel://hosts/master, redis+cluster://hosts
    postgres://[user:password@]host[:port]/database[?sslmode=verify-full]
    mysql://[user:password@]host[:port]/database[?ssl-mode=VERIFY_IDENTITY]   also mariadb://
    sqlite:PATH, or the path of the file

  Settings are parameters of the URL, after `?` and separated by `&`:

    password_env=NAME, password_file=PATH     where the password is, instead of in the URL
    max_connections=NUMBER                    SQL servers; defaults to 10
    migrate=false                             the target of a copy: do not create its tables
    pooled_by_transactions=true               PostgreSQL behind a pooler such as PgBouncer
    sslmode=…, sslrootcert=…, ssl-mode=…      and the other parameters of the SQL drivers
    synchronous=normal, max_file_size=BYTES   SQLite
    ca_file=PATH, client_certificate=PATH, client_key=PATH          Redis with TLS
    insecure_accept_any_certificate=true                            Redis with TLS, for tests only
    sentinel_user=NAME, sentinel_password_env=NAME, sentinel_password_file=PATH     Sentinel
    wait_replicas=NUMBER                      Redis: each change waits until these replicas have it

Exit status:
  0  done
  1  failed: the store is unavailable or misconfigured, or a copy was refused
  2  the command line is wrong, or a confirmation is missing
  3  `check` found a warning or an error, no such session exists, or entries can't be read";

/// Checks, lists, revokes and copies the sessions of a KVolt store.
#[derive(Debug, Parser)]
#[command(name = "kvolt", version, after_long_help = STORES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Print JSON, one object a line, instead of text for people.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Find what would lose sessions or undo a promise: connection, version, permissions, clock,
    /// durability, eviction, replication.
    ///
    /// Writes one entry, which no session can have, and removes it.
    Check(StoreArgs),
    /// List live sessions.
    List(ListArgs),
    /// Show one session.
    Show(ShowArgs),
    /// End sessions by their ids.
    Revoke(RevokeArgs),
    /// End all sessions of an owner, and impersonations of the owner.
    RevokeOwner(RevokeOwnerArgs),
    /// Count the sessions. Reads the names of all keys of a Redis server, and an index of a SQL table.
    Count(StoreArgs),
    /// Print the SQL that creates a store's tables, for operators who run it themselves.
    Schema(SchemaArgs),
    /// Copy all sessions to another store of the same namespace, while applications use the source.
    #[command(long_about = COPY)]
    Copy(CopyArgs),
    /// Describe the store for a bug report, without credentials and without sessions.
    Info(StoreArgs),
    /// Print a script that completes command lines.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the manual page (roff).
    Man,
}

const COPY: &str = "\
Copies all sessions to another store of the same namespace, while applications use the source.

Each run is one pass: it reads both stores, writes to the target what is missing or differs, and
removes from the target what has ended in the source. A run that was killed is simply started again.
Sessions keep their ids, tokens, owners and data, when they were created and last used, and all
deadlines. Values are copied as they are, so no encryption key is needed.

To move an application:

  1. `kvolt copy SOURCE TARGET`, while the application runs on SOURCE; repeat it until a pass writes
     little.
  2. Stop the application.
  3. `kvolt copy --final SOURCE TARGET`: takes what has changed or ended since, and reads both stores
     once more to make sure that they are equal.
  4. Start the application on TARGET.

Nothing may use TARGET before step 4: a pass removes sessions that SOURCE does not have. After the
last pass, the same copy is refused, so that no session that has ended is revived.

TARGET must have no entries of the namespace, or be an unfinished copy of the same SOURCE: the same
host, port and database, or the same file. A namespace is part of every token, so sessions can't be
copied to another namespace. Sessions can't be copied to a Redis Cluster from anything else than
one, because a cluster needs ids that suit its slots.

A pass reads every session of both stores once: from SQL, a statement for 1,000 sessions; from Redis,
a command or two for each session, 100 at a time. It writes 100 sessions in two statements, or one
script for each session in Redis. TARGET keeps one more entry, the mark of the copy.";

#[derive(Debug, Args)]
pub(crate) struct NamespaceArgs {
    /// The namespace that the application opens its store with.
    #[arg(short, long, value_name = "NAME")]
    pub(crate) namespace: String,
    /// The time limit of a call to the store: a number of seconds.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    /// A URL, env:NAME or @FILE: see `kvolt --help`.
    pub(crate) store: String,
    #[command(flatten)]
    pub(crate) namespace: NamespaceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) at: StoreArgs,
    /// Only the sessions of this owner, oldest first.
    #[arg(long)]
    pub(crate) owner: Option<String>,
    /// At most this many sessions.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) limit: Option<usize>,
    /// Continue after the list whose end printed this cursor.
    #[arg(long, value_name = "CURSOR", conflicts_with = "owner")]
    pub(crate) after: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    pub(crate) at: StoreArgs,
    /// The session's id: 24 hexadecimal digits.
    pub(crate) id: String,
    /// Show the application's data too. It may be private.
    #[arg(long)]
    pub(crate) data: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    #[command(flatten)]
    pub(crate) at: StoreArgs,
    /// The sessions' ids.
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// End several sessions without asking.
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeOwnerArgs {
    #[command(flatten)]
    pub(crate) at: StoreArgs,
    /// The owner's name, usually the id of an account.
    pub(crate) owner: String,
    /// Do not ask.
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// The database.
    pub(crate) kind: Database,
    /// The namespace that the application opens its store with.
    #[arg(short, long, value_name = "NAME")]
    pub(crate) namespace: String,
}

/// A database whose store has tables.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Database {
    /// PostgreSQL
    Postgres,
    /// MySQL and MariaDB
    #[value(alias = "mariadb")]
    Mysql,
    /// SQLite
    Sqlite,
}

impl From<Database> for Kind {
    fn from(database: Database) -> Self {
        match database {
            Database::Postgres => Self::Postgres,
            Database::Mysql => Self::MySql,
            Database::Sqlite => Self::Sqlite,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// The store that applications use: a URL, env:NAME or @FILE.
    pub(crate) source: String,
    /// The store to fill: a URL, env:NAME or @FILE.
    pub(crate) target: String,
    #[command(flatten)]
    pub(crate) namespace: NamespaceArgs,
    /// The last pass, with all applications stopped.
    #[arg(long = "final")]
    pub(crate) is_final: bool,
    /// At most about this many sessions a second, to spare the source. Defaults to no limit.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| String::from("it is not a number"))?;
    let is_valid = (0.01..=3_600.0).contains(&seconds);
    is_valid.then(|| Duration::from_secs_f64(seconds)).ok_or(String::from("it is not 0.01 to 3600"))
}

/// A file that has a secret, without the line feed at its end.
pub(crate) fn first_line(path: &PathBuf) -> std::io::Result<String> {
    let text = std::fs::read_to_string(path)?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}
