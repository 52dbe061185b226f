//! What can be wrong with the file, as conditions to branch on.

use std::time::Duration;

use rusqlite::ErrorCode;

/// A failed database call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The file, or its directory, may not be read, written or created.
    #[error(
        "cannot open or create the database {location}: {problem}; \
         check that its directory may be written to"
    )]
    CannotOpen {
        /// Path of the file.
        location: String,
        /// In the system's words.
        problem: String,
    },
    /// The disk is full.
    #[error("no space left for the database {location}; free some and run again")]
    Full {
        /// Path of the file.
        location: String,
    },
    /// Not SQLite, not podrun's, or broken.
    #[error(
        "{location} is damaged or not podrun's ({problem}); move it away and run again: \
         audio and transcripts in the data directory are kept and not fetched again"
    )]
    Damaged {
        /// Path of the file.
        location: String,
        /// What was found.
        problem: String,
    },
    /// A later release changed the tables.
    #[error(
        "{location} was written by a newer podrun: its format is {found}, \
         this program reads up to {known}; use the newer program"
    )]
    Newer {
        /// Path of the file.
        location: String,
        /// The file's format.
        found: i64,
        /// The latest format this program knows.
        known: i64,
    },
    /// Other processes kept the file locked.
    #[error("{location} was locked by other processes for more than {} s", waited.as_secs())]
    Busy {
        /// Path of the file.
        location: String,
        /// How long was waited.
        waited: Duration,
    },
    /// One row holds what no podrun wrote.
    #[error(
        "{location}: the row {row} of {table} cannot be read: {problem}; \
         correct it, or move the file away and run again"
    )]
    UnreadableRow {
        /// Path of the file.
        location: String,
        /// Which table.
        table: &'static str,
        /// The row's key.
        row: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The program is stopping, the call was not made.
    #[error("{location}: the program is stopping")]
    Stopped {
        /// Path of the file.
        location: String,
    },
    /// Anything else SQLite reports.
    #[error("{location}: {source}")]
    Other {
        /// Path of the file.
        location: String,
        /// SQLite's own error.
        #[source]
        source: rusqlite::Error,
    },
}

impl DatabaseError {
    /// Whether the same call may succeed in a while without anybody doing something about it.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Busy { .. })
    }
}

/// What goes wrong inside a closure given to [`Database`](super::Database), before the file's
/// location is added to it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatementError {
    /// SQLite failed.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// A row holds what no podrun wrote.
    #[error("the row {row} of {table} cannot be read: {problem}")]
    UnreadableRow {
        /// Which table.
        table: &'static str,
        /// The row's key.
        row: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl StatementError {
    /// Adds where it happened, and sorts SQLite's codes into conditions.
    pub(super) fn at(self, location: &str, waited: Duration) -> DatabaseError {
        let location = location.to_owned();
        match self {
            Self::UnreadableRow {
                table,
                row,
                problem,
            } => DatabaseError::UnreadableRow {
                location,
                table,
                row,
                problem,
            },
            Self::Sqlite(source) => sorted(source, location, waited),
        }
    }
}

fn sorted(source: rusqlite::Error, location: String, waited: Duration) -> DatabaseError {
    let problem = source.to_string();
    match source.sqlite_error_code() {
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            DatabaseError::CannotOpen { location, problem }
        }
        Some(ErrorCode::DiskFull) => DatabaseError::Full { location },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            DatabaseError::Damaged { location, problem }
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            DatabaseError::Busy { location, waited }
        }
        _ => DatabaseError::Other { location, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    fn condition(code: i32) -> DatabaseError {
        let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        StatementError::from(error).at("podrun.db", Duration::from_secs(30))
    }

    #[test]
    fn codes_become_conditions_and_only_a_lock_passes_by_itself() {
        use DatabaseError::{Busy, CannotOpen, Damaged, Full, Other};
        let busy = condition(ffi::SQLITE_BUSY_SNAPSHOT);
        assert!(matches!(busy, Busy { .. }) && busy.is_transient());
        for code in [ffi::SQLITE_CANTOPEN, ffi::SQLITE_READONLY_DIRECTORY] {
            assert!(matches!(condition(code), CannotOpen { .. }));
        }
        assert!(matches!(condition(ffi::SQLITE_FULL), Full { .. }));
        for code in [ffi::SQLITE_NOTADB, ffi::SQLITE_CORRUPT_INDEX] {
            let damaged = condition(code);
            assert!(matches!(damaged, Damaged { .. }) && !damaged.is_transient());
        }
        let other = condition(ffi::SQLITE_CONSTRAINT);
        assert!(matches!(other, Other { .. }) && !other.is_transient());
    }

    #[test]
    fn messages_name_the_file_and_say_what_to_do() {
        let busy = condition(ffi::SQLITE_BUSY).to_string();
        assert_eq!(
            busy,
            "podrun.db was locked by other processes for more than 30 s"
        );
        let full = condition(ffi::SQLITE_FULL).to_string();
        assert!(
            full.contains("podrun.db") && full.contains("free some"),
            "{full}"
        );
    }
}
