//! The worker loop over memory adapters, with a stage that fails as it is told.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use podrun::checkpoint::{MemoryCheckpoints, Reopen, State, Subject};
use podrun::domain::{
    EpisodeId, Failure, FailureClass, FeedSlug, Guid, OwnerId, StageName, TranscribeJob, job,
};
use podrun::queue::{MemoryQueue, NewMessage};
use podrun::runtime::clock::{Clock, SystemClock};
use podrun::runtime::retry::RetryPolicy;
use podrun::runtime::telemetry::Ignore;
use podrun::runtime::worker::{
    FatalError, Scope, Stage, StageOutcome, WorkContext, Worker, WorkerConfig, WorkerEnd,
};
use tokio_util::sync::CancellationToken;

/// What the stage does with an episode, one entry a try; after the last it succeeds.
#[derive(Debug, Clone)]
enum Step {
    Fail(FailureClass),
    WaitForCancel,
    BreakDown,
}

#[derive(Debug, Default)]
struct Scripted {
    script: Mutex<HashMap<String, Vec<Step>>>,
    worked: Mutex<Vec<String>>,
}

#[async_trait]
impl Stage for Scripted {
    type Job = TranscribeJob;

    async fn process(
        &self,
        job: TranscribeJob,
        context: &WorkContext,
    ) -> Result<StageOutcome, FatalError> {
        let guid = job.episode.guid.to_string();
        self.worked.lock().unwrap().push(guid.clone());
        let step = {
            let mut script = self.script.lock().unwrap();
            let steps = script.entry(guid).or_default();
            (!steps.is_empty()).then(|| steps.remove(0))
        };
        match step {
            None => Ok(StageOutcome::Done { amount: 1 }),
            Some(Step::Fail(class)) => Ok(StageOutcome::Failed(
                Failure::new(class, "as told").with_retry_after(Some(Duration::from_millis(20))),
            )),
            Some(Step::WaitForCancel) => {
                context.cancel.cancelled().await;
                Ok(StageOutcome::Interrupted)
            }
            Some(Step::BreakDown) => Err(FatalError::new("the disk is full")),
        }
    }

    fn title(_: &TranscribeJob) -> String {
        String::new()
    }
}

struct Rig {
    worker: Worker<Scripted>,
}

impl Rig {
    async fn new(guids: &[&str], script: &[(&str, &[Step])]) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let stage = Scripted::default();
        for (guid, steps) in script {
            stage
                .script
                .lock()
                .unwrap()
                .insert((*guid).to_owned(), steps.to_vec());
        }
        let worker = Worker {
            stage: Arc::new(stage),
            queue: Arc::new(MemoryQueue::new(Arc::clone(&clock))),
            checkpoints: Arc::new(MemoryCheckpoints::new(Arc::clone(&clock))),
            observer: Arc::new(Ignore),
            clock,
            owner: OwnerId::generate("test"),
            config: WorkerConfig {
                slots: 3,
                retry: RetryPolicy {
                    max_attempts: 3,
                    base: Duration::from_millis(5),
                    cap: Duration::from_millis(5),
                },
                poll: Duration::from_millis(2),
                patience: Duration::from_secs(20),
                ..WorkerConfig::default()
            },
            scope: None,
        };
        let rig = Self { worker };
        for guid in guids {
            rig.send(guid).await;
        }
        rig
    }

    async fn send(&self, guid: &str) {
        let job = TranscribeJob {
            episode: episode(guid),
        };
        let message = NewMessage {
            dedup_id: guid.to_owned(),
            body: job::encode(&job),
        };
        self.worker.queue.send(&[message]).await.unwrap();
    }

    async fn run(self, stop: &CancellationToken) -> (Result<WorkerEnd, FatalError>, Seen) {
        let worker = Arc::new(self.worker);
        let ended = Arc::clone(&worker).run(stop.clone()).await;
        (ended, Seen { worker })
    }
}

struct Seen {
    worker: Arc<Worker<Scripted>>,
}

impl Seen {
    async fn state(&self, guid: &str) -> State {
        let record = self.worker.checkpoints.get(&subject(guid)).await.unwrap();
        record.unwrap().state
    }

    fn tries(&self, guid: &str) -> usize {
        let worked = self.worker.stage.worked.lock().unwrap();
        worked.iter().filter(|worked| *worked == guid).count()
    }
}

fn episode(guid: &str) -> EpisodeId {
    EpisodeId {
        feed_slug: FeedSlug::try_new("show").unwrap(),
        guid: Guid::try_new(guid).unwrap(),
    }
}

fn subject(guid: &str) -> Subject {
    Subject {
        stage: StageName::Transcribe,
        episode: episode(guid),
    }
}

#[tokio::test]
async fn every_message_is_worked_once_and_settled() {
    let guids: Vec<_> = (0..20).map(|number| format!("g{number}")).collect();
    let guids: Vec<_> = guids.iter().map(String::as_str).collect();
    let rig = Rig::new(&guids, &[]).await;
    let (ended, seen) = rig.run(&CancellationToken::new()).await;
    assert_eq!(ended.unwrap(), WorkerEnd::Drained);
    for guid in guids {
        assert_eq!(seen.state(guid).await, State::Done);
        assert_eq!(seen.tries(guid), 1);
    }
    assert_eq!(seen.worker.queue.depth().await.unwrap().outstanding(), 0);
}

