//! The AWS target: buckets, queues, tables and jobs of an account.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use podrun::checkpoint::DynamoCheckpoints;
use podrun::domain::{OwnerId, RunId};
use podrun::politeness::DynamoHostWindows;
use podrun::queue::{Queue, SqsQueue};
use podrun::raw::RawStore;
use podrun::runtime::aws::{AwsClients, AwsError};
use podrun::runtime::batch::{AwsBatchRunner, BatchConfig, BatchStage, JobRunner};
use podrun::runtime::blob::{BlobErrorKind, BlobStore, S3BlobStore};
use podrun::runtime::clock::{Clock, SystemClock};
use podrun::runtime::telemetry::CloudWatchMetrics;
use podrun::stage::StageStore;

use super::Stores;
use crate::exit::Problem;
use crate::settings::{AwsSettings, FleetSettings, Settings};

const ACCOUNT_HINT: &str = "it has to be there; --region and --profile choose the account";

const OUTAGE_HINT: &str = "no answer from the service; run the same command again";

/// How long a worker's question to an empty queue stays open: as long as SQS lets it.
const LONG_POLL: Duration = Duration::from_secs(20);

/// By which a worker knows its run.
const RUN: &str = "PODRUN_RUN";

/// By which AWS Batch tells a worker its job.
const JOB: &str = "AWS_BATCH_JOB_ID";

/// Starts workers elsewhere.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) jobs: Arc<dyn JobRunner>,
    region: String,
}

impl Fleet {
    /// What each of a run's workers is told by its environment.
    pub(crate) fn environment(&self, run: &RunId, workers: u32) -> BTreeMap<String, String> {
        let mut told = BTreeMap::from([
            (RUN.to_owned(), run.to_string()),
            // Batch tells a worker its index and not how many there are.
            ("PODRUN_ARRAY_SIZE".to_owned(), workers.to_string()),
            ("AWS_REGION".to_owned(), self.region.clone()),
        ]);
        if let Ok(filter) = std::env::var("PODRUN_LOG") {
            told.insert("PODRUN_LOG".to_owned(), filter);
        }
        told
    }
}

/// Opens the account. Everything is asked for by name, all at once, so that a wrong account or region
/// shows before anything is done: a bucket that is not there would look like one without objects.
pub(super) async fn open(settings: &Settings) -> Result<Stores, Problem> {
    let aws = &settings.aws;
    let clients = clients(aws).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (fetch_queue, transcribe_queue, ..) = tokio::try_join!(
        queue(&clients, aws, &aws.fetch_queue),
        queue(&clients, aws, &aws.transcribe_queue),
        check_table(&clients, &aws.status_table),
        check_table(&clients, &aws.hosts_table),
        check_bucket(&clients, aws, &aws.raw_bucket),
        check_bucket(&clients, aws, &aws.stage_bucket),
        check_bucket(&clients, aws, &aws.manifests_bucket),
    )?;
    let jobs = AwsBatchRunner::new(
        clients.batch.clone(),
        BatchConfig {
            fetch: batch_stage(&aws.fetch),
            transcribe: batch_stage(&aws.transcribe),
        },
    );
    Ok(Stores {
        raw: RawStore::new(objects(&clients, aws, &aws.raw_bucket)),
        stage: StageStore::new(objects(&clients, aws, &aws.stage_bucket)),
        manifests: objects(&clients, aws, &aws.manifests_bucket),
        fetch_queue,
        transcribe_queue,
        checkpoints: Arc::new(DynamoCheckpoints::new(
            clients.dynamodb.clone(),
            &aws.status_table,
            Arc::clone(&clock),
        )),
        metrics: Arc::new(metrics(&clients, aws)),
        windows: Arc::new(DynamoHostWindows::new(
            clients.dynamodb.clone(),
            &aws.hosts_table,
            settings.politeness.clone(),
            Arc::clone(&clock),
        )),
        clock,
        owner: OwnerId::generate(&worker_name()),
        fleet: Some(Fleet {
            jobs: Arc::new(jobs),
            region: clients.region.clone(),
        }),
        _alive: None,
    })
}

