//! One delivery, from decoding to settling.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::heartbeat::Leases;
use super::{FatalError, Stage, StageOutcome, WorkContext, Worker};
use crate::checkpoint::{Acquired, CheckpointError, FailureNote, Lease, Subject, Transition};
use crate::domain::{Disposition, EpisodeId, Failure, Job, job};
use crate::queue::{Delivery, QueueError, Receipt, Settlement};
use crate::runtime::clock::later;
use crate::runtime::telemetry::Event;

/// How long a message of another run rests when this run meets it.
const OUT_OF_SCOPE_REST: Duration = Duration::from_secs(2);
/// How long a host that said "too many" without saying how long is left alone.
const DEFAULT_HOST_REST: Duration = Duration::from_secs(15);

/// What a failure leads to.
struct Verdict {
    transition: Transition,
    settlement: Settlement,
    event: Event,
    is_final: bool,
}

impl<S: Stage> Worker<S> {
    pub(super) async fn deliver(
        &self,
        delivery: Delivery,
        stop: CancellationToken,
    ) -> Result<(), FatalError> {
        let job = match job::decode::<S::Job>(&delivery.body) {
            Ok(job) => job,
            Err(failure) => {
                tracing::error!(%failure, "setting an unreadable message aside");
                return self
                    .settle(&delivery.receipt, Settlement::Dead(failure.message))
                    .await;
            }
        };
        let episode = job.episode().clone();
        if self
            .scope
            .as_ref()
            .is_some_and(|scope| !scope.contains(&episode))
        {
            let rest = Settlement::Again(OUT_OF_SCOPE_REST);
            return self.settle(&delivery.receipt, rest).await;
        }
        let subject = Subject {
            stage: S::Job::STAGE,
            episode,
        };
        let acquired = self
            .checkpoints
            .acquire(&subject, &self.owner, self.config.lease)
            .await?;
        match acquired {
            Acquired::Granted(lease) => self.work(job, lease, delivery, stop).await,
            Acquired::Done | Acquired::Failed => {
                self.forget(&subject.episode);
                self.settle(&delivery.receipt, Settlement::Done).await
            }
            Acquired::Busy(until) => {
                let rest = (until - self.clock.now()).to_std().unwrap_or_default();
                let rest = rest + rand::rng().random_range(Duration::ZERO..Duration::from_secs(1));
                self.settle(&delivery.receipt, Settlement::Again(rest))
                    .await
            }
        }
    }

    async fn work(
        &self,
        job: S::Job,
        lease: Lease,
        delivery: Delivery,
        cancel: CancellationToken,
    ) -> Result<(), FatalError> {
        let episode = lease.subject.episode.clone();
        self.emit(Event::EpisodeStarted {
            stage: S::Job::STAGE,
            episode: episode.clone(),
            title: S::title(&job),
        });
        let leases = Arc::new(Leases {
            queue: Arc::clone(&self.queue),
            checkpoints: Arc::clone(&self.checkpoints),
            receipt: delivery.receipt.clone(),
            lease: lease.clone(),
            ttl: self.config.lease,
        });
        let heartbeat = Arc::clone(&leases).keep(cancel.clone());
        let context = WorkContext {
            cancel,
            lease: leases,
            failures: lease.failures,
            is_last_delivery: delivery.deliveries >= self.config.max_deliveries,
        };
        let started = Instant::now();
        let outcome = self.stage.process(job, &context).await;
        drop(heartbeat);
        match outcome {
            Ok(StageOutcome::Done { amount }) => {
                self.done(&lease, &delivery.receipt, amount, started).await
            }
            Ok(StageOutcome::AlreadyDone) => self.done(&lease, &delivery.receipt, 0, started).await,
            Ok(StageOutcome::Interrupted) => self.release(&lease, &delivery.receipt).await,
            Ok(StageOutcome::Failed(failure)) => self.failed(&lease, &delivery, failure).await,
            Err(fatal) => {
                self.release(&lease, &delivery.receipt).await?;
                Err(fatal)
            }
        }
    }

