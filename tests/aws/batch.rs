//! Workers as array jobs: real processes, started by the Batch server of the stand-in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use podrun::domain::StageName;
use podrun::runtime::batch::conformance::{Fixture, check_job_runner};
use podrun::runtime::batch::{
    AwsBatchRunner, BatchConfig, JobError, JobId, JobRunner, JobSpec, JobStatus,
};
use serde_json::{Value, json};

use crate::stand_in::FullStandIn;

/// Containers run what they are told by a shell, in place of podrun.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];
const PATIENCE: Duration = Duration::from_secs(60);

struct Account {
    stand_in: FullStandIn,
    runner: AwsBatchRunner,
    scratch: tempfile::TempDir,
}

impl Account {
    async fn start(options: &[&str]) -> Self {
        let stand_in = FullStandIn::start(options, &SHELL);
        let client = stand_in.clients().await.batch;
        Self {
            runner: AwsBatchRunner::new(client, BatchConfig::default()),
            stand_in,
            scratch: tempfile::tempdir().unwrap(),
        }
    }

    /// A job whose workers run a script that finds the scratch folder in `$SCRATCH`.
    fn job(&self, name: &str, stage: StageName, workers: u32, script: &str) -> JobSpec {
        let scratch = self.scratch.path().to_str().unwrap().to_owned();
        JobSpec {
            arguments: vec![script.to_owned()],
            environment: BTreeMap::from([("SCRATCH".to_owned(), scratch)]),
            ..JobSpec::new(name, stage, workers)
        }
    }

    async fn until(&self, job: &JobId, wanted: impl Fn(&JobStatus) -> bool) -> JobStatus {
        let started = Instant::now();
        loop {
            let status = self.runner.describe(job).await.unwrap();
            if wanted(&status) {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "stuck at {status:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn run(&self, job: JobSpec) -> (JobId, JobStatus) {
        let id = self.runner.submit(job).await.unwrap();
        let status = self.until(&id, JobStatus::has_ended).await;
        (id, status)
    }

    /// Every line that scripts have written to a file of the scratch folder, sorted.
    fn lines(&self, file: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.scratch.path().join(file)).unwrap();
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    async fn instances(&self) -> usize {
        let url = format!("{}/_local/instances", self.stand_in.server("batch"));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(url).send().await.unwrap();
        let told: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        told["instances"].as_array().unwrap().len()
    }

    async fn tell(&self, server: &str, page: &str, body: Value) -> Value {
        let url = format!("{}{page}", self.stand_in.server(server));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let sent = client.post(url).body(body.to_string()).send().await;
        let answer = sent.unwrap().error_for_status().unwrap();
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }
}

/// Workers that wait for a file.
struct Released {
    account: Account,
    file: PathBuf,
}

#[async_trait]
impl Fixture for Released {
    type Runner = AwsBatchRunner;

    fn runner(&self) -> &AwsBatchRunner {
        &self.account.runner
    }

    fn job(&self, name: &str, workers: u32) -> JobSpec {
        let script = r#"while [ ! -e "$SCRATCH/released" ]; do sleep 0.05; done"#;
        self.account.job(name, StageName::Fetch, workers, script)
    }

    async fn release(&self) {
        std::fs::write(&self.file, "").unwrap();
    }
}

#[tokio::test]
async fn keeps_the_promises_of_its_port() {
    let account = Account::start(&[]).await;
    let file = account.scratch.path().join("released");
    check_job_runner(&Released { account, file }).await;
}

#[tokio::test]
async fn workers_end_and_are_started_anew_as_they_should() {
    let account = Account::start(&["--batch=notice=1", "--batch=linger=0.2"]).await;
    an_array_is_one_process_a_worker(&account).await;
    exit_75_is_started_anew_and_exit_3_is_not(&account).await;
    an_interrupted_worker_is_started_anew(&account, StageName::Fetch).await;
    an_interrupted_worker_is_started_anew(&account, StageName::Transcribe).await;
    a_command_that_is_too_long_is_refused_before_it_is_sent(&account).await;
    a_queue_without_capacity_says_so(&account).await;
}

async fn an_array_is_one_process_a_worker(account: &Account) {
    let script = r#"echo "$AWS_BATCH_JOB_ARRAY_INDEX $AWS_BATCH_JOB_ID $AWS_BATCH_JOB_ATTEMPT \
$AWS_BATCH_JQ_NAME $AWS_BATCH_CE_NAME" >> "$SCRATCH/array"; echo done"#;
    let job = account.job("array", StageName::Fetch, 8, script);
    let (id, status) = account.run(job).await;
    assert_eq!((status.succeeded, status.workers()), (8, 8), "{status:?}");
    let expected: Vec<_> = (0..8)
        .map(|index| format!("{index} {}:{index} 1 podrun-fetch podrun-fetch", id.0))
        .collect();
    assert_eq!(account.lines("array"), expected);
    let log = account.stand_in.jobs().join(format!("{}.7/1.log", id.0));
    assert_eq!(read(&log), "done\n");

    let script = r#"echo "${AWS_BATCH_JOB_ARRAY_INDEX-none}" > "$SCRATCH/single""#;
    let job = account.job("single", StageName::Fetch, 1, script);
    let (_, status) = account.run(job).await;
    assert_eq!((status.succeeded, status.workers()), (1, 1), "{status:?}");
    assert_eq!(account.lines("single"), ["none"]);
}

async fn exit_75_is_started_anew_and_exit_3_is_not(account: &Account) {
    // The first attempt of worker 0 hands its work back, worker 1 cannot go on.
    let script = r#"case $AWS_BATCH_JOB_ARRAY_INDEX.$AWS_BATCH_JOB_ATTEMPT in
0.1) exit 75 ;; 0.2) exit 0 ;; *) exit 3 ;; esac"#;
    let job = account.job("codes", StageName::Fetch, 2, script);
    let (_, status) = account.run(job).await;
    assert_eq!((status.succeeded, status.failed), (1, 1), "{status:?}");
    assert_eq!(status.restarts, 1, "{status:?}");
    assert!(status.reasons[0].starts_with("exit code 3: "), "{status:?}");
}

