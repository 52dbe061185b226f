//! Downloads over loopback: one request, one episode, and the stage around it.

mod download;
mod server;
mod stage;
