//! The typed store of the stage bucket.
