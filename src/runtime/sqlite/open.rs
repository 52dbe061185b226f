//! From a path to a connection that can be trusted: identity, settings, migrations, checks.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::database::BUSY_TIMEOUT;
use super::error::{DatabaseError, StatementError};

/// "podr": marks the file as ours in its header, for `file(1)` and for us.
const APPLICATION_ID: i64 = 0x706f_6472;

/// The tables' history. A file's `user_version` says how many of these it has seen. Add at the end;
/// what was released is never edited.
const MIGRATIONS: [&str; 3] = [
    include_str!("migrations/0001_queue_checkpoints_metrics.sql"),
    include_str!("migrations/0002_host_windows.sql"),
    include_str!("migrations/0003_adaptive_windows.sql"),
];

/// Up to this size the whole file is checked at every start, which takes some tens of milliseconds;
/// damage in a larger one shows when the damaged page is read.
const QUICK_CHECK_MAX_BYTES: i64 = 32 << 20;

pub(super) fn create_directory(path: &Path, location: &str) -> Result<(), DatabaseError> {
    let Some(directory) = path.parent() else {
        return Ok(());
    };
    std::fs::create_dir_all(directory).map_err(|error| DatabaseError::CannotOpen {
        location: location.to_owned(),
        problem: error.to_string(),
    })
}

pub(super) fn connect(path: &Path, location: &str) -> Result<Connection, DatabaseError> {
    // No URI flag: a path that begins with `file:` is a path. No mutex: `Database` has its own.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags)
        .map_err(|error| StatementError::from(error).at(location, BUSY_TIMEOUT))
}

/// Brings a connection and its file into working order.
pub(super) fn prepare(connection: &mut Connection, location: &str) -> Result<(), DatabaseError> {
    let located = |error: rusqlite::Error| StatementError::from(error).at(location, BUSY_TIMEOUT);
    distrust(connection).map_err(located)?;
    // Before anything is written: a file that is not ours must stay as it is.
    identify(connection, location)?;
    tune(connection).map_err(located)?;
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(located)?;
    // Again, under the lock: another process may have been first.
    let version = identify(&transaction, location)?;
    migrate(&transaction, version).map_err(located)?;
    transaction.commit().map_err(located)?;
    check(connection, location)
}

/// SQLite's advice for files from elsewhere (<https://sqlite.org/security.html>): nothing in the
/// schema may run code, and page structures are checked while they are read.
fn distrust(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.pragma_update(None, "cell_size_check", true)
}