    async fn done(
        &self,
        lease: &Lease,
        receipt: &Receipt,
        amount: u64,
        started: Instant,
    ) -> Result<(), FatalError> {
        if !self.advance(lease, Transition::Done).await? {
            return Ok(());
        }
        self.forget(&lease.subject.episode);
        self.emit(Event::EpisodeDone {
            stage: lease.subject.stage,
            episode: lease.subject.episode.clone(),
            amount,
            elapsed_s: started.elapsed().as_secs_f64(),
        });
        self.settle(receipt, Settlement::Done).await
    }

    async fn release(&self, lease: &Lease, receipt: &Receipt) -> Result<(), FatalError> {
        if !self.advance(lease, Transition::Release).await? {
            return Ok(());
        }
        self.emit(Event::EpisodeReleased {
            stage: lease.subject.stage,
            episode: lease.subject.episode.clone(),
        });
        self.settle(receipt, Settlement::Again(Duration::ZERO))
            .await
    }

    async fn failed(
        &self,
        lease: &Lease,
        delivery: &Delivery,
        failure: Failure,
    ) -> Result<(), FatalError> {
        let verdict = self.judge(lease, delivery.deliveries, failure);
        if !self.advance(lease, verdict.transition).await? {
            return Ok(());
        }
        if verdict.is_final {
            self.forget(&lease.subject.episode);
        }
        self.emit(verdict.event);
        self.settle(&delivery.receipt, verdict.settlement).await
    }

    fn judge(&self, lease: &Lease, deliveries: u32, failure: Failure) -> Verdict {
        let delay = match failure.class.disposition() {
            Disposition::Permanent => None,
            Disposition::HostWide if deliveries >= self.config.max_deliveries => None,
            Disposition::HostWide => Some(failure.retry_after.unwrap_or(DEFAULT_HOST_REST)),
            // A server's own wish only ever lengthens the wait.
            Disposition::Transient => self
                .config
                .retry
                .jittered(lease.failures + 1)
                .map(|delay| delay.max(failure.retry_after.unwrap_or_default())),
        };
        let (class, reason) = (failure.class, failure.message);
        let (stage, episode) = (lease.subject.stage, lease.subject.episode.clone());
        let note = FailureNote {
            class,
            message: reason.clone(),
        };
        let Some(delay) = delay else {
            return Verdict {
                transition: Transition::Failed { failure: note },
                settlement: Settlement::Dead(format!("{class}: {reason}")),
                event: Event::EpisodeFailed {
                    stage,
                    episode,
                    class,
                    reason,
                },
                is_final: true,
            };
        };
        let at = later(self.clock.now(), delay);
        let transition = match class.disposition() {
            Disposition::HostWide => Transition::Defer { at, failure: note },
            _ => Transition::Retry { at, failure: note },
        };
        Verdict {
            transition,
            settlement: Settlement::Again(delay),
            event: Event::EpisodeRetry {
                stage,
                episode,
                class,
                reason,
                delay_s: delay.as_secs_f64(),
            },
            is_final: false,
        }
    }

    /// Writes the transition; `false` where the lease is lost, and then nothing may follow.
    async fn advance(&self, lease: &Lease, transition: Transition) -> Result<bool, FatalError> {
        match self.checkpoints.advance(lease, transition).await {
            Ok(()) => Ok(true),
            Err(CheckpointError::LeaseLost { subject }) => {
                tracing::warn!(%subject, "somebody else took over");
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A message whose lease is lost is somebody else's to settle.
    async fn settle(&self, receipt: &Receipt, settlement: Settlement) -> Result<(), FatalError> {
        match self.queue.settle(receipt, settlement).await {
            Ok(()) | Err(QueueError::LeaseLost) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn forget(&self, episode: &EpisodeId) {
        if let Some(scope) = &self.scope {
            scope.settle(episode);
        }
    }
}