/// The objects of any bucket.
pub(super) async fn bucket(
    settings: &Settings,
    bucket: &str,
) -> Result<Arc<dyn BlobStore>, Problem> {
    let clients = clients(&settings.aws).await?;
    Ok(objects(&clients, &settings.aws, bucket))
}

/// Whether this is a container of AWS Batch on an instance, whose metadata service tells of its end.
pub(super) fn is_on_ec2() -> bool {
    let is_set = |name, value: &str| std::env::var(name).is_ok_and(|set| set == value);
    is_set("AWS_EXECUTION_ENV", "AWS_ECS_EC2") && !is_set("AWS_EC2_METADATA_DISABLED", "true")
}

async fn clients(settings: &AwsSettings) -> Result<AwsClients, Problem> {
    AwsClients::load(&settings.config()).await.map_err(|error| {
        Problem::preflight(error).hint("name one with --region, AWS_REGION or `aws configure`")
    })
}

fn objects(clients: &AwsClients, settings: &AwsSettings, bucket: &str) -> Arc<dyn BlobStore> {
    Arc::new(store(clients, settings, bucket))
}

fn store(clients: &AwsClients, settings: &AwsSettings, bucket: &str) -> S3BlobStore {
    let check = settings.multipart_check.into();
    S3BlobStore::with_check(clients.s3.clone(), bucket, check)
}

async fn check_bucket(
    clients: &AwsClients,
    settings: &AwsSettings,
    bucket: &str,
) -> Result<(), Problem> {
    let checked = store(clients, settings, bucket).check().await;
    checked.map_err(|error| match error.kind {
        BlobErrorKind::Other => Problem::outage(error).hint(OUTAGE_HINT),
        _ => Problem::preflight(error).hint(ACCOUNT_HINT),
    })
}

/// A service that answers refuses; one that does not is out for now.
fn unusable(error: &AwsError, message: String) -> Problem {
    match error.code {
        Some(_) => Problem::preflight(message).hint(ACCOUNT_HINT),
        None => Problem::outage(message).hint(OUTAGE_HINT),
    }
}

async fn check_table(clients: &AwsClients, table: &str) -> Result<(), Problem> {
    clients
        .check_table(table)
        .await
        .map_err(|error| unusable(&error, format!("the table {table}: {error}")))
}

async fn queue(
    clients: &AwsClients,
    settings: &AwsSettings,
    name: &str,
) -> Result<Arc<dyn Queue>, Problem> {
    let set_aside = format!("{name}{}", settings.dead_letter_suffix);
    let urls = tokio::try_join!(clients.queue_url(name), clients.queue_url(&set_aside));
    let (url, set_aside_url) = urls.map_err(|error| {
        unusable(
            &error,
            format!("the queues {name} and {set_aside}: {error}"),
        )
    })?;
    let sqs = clients.sqs.clone();
    Ok(Arc::new(SqsQueue::new(sqs, url, set_aside_url, LONG_POLL)))
}

/// A worker's log is read by CloudWatch, which takes metrics from it; a terminal's is read by nobody
/// who could.
fn metrics(clients: &AwsClients, settings: &AwsSettings) -> CloudWatchMetrics {
    let is_worker = std::env::var(JOB).is_ok();
    let log: Box<dyn Write + Send> = match is_worker {
        true => Box::new(std::io::stdout()),
        false => Box::new(std::io::sink()),
    };
    let properties = [
        ("run", RUN),
        ("job", JOB),
        ("worker", "AWS_BATCH_JOB_ARRAY_INDEX"),
    ];
    let properties = properties.into_iter().filter_map(|(name, variable)| {
        let value = std::env::var(variable).ok()?;
        Some((name.to_owned(), value))
    });
    CloudWatchMetrics::new(
        clients.cloudwatch.clone(),
        &settings.namespace,
        log,
        properties.collect(),
    )
}

fn batch_stage(fleet: &FleetSettings) -> BatchStage {
    BatchStage {
        queue: fleet.job_queue.clone(),
        definition: fleet.job_definition.clone(),
    }
}

/// What this process is called where it leases something: its job, array index and attempt.
fn worker_name() -> String {
    let parts = [JOB, "AWS_BATCH_JOB_ATTEMPT"];
    let parts: Vec<_> = parts
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .collect();
    match parts.is_empty() {
        true => "cli".to_owned(),
        false => parts.join("-"),
    }
}