/// How many migrations the file has seen; 0 for a new one.
fn identify(connection: &Connection, location: &str) -> Result<usize, DatabaseError> {
    let damaged = |problem: &str| DatabaseError::Damaged {
        location: location.to_owned(),
        problem: problem.to_owned(),
    };
    // One statement, so that all three are of one moment.
    let header = "SELECT (SELECT count(*) FROM sqlite_schema), application_id, user_version
        FROM pragma_application_id, pragma_user_version";
    let (tables, application, version): (i64, i64, i64) = connection
        .query_one(header, [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .map_err(|error| StatementError::from(error).at(location, BUSY_TIMEOUT))?;
    if (tables, application, version) == (0, 0, 0) {
        return Ok(0);
    }
    if application != APPLICATION_ID {
        return Err(damaged("it is another program's database"));
    }
    match usize::try_from(version) {
        Ok(seen @ 1..) if seen <= MIGRATIONS.len() => Ok(seen),
        Ok(1..) => Err(DatabaseError::Newer {
            location: location.to_owned(),
            found: version,
            known: MIGRATIONS.len() as i64,
        }),
        _ => Err(damaged("its format number makes no sense")),
    }
}

fn tune(connection: &Connection) -> rusqlite::Result<()> {
    // Readers and the writer do not wait for each other, and a commit is one append.
    let mode = write_ahead(connection)?;
    // NORMAL syncs at checkpoints only: a killed process loses nothing, a power cut may lose the
    // latest commits and nothing else. All of them are safe to lose: a message or a state from
    // before makes a worker look again, find the object in the store, which is synced before its
    // commit, and go on; and no owner of a lost token survives the cut. Without the log (a file
    // system that cannot share memory) NORMAL could break the file, hence FULL.
    let synchronous = if mode == "wal" { "NORMAL" } else { "FULL" };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "foreign_keys", true)
}

/// Asks for the write-ahead log and tells the mode that came of it.
///
/// The switch needs the file to itself, and SQLite does not wait for that as it does elsewhere:
/// workers that all start on a new file would fail by chance.
fn write_ahead(connection: &Connection) -> rusqlite::Result<String> {
    let start = Instant::now();
    loop {
        let switched = connection.query_one("PRAGMA journal_mode = WAL", [], |row| row.get(0));
        match switched {
            Err(error) if is_busy(&error) && start.elapsed() < BUSY_TIMEOUT => {
                std::thread::sleep(Duration::from_millis(20));
            }
            done => return done,
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

fn migrate(connection: &Connection, seen: usize) -> rusqlite::Result<()> {
    if seen == MIGRATIONS.len() {
        return Ok(());
    }
    for migration in &MIGRATIONS[seen..] {
        connection.execute_batch(migration)?;
    }
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", MIGRATIONS.len() as i64)
}

/// Compares the tables with what the migrations make, and the pages with each other.
fn check(connection: &Connection, location: &str) -> Result<(), DatabaseError> {
    let located = |error: rusqlite::Error| StatementError::from(error).at(location, BUSY_TIMEOUT);
    let damaged = |problem: String| DatabaseError::Damaged {
        location: location.to_owned(),
        problem,
    };
    let found = schema(connection).map_err(located)?;
    for table in expected_schema().map_err(located)? {
        if !found.contains(&table) {
            return Err(damaged(format!("{} is missing or altered", table.0)));
        }
    }
    let bytes = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
    let bytes: i64 = connection
        .query_one(bytes, [], |row| row.get(0))
        .map_err(located)?;
    if bytes > QUICK_CHECK_MAX_BYTES {
        return Ok(());
    }
    let verdict: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(located)?;
    match verdict.as_str() {
        "ok" => Ok(()),
        problem => Err(damaged(problem.replace('\n', " "))),
    }
}

/// Name and definition of every table and index.
fn schema(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    connection
        .prepare("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

fn expected_schema() -> rusqlite::Result<Vec<(String, String)>> {
    let model = Connection::open_in_memory()?;
    migrate(&model, 0)?;
    schema(&model)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::runtime::sqlite::Database;

    /// A closed podrun database with some content.
    fn database(directory: &Path) -> PathBuf {
        let path = directory.join("podrun.db");
        drop(Database::open(&path).unwrap());
        let connection = Connection::open(&path).unwrap();
        let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
            INSERT INTO metrics SELECT i, 'n', 'd', 'v', 'u', 1, 1.0 FROM n";
        connection.execute_batch(fill).unwrap();
        path
    }

    fn altered(sql: &str) -> DatabaseError {
        let directory = tempfile::tempdir().unwrap();
        let path = database(directory.path());
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        Database::open(&path).unwrap_err()
    }

    #[test]
    fn a_database_opens_again_and_keeps_its_rows() {
        let directory = tempfile::tempdir().unwrap();
        let path = database(directory.path());
        drop(Database::open(&path).unwrap());
        let count = "SELECT count(*) FROM metrics";
        let connection = Connection::open(&path).unwrap();
        let rows: i64 = connection.query_one(count, [], |row| row.get(0)).unwrap();
        let mode: String = connection
            .query_one("PRAGMA journal_mode", [], |row| row.get(0))
            .unwrap();
        assert_eq!((rows, mode.as_str()), (2000, "wal"));
    }

    #[test]
    fn many_processes_may_create_it_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("podrun.db");
        std::thread::scope(|scope| {
            let opened: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| Database::open(&path).map(drop)))
                .collect();
            for open in opened {
                open.join().unwrap().unwrap();
            }
        });
    }

    #[test]
    fn what_is_no_database_is_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("podrun.db");
        let text =
            b"these are my notes, and they are quite long, longer than a file header".repeat(40);
        fs::write(&path, &text).unwrap();
        let error = Database::open(&path).unwrap_err();
        assert!(matches!(error, DatabaseError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("move it away and run again"));
        assert_eq!(fs::read(&path).unwrap(), text);
    }

    #[test]
    fn another_programs_database_is_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("podrun.db");
        let theirs = Connection::open(&path).unwrap();
        theirs
            .execute_batch("CREATE TABLE bookmarks (url TEXT)")
            .unwrap();
        drop(theirs);
        let before = fs::read(&path).unwrap();
        let error = Database::open(&path).unwrap_err();
        assert!(matches!(error, DatabaseError::Damaged { .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[test]
    fn overwritten_and_cut_files_are_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let path = database(directory.path());
        let whole = fs::read(&path).unwrap();
        let mut overwritten = whole.clone();
        let middle = whole.len() / 2;
        overwritten[middle..middle + 8192].fill(0xA5);
        for broken in [&overwritten[..], &whole[..middle], &whole[..100]] {
            fs::write(&path, broken).unwrap();
            let error = Database::open(&path).unwrap_err();
            assert!(matches!(error, DatabaseError::Damaged { .. }), "{error}");
        }
    }

    #[test]
    fn altered_tables_are_damage() {
        for sql in [
            "DROP INDEX messages_by_state",
            "ALTER TABLE checkpoints DROP COLUMN failure_class",
            "PRAGMA user_version = -1",
        ] {
            let error = altered(sql);
            assert!(
                matches!(error, DatabaseError::Damaged { .. }),
                "{sql}: {error}"
            );
        }
    }

    #[test]
    fn a_newer_programs_file_is_refused() {
        let error = altered("PRAGMA user_version = 9999");
        let expected = MIGRATIONS.len() as i64;
        assert!(
            matches!(error, DatabaseError::Newer { found: 9999, known, .. } if known == expected),
            "{error}"
        );
    }

    #[test]
    fn a_place_that_cannot_be_written_is_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        for path in [file.join("podrun.db"), directory.path().to_path_buf()] {
            let error = Database::open(&path).unwrap_err();
            assert!(matches!(error, DatabaseError::CannotOpen { .. }), "{error}");
        }
    }
}
