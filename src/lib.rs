//! Podcast back catalogues as text you can query.
//!
//! The folders of this crate are the words of its data flow:
//!
//! ```text
//! feeds -> manifest -> queue -> fetch -> raw -> transcribe -> stage
//!              with  checkpoint  (who owns an episode, how far it got)
//!                    politeness  (how hard each podcast host may be pressed)
//!                    control     (plan, submit, status: what an operator does)
//!                    runtime     (what every step runs on)
//! ```
//!
//! A folder's `mod.rs` holds its port, a trait with its guarantees; the files beside it are the
//! adapters. Stages see ports only; one composition root, in the command line, names adapters.

pub mod domain;

pub mod feeds;
pub mod manifest;

pub mod queue;

pub mod fetch;
pub mod raw;

pub mod transcribe;

pub mod stage;

pub mod checkpoint;
pub mod control;
pub mod politeness;

pub mod runtime;
