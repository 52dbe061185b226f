//! What a worker does with a delivery, one step at a time.

use std::time::Duration;

use podrun::checkpoint::{Acquired, CheckpointError, FailureNote, Lease, Transition};
use podrun::domain::{FailureClass, OwnerId, TranscribeJob};
use podrun::queue::{QueueError, Settlement};
use podrun::runtime::blob::{BlobErrorKind, PutMode};
use podrun::runtime::clock::Clock;
use rand::Rng;

use super::{Checked, Held, LEASE, Step, WORKERS, World, about, key, same, words, write_fault};

/// Failures after which an episode is given up.
const ATTEMPTS: u32 = 3;

impl World {
    /// One step of one delivery of one worker.
    pub(super) async fn step(&mut self) -> Checked {
        let index = self.random.random_range(0..WORKERS);
        let count = self.workers[index].held.len();
        if count == 0 {
            return Ok(());
        }
        let held = self.random.random_range(0..count);
        let held = self.workers[index].held.swap_remove(held);
        self.take_step(index, held, false).await
    }

    /// Takes the step, and puts the delivery back if another one follows. A diligent worker does its
    /// work; others renew, fail and stop as well.
    pub(super) async fn take_step(
        &mut self,
        index: usize,
        mut held: Held,
        is_diligent: bool,
    ) -> Checked {
        let owner = self.workers[index].owner.clone();
        let next = match held.step.clone() {
            Step::Acquire => Some(self.acquire(&owner, &held.job).await?),
            Step::Work(lease) => self.work(lease, &held, is_diligent).await?,
            Step::Advance(lease) => {
                let is_held = self.advance(&lease, Transition::Done).await?;
                if is_held {
                    self.done.insert(lease.subject);
                }
                is_held.then_some(Step::Settle(Settlement::Done))
            }
            Step::Settle(settlement) => {
                self.settle(&held, settlement).await?;
                None
            }
        };
        if let Some(next) = next {
            held.step = next;
            self.workers[index].held.push(held);
        }
        Ok(())
    }

    async fn acquire(&mut self, owner: &OwnerId, job: &TranscribeJob) -> Checked<Step> {
        let subject = about(job);
        let now = self.parts.clock.now();
        let answer = self.parts.checkpoints.acquire(&subject, owner, LEASE).await;
        let answer = answer.map_err(words)?;
        self.note(format!("{owner} acquires {subject} -> {answer:?}"));
        same(
            "acquire",
            &answer,
            &self.spec.acquire(&subject, owner, LEASE, now),
        )?;
        Ok(match answer {
            Acquired::Granted(_) if self.done.contains(&subject) => {
                return Err(format!("{subject} is done and was granted again"));
            }
            Acquired::Granted(lease) => Step::Work(lease),
            Acquired::Done | Acquired::Failed => Step::Settle(Settlement::Done),
            Acquired::Busy(until) => {
                let rest = (until - now).to_std().unwrap_or_default();
                Step::Settle(Settlement::Again(rest))
            }
        })
    }

    async fn work(
        &mut self,
        lease: Lease,
        held: &Held,
        is_diligent: bool,
    ) -> Checked<Option<Step>> {
        let key = key(&lease.subject);
        let is_present = self.parts.store.head(&key).await.map_err(words)?.is_some();
        if is_present {
            return Ok(Some(Step::Advance(lease)));
        }
        if !self.renew(&lease, held).await? {
            return Ok(None);
        }
        let choice = if is_diligent {
            99
        } else {
            self.random.random_range(0..100)
        };
        let (now, failures) = (self.parts.clock.now(), lease.failures + 1);
        let at = now + Duration::from_secs(self.random.random_range(0..120));
        let failure = |class| FailureNote {
            class,
            message: format!("{class}"),
        };
        let rest = (at - now).to_std().unwrap_or_default();
        let (transition, settlement) = match choice {
            0..15 => return Ok(Some(Step::Work(lease))),
            15..30 if failures < ATTEMPTS => {
                let failure = failure(FailureClass::Timeout);
                (Transition::Retry { at, failure }, Settlement::Again(rest))
            }
            15..30 => {
                let failure = failure(FailureClass::Timeout);
                (
                    Transition::Failed { failure },
                    Settlement::Dead("tried".to_owned()),
                )
            }
            30..40 => {
                let failure = failure(FailureClass::RateLimited);
                (Transition::Defer { at, failure }, Settlement::Again(rest))
            }
            40..45 => {
                let failure = failure(FailureClass::Undecodable);
                (
                    Transition::Failed { failure },
                    Settlement::Dead("broken".to_owned()),
                )
            }
            45..52 => (Transition::Release, Settlement::Again(Duration::ZERO)),
            _ => {
                self.commit(&lease, &key).await?;
                return Ok(Some(Step::Advance(lease)));
            }
        };
        let is_held = self.advance(&lease, transition).await?;
        Ok(is_held.then_some(Step::Settle(settlement)))
    }

