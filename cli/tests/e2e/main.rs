//! The real binary against real servers on loopback.

mod bad_input;
mod context;
mod demo;
mod kill;
mod pipeline;
mod rude_server;
mod speech;
mod web;
mod wer;
