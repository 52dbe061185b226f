//! What every step runs on.

pub mod aws;
pub mod batch;
pub mod blob;
pub mod clock;
pub mod http;
pub mod owners;
pub mod retry;
pub mod sqlite;
pub mod telemetry;
pub mod worker;
