//! The handle that adapters share.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::Mutex;

use super::error::{DatabaseError, StatementError};
use super::open;

/// How long a call waits for other processes' transactions. One of ours takes milliseconds, so
/// even forty workers in a row are through long before; what holds the file longer is stuck.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// One open SQLite file. Clones share the connection.
///
/// One connection, not a pool: SQLite lets one transaction write at a time anyway, ours are short,
/// and a single connection keeps its page cache and prepared statements warm. Callers queue for it
/// in order, without occupying a thread while they wait.
///
/// A call whose future is dropped either does not happen or happens whole.
#[derive(Debug, Clone)]
pub struct Database {
    location: Arc<str>,
    connection: Arc<Mutex<Connection>>,
}

impl Database {
    /// Opens the file at `path`, or creates it with its directory; brings its tables up to date and
    /// checks it. Blocks for milliseconds, or while another process does the same: call it at start.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, DatabaseError> {
        let path = path.into();
        let location = path.display().to_string();
        open::create_directory(&path, &location)?;
        let connection = open::connect(&path, &location)?;
        Self::prepared(connection, location)
    }

    /// A database that ends with its last handle; for tests.
    pub fn open_in_memory() -> Result<Self, DatabaseError> {
        let location = "the database in memory".to_owned();
        let connection = Connection::open_in_memory()
            .map_err(|error| StatementError::from(error).at(&location, BUSY_TIMEOUT))?;
        Self::prepared(connection, location)
    }

    fn prepared(mut connection: Connection, location: String) -> Result<Self, DatabaseError> {
        open::prepare(&mut connection, &location)?;
        Ok(Self {
            location: location.into(),
            connection: Arc::new(Mutex::new(connection)),
        })
    }

    /// Runs `work` on one snapshot of the file; it must not write.
    pub async fn read<T, W>(&self, work: W) -> Result<T, DatabaseError>
    where
        T: Send + 'static,
        W: FnOnce(&Transaction<'_>) -> Result<T, StatementError> + Send + 'static,
    {
        self.run(TransactionBehavior::Deferred, work).await
    }

    /// Runs `work` in a transaction that takes the write lock first, so that what it read is still
    /// so when it writes. Commits what `work` returns with `Ok`, undoes everything otherwise.
    pub async fn write<T, W>(&self, work: W) -> Result<T, DatabaseError>
    where
        T: Send + 'static,
        W: FnOnce(&Transaction<'_>) -> Result<T, StatementError> + Send + 'static,
    {
        self.run(TransactionBehavior::Immediate, work).await
    }

    async fn run<T, W>(&self, behavior: TransactionBehavior, work: W) -> Result<T, DatabaseError>
    where
        T: Send + 'static,
        W: FnOnce(&Transaction<'_>) -> Result<T, StatementError> + Send + 'static,
    {
        let mut connection = Arc::clone(&self.connection).lock_owned().await;
        let call = tokio::task::spawn_blocking(move || {
            let transaction = connection.transaction_with_behavior(behavior)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        });
        match call.await {
            Ok(result) => {
                result.map_err(|error: StatementError| error.at(&self.location, BUSY_TIMEOUT))
            }
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(DatabaseError::Stopped {
                    location: self.location.to_string(),
                }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSERT: &str = "INSERT INTO metrics VALUES (0, 'n', 'd', 'v', 'u', 1, 1.0)";

    async fn rows(database: &Database) -> i64 {
        let count = "SELECT count(*) FROM metrics";
        let read = database.read(move |rows| Ok(rows.query_one(count, [], |row| row.get(0))?));
        read.await.unwrap()
    }

    #[tokio::test]
    async fn a_failed_write_leaves_nothing_behind() {
        let database = Database::open_in_memory().unwrap();
        let twice = database.write(|rows| {
            rows.execute(INSERT, [])?;
            rows.execute(INSERT, [])?;
            Ok(())
        });
        assert!(matches!(twice.await, Err(DatabaseError::Other { .. })));
        assert_eq!(rows(&database).await, 0);
    }

    #[tokio::test]
    async fn a_panic_reaches_the_caller_and_the_handle_survives_it() {
        let database = Database::open_in_memory().unwrap();
        let clone = database.clone();
        let panicking = tokio::spawn(async move {
            let broken = |rows: &Transaction<'_>| -> Result<(), StatementError> {
                rows.execute(INSERT, [])?;
                panic!("broken adapter")
            };
            clone.write(broken).await
        });
        assert!(panicking.await.unwrap_err().is_panic());
        assert_eq!(rows(&database).await, 0);
    }

    #[tokio::test]
    async fn a_full_disk_is_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::open(directory.path().join("podrun.db")).unwrap();
        let fill = database.write(|rows| {
            rows.pragma_update(None, "max_page_count", 1)?;
            let big = "x".repeat(1 << 20);
            let insert = "INSERT INTO metrics VALUES (0, ?1, 'd', 'v', 'u', 1, 1.0)";
            Ok(rows.execute(insert, [big])?)
        });
        let error = fill.await.unwrap_err();
        assert!(matches!(error, DatabaseError::Full { .. }), "{error}");
        assert!(!error.is_transient());
        assert_eq!(rows(&database).await, 0);
    }

    #[tokio::test]
    async fn two_handles_on_one_file_see_each_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("not/yet/podrun.db");
        let first = Database::open(&path).unwrap();
        let second = Database::open(&path).unwrap();
        first
            .write(|rows| Ok(rows.execute(INSERT, [])?))
            .await
            .unwrap();
        assert_eq!(rows(&second).await, 1);
    }
}