    /// The product, which nobody wrote before: the lease was just seen to hold.
    async fn commit(&mut self, lease: &Lease, key: &str) -> Checked {
        self.note(format!("{} writes {}", lease.owner, lease.subject));
        let is_disturbed = self.random.random_range(0..4) == 0;
        if let (Some(proxy), true) = (&self.parts.faults, is_disturbed) {
            let fault = write_fault(&mut self.random);
            self.operations.push(format!("fault {fault:?}"));
            proxy.inject("PutObject", fault);
        }
        let text = lease.owner.as_str().to_owned();
        match self
            .parts
            .store
            .put(key, text.into(), PutMode::Create)
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if error.kind == BlobErrorKind::AlreadyExists => {
                Err(format!("{} was worked on twice", lease.subject))
            }
            Err(error) => Err(words(error)),
        }
    }

    /// Both leases, as a heartbeat does.
    async fn renew(&mut self, lease: &Lease, held: &Held) -> Checked<bool> {
        let now = self.parts.clock.now();
        let renewed = self.parts.checkpoints.renew(lease, LEASE).await;
        let renewed = still(renewed)?;
        self.note(format!(
            "{} renews {} -> {renewed}",
            lease.owner, lease.subject
        ));
        same("renew", &renewed, &self.spec.renew(lease, LEASE, now))?;
        if !renewed {
            return Ok(false);
        }
        let receipt = &held.delivery.receipt;
        let extended = self.parts.queue.extend(receipt, LEASE).await;
        let extended = still_delivered(extended)?;
        self.note(format!("{} extends -> {extended}", lease.owner));
        let expected = self.messages.extend(&lease.subject, receipt, LEASE, now);
        same("extend", &extended, &expected)?;
        Ok(extended)
    }

    async fn advance(&mut self, lease: &Lease, transition: Transition) -> Checked<bool> {
        let advanced = self
            .parts
            .checkpoints
            .advance(lease, transition.clone())
            .await;
        let advanced = still(advanced)?;
        self.note(format!(
            "{} advances {} by {transition:?} -> {advanced}",
            lease.owner, lease.subject
        ));
        same("advance", &advanced, &self.spec.advance(lease, &transition))?;
        Ok(advanced)
    }

    async fn settle(&mut self, held: &Held, settlement: Settlement) -> Checked {
        let (subject, receipt) = (about(&held.job), &held.delivery.receipt);
        let now = self.parts.clock.now();
        let settled = self.parts.queue.settle(receipt, settlement.clone()).await;
        let settled = still_delivered(settled)?;
        self.note(format!("settle {subject} by {settlement:?} -> {settled}"));
        let expected = self.messages.settle(&subject, receipt, &settlement, now);
        same("settle", &settled, &expected)
    }
}

fn still(result: Result<(), CheckpointError>) -> Checked<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(CheckpointError::LeaseLost { .. }) => Ok(false),
        Err(error) => Err(words(error)),
    }
}

fn still_delivered(result: Result<(), QueueError>) -> Checked<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(QueueError::LeaseLost) => Ok(false),
        Err(error) => Err(words(error)),
    }
}
