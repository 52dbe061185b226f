//! The AWS adapters against a stand-in on loopback, which every test starts for itself.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod batch;
mod blob;
mod blob_faults;
mod checkpoint;
mod faults;
mod fleet;
mod localstack;
mod metrics;
mod model;
mod queue;
mod resources;
mod smoke;
mod stand_in;
mod windows;
