//! Workers that take their steps in any order.

mod steps;

use std::collections::HashSet;
use std::fmt::{Debug, Display};
use std::sync::Arc;
use std::time::Duration;

use podrun::checkpoint::{Checkpoints, Filter, Lease, Reopen, Subject};
use podrun::domain::{EpisodeId, FeedSlug, Guid, Job, OwnerId, TranscribeJob, job};
use podrun::queue::{Delivery, NewMessage, Queue, Settlement};
use podrun::runtime::blob::BlobStore;
use podrun::runtime::clock::{Clock, ManualClock};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::messages::Messages;
use super::spec::Spec;
use crate::faults::{Fault, FaultProxy};

const LEASE: Duration = Duration::from_secs(60);
const WORKERS: usize = 4;
const EPISODES: usize = 12;
/// Rounds in which everything must be drained; each begins after all leases and rests ended.
const DRAIN_ROUNDS: usize = 50;

type Checked<T = ()> = Result<T, String>;

/// What is put to the test.
pub(super) struct Parts {
    pub(super) queue: Arc<dyn Queue>,
    pub(super) checkpoints: Arc<dyn Checkpoints>,
    /// Empty: it takes the products.
    pub(super) store: Arc<dyn BlobStore>,
    pub(super) clock: Arc<ManualClock>,
    /// Whether the queue drops what is queued.
    pub(super) deduplicates: bool,
    /// What loses answers, where there is one.
    pub(super) faults: Option<FaultProxy>,
}

/// A delivery on its way through a worker.
struct Held {
    delivery: Delivery,
    job: TranscribeJob,
    step: Step,
}

/// What comes next.
#[derive(Debug, Clone)]
enum Step {
    Acquire,
    Work(Lease),
    /// The product is written.
    Advance(Lease),
    Settle(Settlement),
}

struct Worker {
    owner: OwnerId,
    held: Vec<Held>,
}

pub(super) struct World {
    parts: Parts,
    spec: Spec,
    messages: Messages,
    workers: Vec<Worker>,
    random: StdRng,
    /// Subjects that were done once; none of them may be granted again.
    done: HashSet<Subject>,
    /// What happened, for people.
    pub(super) operations: Vec<String>,
}

impl World {
    pub(super) fn new(parts: Parts, seed: u64) -> Self {
        let worker = |number| Worker {
            owner: OwnerId::generate(&format!("worker-{number}")),
            held: Vec::new(),
        };
        Self {
            messages: Messages::new(parts.deduplicates),
            parts,
            spec: Spec::default(),
            workers: (0..WORKERS).map(worker).collect(),
            random: StdRng::seed_from_u64(seed),
            done: HashSet::new(),
            operations: Vec::new(),
        }
    }

    /// Random operations, then the end of them.
    pub(super) async fn live(&mut self, operations: usize) -> Checked {
        for _ in 0..operations {
            self.disturb();
            match self.random.random_range(0..100) {
                0..10 => self.plan_some().await?,
                10..14 => self.repeat_one().await?,
                14..30 => self.receive().await?,
                30..88 => self.step().await?,
                88..90 => self.kill(),
                _ => self.let_time_pass(),
            }
            self.depth_fits().await?;
        }
        self.drain().await?;
        self.is_settled().await
    }

    fn note(&mut self, what: impl Display) {
        let now = self.parts.clock.now().format("%H:%M:%S");
        self.operations.push(format!("{now} {what}"));
    }

    /// Something happens to one of the next writes.
    fn disturb(&mut self) {
        let is_due = self.random.random_range(0..100) < 3;
        let Some(proxy) = self
            .parts
            .faults
            .as_ref()
            .filter(|proxy| is_due && proxy.left() == 0)
        else {
            return;
        };
        let fault = write_fault(&mut self.random);
        let words = format!("fault {fault:?}");
        proxy.inject("PutItem", fault);
        self.note(words);
    }

    /// What a run does first: plans what has no product, or is under way, and sends it. Sometimes it
    /// dies in between.
    async fn plan_some(&mut self) -> Checked {
        let count = self.random.random_range(1..=8);
        let subjects: Vec<_> = (0..count)
            .map(|_| subject(self.random.random_range(0..EPISODES)))
            .collect();
        let dies = self.random.random_range(0..5) == 0;
        self.plan(subjects, dies).await
    }

    async fn plan(&mut self, mut subjects: Vec<Subject>, dies: bool) -> Checked {
        subjects.sort();
        subjects.dedup();
        // One that is done and has its product is not planned.
        subjects.retain(|subject| !self.spec.is_done(subject));
        let planned = self
            .parts
            .checkpoints
            .plan(&subjects, Reopen::Exhausted)
            .await;
        let planned = planned.map_err(words)?;
        self.note(format!("plan {subjects:?} -> {planned:?}, dies: {dies}"));
        let expected: Vec<_> = subjects
            .into_iter()
            .filter(|one| self.spec.plan(one))
            .collect();
        same("plan", &planned, &expected)?;
        match dies {
            true => Ok(()),
            false => self.send(&planned).await,
        }
    }

    /// A message comes twice.
    async fn repeat_one(&mut self) -> Checked {
        let known: Vec<_> = self.spec.subjects().cloned().collect();
        match known.choose(&mut self.random).cloned() {
            Some(subject) => self.send(&[subject]).await,
            None => Ok(()),
        }
    }

