//! The real binary against real servers on loopback.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says what it saw"
)]

mod aws;
mod bad_input;
mod context;
mod demo;
mod feeds;
mod files;
mod forty_workers;
mod kill;
mod limited_host;
mod pipeline;
mod publisher;
mod rude_server;
mod speech;
mod web;
mod wer;
