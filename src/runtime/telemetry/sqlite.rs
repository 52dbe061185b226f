//! Metrics in the SQLite file.
