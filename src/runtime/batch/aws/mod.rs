//! Workers on AWS Batch: one array job a submission.
//!
//! The job queue decides where workers run (Fargate or EC2, Spot or not), the job definition what
//! they are (image, memory, roles). Both are infrastructure and only named here. How often a worker is
//! started anew belongs to how workers end, so it is sent with every job: see `retry`; definitions
//! leave it out.

mod command;
mod retry;
mod status;

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_batch::Client;
use aws_sdk_batch::config::http::HttpResponse;
use aws_sdk_batch::config::retry::RetryConfig;
use aws_sdk_batch::error::SdkError;
use aws_sdk_batch::operation::submit_job::SubmitJobError;
use aws_sdk_batch::types::{ArrayProperties, JobDetail, JobStatus as BatchStatus, KeyValuesPair};

use super::{JobError, JobId, JobRunner, JobSpec, JobStatus};
use crate::domain::StageName;
use crate::runtime::aws::AwsError;

/// Children of one array job. An array of 1 is refused: that is a plain job.
const MAX_WORKERS: u32 = 10_000;
/// Ids of one `DescribeJobs`.
const IDS_A_CALL: usize = 100;
/// Children whose reasons are read; of more, the first say enough.
const CHILDREN_READ: u32 = 500;
/// Tries of one submission. `SubmitJob` has no idempotency token: each may start a fleet, so between
/// two of them the job is looked for by its name.
const SUBMISSIONS: u32 = 2;
/// Pauses before the looks after a lost answer: what was taken need not be listed at once.
const LOOKS: [Duration; 3] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];
/// Pages of one search by name: names are unique, so the first holds what there is.
const MAX_PAGES: usize = 10;

/// Where the workers of each stage run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchConfig {
    /// Fetching.
    pub fetch: BatchStage,
    /// Transcribing.
    pub transcribe: BatchStage,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            fetch: BatchStage::named("podrun-fetch"),
            transcribe: BatchStage::named("podrun-transcribe"),
        }
    }
}

impl BatchConfig {
    fn of(&self, stage: StageName) -> &BatchStage {
        match stage {
            StageName::Fetch => &self.fetch,
            StageName::Transcribe => &self.transcribe,
        }
    }
}

/// Where the workers of one stage run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchStage {
    /// Name or ARN of the job queue.
    pub queue: String,
    /// Name, `name:revision` or ARN of the job definition.
    pub definition: String,
}

impl BatchStage {
    /// Queue and definition of one name.
    pub fn named(name: &str) -> Self {
        Self {
            queue: name.to_owned(),
            definition: name.to_owned(),
        }
    }
}

/// The runner of the AWS target.
#[derive(Debug, Clone)]
pub struct AwsBatchRunner {
    client: Client,
    config: BatchConfig,
}

impl AwsBatchRunner {
    /// Runs workers on the queues of a configuration.
    pub fn new(client: Client, config: BatchConfig) -> Self {
        Self { client, config }
    }

    /// One `SubmitJob`, tried once.
    async fn submit_once(&self, job: &JobSpec) -> Result<JobId, Submission> {
        let stage = self.config.of(job.stage);
        let once = aws_sdk_batch::config::Builder::new().retry_config(RetryConfig::disabled());
        let array = i32::try_from(job.workers).unwrap_or(i32::MAX);
        let array = (array > 1).then(|| ArrayProperties::builder().size(array).build());
        let submitted = self
            .client
            .submit_job()
            .job_name(&job.name)
            .job_queue(&stage.queue)
            .job_definition(&stage.definition)
            .container_overrides(command::overrides(job))
            .retry_strategy(retry::strategy())
            .set_array_properties(array)
            .customize()
            .config_override(once)
            .send()
            .await
            .map_err(|error| Submission::of(&error))?;
        match submitted.job_id {
            Some(id) => Ok(JobId(id)),
            None => Err(Submission::Lost(AwsError {
                operation: "SubmitJob",
                code: None,
                message: "the answer names no job".to_owned(),
            })),
        }
    }