    async fn send(&mut self, subjects: &[Subject]) -> Checked {
        let doubled = self.random.random_range(0..10) == 0 && !subjects.is_empty();
        let doubled = doubled && self.parts.faults.is_some();
        if let (Some(proxy), true) = (&self.parts.faults, doubled) {
            proxy.inject("SendMessageBatch", Fault::DropAfter);
        }
        let messages: Vec<_> = subjects.iter().map(message).collect();
        let sent = self.parts.queue.send(&messages).await.map_err(words)?;
        self.note(format!("send {subjects:?}, doubled: {doubled} -> {sent}"));
        let now = self.parts.clock.now();
        if doubled {
            self.messages.repeated(subjects, now);
        }
        same("send", &sent, &self.messages.send(subjects, now))
    }

    async fn receive(&mut self) -> Checked {
        let index = self.random.random_range(0..WORKERS);
        let max = self.random.random_range(1..=4);
        self.receive_by(index, max).await.map(|_| ())
    }

    async fn receive_by(&mut self, index: usize, max: usize) -> Checked<usize> {
        let owner = self.workers[index].owner.clone();
        let received = self.parts.queue.receive(&owner, max, LEASE).await;
        let received = received.map_err(words)?;
        let count = received.len();
        let now = self.parts.clock.now();
        for delivery in received {
            let job: TranscribeJob = job::decode(&delivery.body).map_err(words)?;
            let subject = about(&job);
            self.note(format!("{owner} receives {subject}"));
            self.messages
                .receive(&subject, &delivery.receipt, LEASE, now)?;
            self.workers[index].held.push(Held {
                delivery,
                job,
                step: Step::Acquire,
            });
        }
        match count > max {
            true => Err(format!(
                "{count} messages came, at most {max} were asked for"
            )),
            false => Ok(count),
        }
    }

    /// A worker dies and begins anew.
    fn kill(&mut self) {
        let index = self.random.random_range(0..WORKERS);
        let owner = self.workers[index].owner.clone();
        self.note(format!("{owner} is killed"));
        self.workers[index] = Worker {
            owner: OwnerId::generate(&format!("worker-{index}")),
            held: Vec::new(),
        };
    }

    fn let_time_pass(&mut self) {
        let choices = [1, 5, 30, 61];
        let seconds = *choices.choose(&mut self.random).unwrap_or(&1);
        self.parts.clock.advance(Duration::from_secs(seconds));
        self.note(format!("{seconds} s pass"));
    }

    async fn depth_fits(&self) -> Checked {
        let depth = self.parts.queue.depth().await.map_err(words)?;
        same(
            "outstanding",
            &depth.outstanding(),
            &self.messages.outstanding(),
        )?;
        same("dead", &depth.dead, &self.messages.dead())
    }

    /// Everybody dies; a last run plans what is not over and does it all.
    async fn drain(&mut self) -> Checked {
        (0..WORKERS).for_each(|index| self.workers[index].held.clear());
        let open: Vec<_> = self.spec.subjects().cloned().collect();
        let open = open
            .into_iter()
            .filter(|subject| !self.spec.is_over(subject));
        let open: Vec<_> = open.collect();
        for some in open.chunks(8) {
            self.plan(some.to_vec(), false).await?;
        }
        for _ in 0..DRAIN_ROUNDS {
            self.parts.clock.advance(LEASE * 3);
            while self.receive_by(0, 10).await? > 0 {
                while let Some(held) = self.workers[0].held.pop() {
                    self.take_step(0, held, true).await?;
                }
            }
            if self.parts.queue.depth().await.map_err(words)?.outstanding() == 0 {
                return Ok(());
            }
        }
        Err("the queue is not drained".to_owned())
    }

    /// Nothing was lost: all that was planned is over, and what is done has its product.
    async fn is_settled(&self) -> Checked {
        let records = self
            .parts
            .checkpoints
            .list(&Filter::default(), None, 9999)
            .await;
        self.spec.compare(&records.map_err(words)?)?;
        for subject in self.spec.subjects() {
            if !self.spec.is_over(subject) {
                return Err(format!("{subject} is neither done nor given up"));
            }
            let product = self.parts.store.head(&key(subject)).await.map_err(words)?;
            same("product", &product.is_some(), &self.spec.is_done(subject))?;
        }
        self.depth_fits().await
    }
}

/// What can become of a write, which has to succeed all the same.
fn write_fault(random: &mut StdRng) -> Fault {
    match random.random_range(0..5) {
        0 => Fault::throttled(),
        1 => Fault::DropBefore,
        2 => Fault::DropAfter,
        3 => Fault::Twice,
        _ => Fault::ErrorAfter,
    }
}

fn subject(number: usize) -> Subject {
    let feed = if number.is_multiple_of(2) {
        "even"
    } else {
        "odd"
    };
    Subject {
        stage: TranscribeJob::STAGE,
        episode: EpisodeId {
            feed_slug: FeedSlug::try_new(feed).unwrap(),
            guid: Guid::try_new(format!("https://example.com/?p={number}")).unwrap(),
        },
    }
}

fn about(job: &TranscribeJob) -> Subject {
    Subject {
        stage: TranscribeJob::STAGE,
        episode: job.episode.clone(),
    }
}

fn message(subject: &Subject) -> NewMessage {
    let episode = subject.episode.clone();
    NewMessage {
        dedup_id: episode.to_string(),
        body: job::encode(&TranscribeJob { episode }),
    }
}

fn key(subject: &Subject) -> String {
    podrun::domain::key::episode_prefix(&subject.episode)
}

fn words(error: impl Display) -> String {
    error.to_string()
}

fn same<T: PartialEq + Debug>(what: &str, found: &T, expected: &T) -> Checked {
    match found == expected {
        true => Ok(()),
        false => Err(format!("{what}: {found:?} instead of {expected:?}")),
    }
}
