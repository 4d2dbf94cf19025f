//! SQLite: the file, and where it lies.

use std::fs;
use std::path::{Path, PathBuf};

use sqlx::{Connection, Row};

use super::Report;
use crate::url::StoreUrl;

/// Below this, a write-ahead log has no room to grow.
const LITTLE_SPACE: u64 = 100 << 20;

pub(super) async fn inspect(url: &StoreUrl, report: &mut Report) {
    let path = url.path();
    let Ok(metadata) = fs::metadata(path) else { return };
    if let Ok(version) = version().await {
        report.ok("version", format!("SQLite {version}, of this program"));
        report.fact("sqlite_version", version);
    }
    report.fact("file_bytes", metadata.len().to_string());
    let beside = |suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
    if let Ok(log) = fs::metadata(beside("-wal")) {
        report.fact("log_bytes", log.len().to_string());
    }
    if let Ok(header) = header(path) {
        judge_header(&header, report);
    }
    if url.settings.is_synchronous_normal {
        report.warning(
            "durability",
            "synchronous is normal: a power failure may undo the last changes, so that a session that \
             was ended is live again",
            "use synchronous=full, the default",
        );
    } else {
        report.ok("durability", "each change is durable when the call returns (synchronous FULL)");
    }
    #[cfg(unix)]
    {
        for file in [path.to_owned(), beside("-wal"), beside("-shm")] {
            judge_mode(&file, report);
        }
        judge_disk(path, report);
    }
}

/// The version that is compiled into this program; the application may have another.
async fn version() -> sqlx::Result<String> {
    let mut connection = sqlx::SqliteConnection::connect("sqlite::memory:").await?;
    sqlx::query("SELECT sqlite_version()").fetch_one(&mut connection).await?.try_get(0)
}

/// The first bytes of the file: <https://www.sqlite.org/fileformat.html#the_database_header>.
fn header(path: &Path) -> std::io::Result<[u8; 20]> {
    let mut bytes = [0; 20];
    std::io::Read::read_exact(&mut fs::File::open(path)?, &mut bytes)?;
    Ok(bytes)
}

fn judge_header(header: &[u8; 20], report: &mut Report) {
    if !header.starts_with(b"SQLite format 3\0") {
        report.error("file", "it is no SQLite database", "name another file");
    } else if header[18] == 2 && header[19] == 2 {
        report.ok("journal", "journal_mode is WAL: readers do not wait for writers");
    } else {
        report.error(
            "journal",
            "journal_mode is not WAL: the store rejects such a file, or changes it",
            "PRAGMA journal_mode = WAL, and let no other program change it back",
        );
    }
}

#[cfg(unix)]
fn judge_mode(file: &Path, report: &mut Report) {
    use std::os::unix::fs::PermissionsExt;
    let Ok(metadata) = fs::metadata(file) else { return };
    let mode = metadata.permissions().mode() & 0o777;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    if mode & 0o006 != 0 {
        report.error(
            "mode",
            format!(
                "every user of the machine can open {name} (mode {mode:o}): it has all sessions"
            ),
            "chmod 600",
        );
    } else if mode & 0o060 != 0 {
        report.warning(
            "mode",
            format!("the group can open {name} (mode {mode:o}): it has all sessions"),
            "chmod 600, unless that is intended",
        );
    } else {
        report.ok("mode", format!("{name} has the mode {mode:o}"));
    }
}

#[cfg(unix)]
fn judge_disk(path: &Path, report: &mut Report) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    if let Ok(space) = rustix::fs::statvfs(folder) {
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        report.fact("free_bytes", free.to_string());
        let message = format!("{} MiB are free", free >> 20);
        match free < LITTLE_SPACE {
            true => report.error("disk", format!("{message}: writes will fail"), "make room"),
            false => report.ok("disk", message),
        }
    }
    #[cfg(target_os = "linux")]
    judge_file_system(folder, report);
}

/// SQLite's write-ahead log needs memory that all processes share, which network file systems lack.
#[cfg(target_os = "linux")]
fn judge_file_system(folder: &Path, report: &mut Report) {
    const NETWORK: &[(i64, &str)] = &[
        (0x6969, "NFS"),
        (0x517b, "SMB"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB2"),
        (0x0102_1997, "9P"),
        (0x00c3_6400, "Ceph"),
    ];
    const TMPFS: i64 = 0x0102_1994;
    let Ok(system) = rustix::fs::statfs(folder) else { return };
    #[allow(clippy::unnecessary_cast, reason = "the type differs by platform")]
    let kind = system.f_type as i64 & 0xffff_ffff;
    if let Some((_, name)) = NETWORK.iter().find(|(number, _)| *number == kind) {
        report.error(
            "file system",
            format!("the file lies on {name}: a network file system can damage it"),
            "use a disk of this machine, or another store",
        );
    } else if kind == TMPFS {
        report.warning(
            "file system",
            "the file lies in memory (tmpfs): a restart of the machine ends all sessions",
            "use a disk, unless that is intended",
        );
    }
}
