//! The one SQLite file of the local target.
//!
//! ```text
//! <data>/podrun.db      messages, checkpoints, metrics and host windows of every local process
//! <data>/podrun.db-wal  what was committed and not yet folded in; SQLite's own, never removed by hand
//! ```
//!
//! An adapter holds a [`Database`] and hands it closures: [`Database::read`] sees one snapshot,
//! [`Database::write`] one transaction that nobody else writes beside, and both run off the async
//! runtime. Processes share the file through SQLite's locks, so forty workers on one machine need
//! no server; on a network file system those locks do not work, and the aws target is for that.
//!
//! The file is input like any other: it may be damaged, edited or somebody else's. Opening checks
//! it, and a row that cannot be read is an error that names the row ([`read_row`]).

mod database;
mod error;
mod open;
mod row;

pub use database::Database;
pub use error::{DatabaseError, StatementError};
pub use row::{from_micros, read_count, read_row, read_time, to_micros};
