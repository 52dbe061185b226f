//! The typed store of the raw bucket.
