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
//!
//! On memory adapters, from a manifest to a queued message:
//!
//! ```
//! use std::sync::Arc;
//!
//! use podrun::checkpoint::{MemoryCheckpoints, Reopen};
//! use podrun::control::{Drain, Enqueue};
//! use podrun::domain::FetchJob;
//! use podrun::manifest::{Manifest, ManifestReader};
//! use podrun::queue::{MemoryQueue, Queue};
//! use podrun::raw::RawStore;
//! use podrun::runtime::blob::MemoryBlobStore;
//! use podrun::runtime::clock::{Clock, SystemClock};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let csv = "feed_slug,guid,enclosure_url\nshow,first,https://example.com/1.mp3\n";
//! let rows = ManifestReader::try_new(csv.as_bytes(), "example.csv")?.collect::<Result<Vec<_>, _>>()?;
//! let jobs = Manifest::from_rows(rows).into_rows().into_iter().map(|row| {
//!     Ok(FetchJob { episode: row.episode })
//! });
//!
//! let clock: Arc<dyn Clock> = Arc::new(SystemClock);
//! let queue = MemoryQueue::new(clock.clone());
//! let planned = Enqueue {
//!     checkpoints: &MemoryCheckpoints::new(clock.clone()),
//!     queue: Some(&queue),
//!     products: &RawStore::new(Arc::new(MemoryBlobStore::new())),
//!     limit: Some(50),
//!     drain: Drain::AnyRun,
//!     reopen: Reopen::Exhausted,
//!     clock,
//! }
//! .run(futures::stream::iter(jobs), |_| {})
//! .await?;
//!
//! assert_eq!(planned.planned, 1);
//! assert_eq!(queue.depth().await?.ready, 1);
//! # Ok(())
//! # }
//! ```

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