async fn an_interrupted_worker_is_started_anew(account: &Account, stage: StageName) {
    // As podrun does: hand the work back on SIGTERM; the second attempt finds the queue drained.
    let script = r#"[ "$AWS_BATCH_JOB_ATTEMPT" = 1 ] || exit 0
trap 'echo handed back >> "$SCRATCH/'"$AWS_BATCH_JQ_NAME"'"; exit 75' TERM
echo "${AWS_EC2_METADATA_SERVICE_ENDPOINT-fargate}"; while :; do sleep 0.05; done"#;
    let job = account.job("interrupted", stage, 1, script);
    let id = account.runner.submit(job).await.unwrap();
    account.until(&id, |status| status.running == 1).await;
    // Its trap is set once it has said where it is.
    let log = account.stand_in.jobs().join(format!("{}/1.log", id.0));
    while read(&log).is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let hit = account
        .tell("batch", "/_local/interrupt", json!({"jobs": [id.0]}))
        .await;
    assert_eq!(hit["jobs"], json!([id.0]));
    let on_ec2 = stage == StageName::Transcribe;
    assert_eq!(
        hit["instances"].as_array().unwrap().len(),
        usize::from(on_ec2)
    );
    assert_eq!(read(&log).starts_with("http://127.0.0.1:"), on_ec2);
    let status = account.until(&id, JobStatus::has_ended).await;
    assert_eq!((status.succeeded, status.restarts), (1, 1), "{status:?}");
    assert_eq!(account.lines(&format!("podrun-{stage}")), ["handed back"]);
}

async fn a_command_that_is_too_long_is_refused_before_it_is_sent(account: &Account) {
    let job = account.job("long", StageName::Fetch, 1, &"x".repeat(9_000));
    let refused = account.runner.submit(job).await.unwrap_err();
    assert!(matches!(refused, JobError::Invalid { .. }), "{refused}");
    let found = account.runner.find(StageName::Fetch, "long").await.unwrap();
    assert_eq!(found, None);
}

async fn a_queue_without_capacity_says_so(account: &Account) {
    // Instances that are there take jobs whatever the quota.
    while account.instances().await > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let quota = |vcpus| json!({"computeEnvironment": "podrun-transcribe", "vcpus": vcpus});
    account.tell("batch", "/_local/quota", quota(Some(0))).await;
    let job = account.job("waiting", StageName::Transcribe, 2, "exit 0");
    let id = account.runner.submit(job).await.unwrap();
    let status = account
        .until(&id, |status| !status.reasons.is_empty())
        .await;
    assert_eq!(status.pending, 2, "{status:?}");
    assert!(
        status.reasons[0].contains("INSUFFICIENT_INSTANCE_CAPACITY"),
        "{status:?}"
    );
    account
        .tell("batch", "/_local/quota", quota(None::<i32>))
        .await;
    let status = account.until(&id, JobStatus::has_ended).await;
    assert_eq!(status.succeeded, 2, "{status:?}");
}

#[tokio::test]
async fn a_lost_answer_never_starts_a_second_fleet() {
    let account = Account::start(&["--faults", "--batch=list-lag=0.7"]).await;
    let submissions = |action: &str| json!({"service": "batch", "operation": "SubmitJob", "action": action, "times": 1});
    // The answer is lost; the request is lost; the service breaks, throttles.
    for action in ["drop_after", "drop_before", "error", "throttle"] {
        account
            .tell("batch-faults", "/_faults/rules", submissions(action))
            .await;
        let name = format!("lost-{}", action.replace('_', "-"));
        let script = r#"echo "$AWS_BATCH_JOB_ID" >> "$SCRATCH/started""#;
        let job = account.job(&name, StageName::Fetch, 2, script);
        let (id, status) = account.run(job).await;
        assert_eq!(status.succeeded, 2, "{action}: {status:?}");
        let ours: Vec<_> = (0..2).map(|index| format!("{}:{index}", id.0)).collect();
        assert_eq!(
            account.lines("started"),
            ours,
            "{action}: one fleet and no more"
        );
        std::fs::remove_file(account.scratch.path().join("started")).unwrap();
    }
    // What is refused is said at once, with the service's words.
    let gone = BatchConfig {
        fetch: podrun::runtime::batch::BatchStage::named("no-such-queue"),
        ..BatchConfig::default()
    };
    let client = account.stand_in.clients().await.batch;
    let job = account.job("refused", StageName::Fetch, 1, "exit 0");
    let refused = AwsBatchRunner::new(client, gone)
        .submit(job)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("no-such-queue"), "{refused}");
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap()
}