#[tokio::test]
async fn failures_end_by_their_class() {
    let timeout = Step::Fail(FailureClass::Timeout);
    let rig = Rig::new(
        &["dead", "flaky", "hopeless", "throttled"],
        &[
            ("dead", &[Step::Fail(FailureClass::NotFound)]),
            ("flaky", &[timeout.clone(), timeout.clone()]),
            (
                "hopeless",
                &[timeout.clone(), timeout.clone(), timeout.clone(), timeout],
            ),
            ("throttled", &vec![Step::Fail(FailureClass::RateLimited); 5]),
        ],
    )
    .await;
    let (ended, seen) = rig.run(&CancellationToken::new()).await;
    assert_eq!(ended.unwrap(), WorkerEnd::Drained);
    assert_eq!(
        (seen.state("dead").await, seen.tries("dead")),
        (State::Failed, 1)
    );
    assert_eq!(
        (seen.state("flaky").await, seen.tries("flaky")),
        (State::Done, 3)
    );
    assert_eq!(
        (seen.state("hopeless").await, seen.tries("hopeless")),
        (State::Failed, 3)
    );
    // A host that asks for patience costs the episode no attempt.
    assert_eq!(
        (seen.state("throttled").await, seen.tries("throttled")),
        (State::Done, 6)
    );
    assert_eq!(seen.worker.queue.depth().await.unwrap().dead, 2);
}

#[tokio::test]
async fn a_new_run_tries_again_what_ran_out_of_attempts() {
    let exhausted = vec![Step::Fail(FailureClass::Timeout); 3];
    let rig = Rig::new(&["late"], &[("late", &exhausted)]).await;
    let (_, seen) = rig.run(&CancellationToken::new()).await;
    assert_eq!(seen.state("late").await, State::Failed);
    let planned = [subject("late")];
    let workable = seen
        .worker
        .checkpoints
        .plan(&planned, Reopen::Exhausted)
        .await
        .unwrap();
    assert_eq!(workable, planned);
}

#[tokio::test]
async fn a_stopped_worker_hands_its_work_back() {
    let rig = Rig::new(
        &["slow", "next"],
        &[
            ("slow", &[Step::WaitForCancel]),
            ("next", &[Step::WaitForCancel]),
        ],
    )
    .await;
    let stop = CancellationToken::new();
    let stopper = stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        stopper.cancel();
    });
    let (ended, seen) = rig.run(&stop).await;
    assert_eq!(ended.unwrap(), WorkerEnd::Stopped);
    for guid in ["slow", "next"] {
        assert_eq!(seen.state(guid).await, State::Pending);
    }
    let depth = seen.worker.queue.depth().await.unwrap();
    assert_eq!((depth.ready, depth.leased), (2, 0), "{depth:?}");
}

#[tokio::test]
async fn a_broken_store_stops_the_worker_and_loses_nothing() {
    let rig = Rig::new(
        &["first", "slow"],
        &[
            ("first", &[Step::BreakDown]),
            ("slow", &[Step::WaitForCancel]),
        ],
    )
    .await;
    let (ended, seen) = rig.run(&CancellationToken::new()).await;
    assert_eq!(ended.unwrap_err().message, "the disk is full");
    for guid in ["first", "slow"] {
        assert_eq!(seen.state(guid).await, State::Pending);
    }
}

#[tokio::test]
async fn a_run_leaves_alone_what_is_not_its_own() {
    let mut rig = Rig::new(&["mine", "other"], &[]).await;
    rig.worker.scope = Some(Arc::new(Scope::new([episode("mine")])));
    let (ended, seen) = rig.run(&CancellationToken::new()).await;
    assert_eq!(ended.unwrap(), WorkerEnd::Drained);
    assert_eq!((seen.tries("mine"), seen.tries("other")), (1, 0));
    assert_eq!(seen.worker.queue.depth().await.unwrap().outstanding(), 1);
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_set_aside() {
    let rig = Rig::new(&["good"], &[]).await;
    let strange = NewMessage {
        dedup_id: "strange".to_owned(),
        body: "{}".to_owned(),
    };
    rig.worker.queue.send(&[strange]).await.unwrap();
    let (ended, seen) = rig.run(&CancellationToken::new()).await;
    assert_eq!(ended.unwrap(), WorkerEnd::Drained);
    assert_eq!(seen.state("good").await, State::Done);
    assert_eq!(seen.worker.queue.depth().await.unwrap().dead, 1);
}

#[tokio::test]
async fn a_host_that_never_serves_ends_the_worker_and_not_its_patience() {
    let mut rig = Rig::new(&["parked"], &[]).await;
    rig.worker.config.patience = Duration::from_millis(50);
    let owner = OwnerId::generate("other");
    // Another live worker has it for longer than this one's patience.
    rig.worker
        .checkpoints
        .acquire(&subject("parked"), &owner, Duration::from_secs(60))
        .await
        .unwrap();
    let (ended, seen) = rig.run(&CancellationToken::new()).await;
    assert!(matches!(
        ended.unwrap(),
        WorkerEnd::Waiting { until: Some(_) }
    ));
    assert_eq!(seen.tries("parked"), 0);
}