    /// Looks for a job whose submission was not answered, until it would have to be there.
    async fn look_for(&self, job: &JobSpec) -> Result<Option<JobId>, JobError> {
        for pause in LOOKS {
            tokio::time::sleep(pause).await;
            if let Some(found) = self.find(job.stage, &job.name).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The jobs of these ids that exist; at most [`IDS_A_CALL`].
    async fn details(&self, ids: Vec<String>) -> Result<Vec<JobDetail>, JobError> {
        let described = self.client.describe_jobs().set_jobs(Some(ids)).send().await;
        let described = described.map_err(|error| backend("DescribeJobs", &error))?;
        Ok(described.jobs.unwrap_or_default())
    }

    async fn detail(&self, job: &JobId) -> Result<JobDetail, JobError> {
        let found = self.details(vec![job.0.clone()]).await?;
        found
            .into_iter()
            .next()
            .ok_or_else(|| JobError::Unknown(job.0.clone()))
    }

    /// The first children of an array, as many as are worth reading.
    async fn children(&self, job: &JobId, size: u32) -> Result<Vec<JobDetail>, JobError> {
        let ids: Vec<_> = (0..size.min(CHILDREN_READ))
            .map(|index| format!("{}:{index}", job.0))
            .collect();
        let mut children = Vec::with_capacity(ids.len());
        for ids in ids.chunks(IDS_A_CALL) {
            children.extend(self.details(ids.to_vec()).await?);
        }
        Ok(children)
    }
}

#[async_trait]
impl JobRunner for AwsBatchRunner {
    async fn submit(&self, job: JobSpec) -> Result<JobId, JobError> {
        let job = JobSpec {
            workers: job.workers.clamp(1, MAX_WORKERS),
            ..job
        };
        command::check(&job)?;
        if let Some(submitted) = self.find(job.stage, &job.name).await? {
            return Ok(submitted);
        }
        let mut submissions = 0;
        loop {
            let lost = match self.submit_once(&job).await {
                Ok(id) => return Ok(id),
                Err(Submission::Refused(error)) => return Err(JobError::Backend(Box::new(error))),
                Err(Submission::Lost(error)) => error,
            };
            tracing::warn!(job = job.name, error = %lost, "a submission was not answered");
            let unsure = |source: Box<dyn std::error::Error + Send + Sync>| JobError::Unsure {
                name: job.name.clone(),
                source,
            };
            // Whoever cannot look must not submit again.
            let taken = self.look_for(&job).await;
            if let Some(taken) = taken.map_err(|error| unsure(Box::new(error)))? {
                return Ok(taken);
            }
            submissions += 1;
            if submissions == SUBMISSIONS {
                return Err(unsure(Box::new(lost)));
            }
        }
    }

    async fn find(&self, stage: StageName, name: &str) -> Result<Option<JobId>, JobError> {
        let by_name = KeyValuesPair::builder()
            .name("JOB_NAME")
            .values(name)
            .build();
        let mut pages = self
            .client
            .list_jobs()
            .job_queue(&self.config.of(stage).queue)
            .filters(by_name)
            .into_paginator()
            .send();
        let mut found = Vec::new();
        for _ in 0..MAX_PAGES {
            let Some(page) = pages.next().await else {
                break;
            };
            let page = page.map_err(|error| backend("ListJobs", &error))?;
            found.extend(page.job_summary_list.unwrap_or_default());
        }
        // The filter ignores case; the oldest is the one that whoever asked first was told.
        Ok(found
            .into_iter()
            .filter(|job| job.job_name() == Some(name))
            .min_by_key(|job| job.created_at)
            .and_then(|job| job.job_id)
            .map(JobId))
    }

    async fn describe(&self, job: &JobId) -> Result<JobStatus, JobError> {
        let parent = self.detail(job).await?;
        let array = parent.array_properties.as_ref();
        let Some(size) = array.and_then(|array| array.size).filter(|size| *size > 0) else {
            return Ok(status::of_children(&[parent]));
        };
        let size = u32::try_from(size).unwrap_or(MAX_WORKERS);
        let children = self.children(job, size).await?;
        Ok(status::of_array(&parent, size, &children))
    }

    async fn cancel(&self, job: &JobId) -> Result<(), JobError> {
        let ended = [BatchStatus::Succeeded, BatchStatus::Failed];
        let status = self.detail(job).await?.status;
        if status.is_some_and(|status| ended.contains(&status)) {
            return Ok(());
        }
        // Not CancelJob: that leaves running workers alone and reports success.
        self.client
            .terminate_job()
            .job_id(&job.0)
            .reason("cancelled by podrun")
            .send()
            .await
            .map_err(|error| backend("TerminateJob", &error))?;
        Ok(())
    }
}

/// How a submission that was not answered well is to be read.
enum Submission {
    /// The service will never take it so.
    Refused(AwsError),
    /// It may have been taken, or may be taken later.
    Lost(AwsError),
}

impl Submission {
    fn of(error: &SdkError<SubmitJobError, HttpResponse>) -> Self {
        let told = AwsError::new("SubmitJob", error);
        match error {
            SdkError::ConstructionFailure(_) => Self::Refused(told),
            SdkError::ServiceError(answer) => match answer.raw().status().as_u16() {
                // 408 and 429 pass.
                400..=407 | 409..=428 | 430..=499 => Self::Refused(told),
                _ => Self::Lost(told),
            },
            _ => Self::Lost(told),
        }
    }
}

fn backend<E, R>(operation: &'static str, error: &SdkError<E, R>) -> JobError
where
    E: aws_sdk_batch::error::ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    JobError::Backend(Box::new(AwsError::new(operation, error)))
}
