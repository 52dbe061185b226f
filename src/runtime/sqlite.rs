//! The one SQLite file of the local target.
