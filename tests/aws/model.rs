//! Random operations of several workers on a queue, checkpoints and a store, held against what the
//! ports promise.
//!
//! Workers go through the steps of `runtime/worker` one at a time and in any mixture: between two steps
//! of one worker leases end, others take over, messages come twice, workers die. Each answer is compared
//! with that of a reference ([`spec`], [`messages`]); at the end everything is drained, and what was
//! planned must be done or given up, each with the product that belongs to it.
//!
//! A failure tells the seed and the operations; `PODRUN_SEED=<seed>` runs them again.

mod messages;
mod spec;
mod stepped;
mod world;

use std::sync::Arc;
use std::time::{Duration, Instant};

use podrun::checkpoint::{DynamoCheckpoints, MemoryCheckpoints, SqliteCheckpoints};
use podrun::domain::StageName;
use podrun::queue::{MemoryQueue, SqliteQueue, SqsQueue};
use podrun::runtime::blob::MemoryBlobStore;
use podrun::runtime::blob::s3::S3BlobStore;
use podrun::runtime::clock::ManualClock;
use podrun::runtime::sqlite::Database;

use crate::checkpoint::table;
use crate::faults::FaultProxy;
use crate::queue::queues;
use crate::stand_in::{StandIn, clients_of};
use stepped::SteppedQueue;
use world::{Parts, World};

const OPERATIONS: usize = 250;
/// Rounds begin until then; one is always run.
const TIME: Duration = Duration::from_secs(8);
const ROUNDS: u64 = 40;

fn first_seed() -> (u64, u64) {
    match std::env::var("PODRUN_SEED") {
        Ok(seed) => (seed.parse().unwrap(), 1),
        Err(_) => (rand::random(), ROUNDS),
    }
}

async fn run(fresh: impl AsyncFn() -> Parts) {
    let (first, rounds) = first_seed();
    let started = Instant::now();
    for round in 0..rounds {
        if round > 0 && started.elapsed() > TIME {
            return;
        }
        let seed = first.wrapping_add(round);
        let mut world = World::new(fresh().await, seed);
        if let Err(problem) = world.live(OPERATIONS).await {
            let operations = world.operations.join("\n");
            panic!("PODRUN_SEED={seed}: {problem}\n{operations}\n{problem}");
        }
    }
}

#[tokio::test]
async fn memory_does_what_the_model_does() {
    let fresh = async || {
        let clock = Arc::new(ManualClock::default());
        Parts {
            queue: Arc::new(MemoryQueue::new(clock.clone())),
            checkpoints: Arc::new(MemoryCheckpoints::new(clock.clone())),
            clock,
            store: Arc::new(MemoryBlobStore::new()),
            deduplicates: true,
            faults: None,
        }
    };
    run(fresh).await;
}

#[tokio::test]
async fn sqlite_does_what_the_model_does() {
    let fresh = async || {
        let clock = Arc::new(ManualClock::default());
        let database = Database::open_in_memory().unwrap();
        let stage = StageName::Transcribe;
        Parts {
            queue: Arc::new(SqliteQueue::new(database.clone(), stage, clock.clone())),
            checkpoints: Arc::new(SqliteCheckpoints::new(database, clock.clone())),
            clock,
            store: Arc::new(MemoryBlobStore::new()),
            deduplicates: true,
            faults: None,
        }
    };
    run(fresh).await;
}

/// Through a proxy that loses answers and throttles.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aws_does_what_the_model_does() {
    let stand_in = StandIn::start();
    let direct = stand_in.clients().await;
    let fresh = async || {
        let clock = Arc::new(ManualClock::default());
        let proxy = FaultProxy::start(&stand_in.endpoint).await;
        let clients = clients_of(&proxy.endpoint).await;
        let (url, dead) = queues(&direct.sqs).await;
        let queue = SqsQueue::new(clients.sqs, url, dead, Duration::ZERO);
        let table = table(&direct).await;
        let bucket = uuid::Uuid::new_v4().simple().to_string();
        let made = direct.s3.create_bucket().bucket(&bucket).send().await;
        made.unwrap();
        Parts {
            queue: Arc::new(SteppedQueue::new(queue, clock.clone())),
            checkpoints: Arc::new(DynamoCheckpoints::new(
                clients.dynamodb,
                table,
                clock.clone(),
            )),
            clock,
            store: Arc::new(S3BlobStore::new(clients.s3, bucket)),
            deduplicates: false,
            faults: Some(proxy),
        }
    };
    run(fresh).await;
}
