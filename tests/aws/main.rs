//! The AWS adapters against a stand-in on loopback, which every test starts for itself.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod checkpoint;
mod faults;
mod model;
mod queue;
mod smoke;
mod stand_in;
