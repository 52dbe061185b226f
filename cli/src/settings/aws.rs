//! `target` and `[aws]`: where a run's work is done, and what things are called there.

use podrun::domain::StageName;
use podrun::runtime::aws::AwsConfig;
use podrun::runtime::blob::s3::MultipartCheck;
use serde::{Deserialize, Serialize};

/// Where everything is stored and who does the work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Target {
    /// A directory, and this process.
    #[default]
    Local,
    /// Buckets, queues and tables of an AWS account, and the jobs of AWS Batch.
    Aws,
}

/// `[aws]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AwsSettings {
    /// Region; the AWS CLI's sources where not given.
    pub(crate) region: Option<String>,
    /// Profile of the AWS CLI's files.
    pub(crate) profile: Option<String>,
    /// One endpoint for all services.
    pub(crate) endpoint_url: Option<String>,
    /// How buckets are addressed.
    pub(crate) addressing_style: AddressingStyle,
    /// What vouches for an object that goes up in parts.
    pub(crate) multipart_check: MultipartCheckName,
    /// Audio as it was fetched.
    pub(crate) raw_bucket: String,
    /// Transcripts.
    pub(crate) stage_bucket: String,
    /// Manifests, copies of feeds, records of runs.
    pub(crate) manifests_bucket: String,
    /// Checkpoints.
    pub(crate) status_table: String,
    /// Host windows.
    pub(crate) hosts_table: String,
    /// Episodes to fetch.
    pub(crate) fetch_queue: String,
    /// Episodes to transcribe.
    pub(crate) transcribe_queue: String,
    /// What is appended to a queue's name for what is set aside.
    pub(crate) dead_letter_suffix: String,
    /// Of the metrics.
    pub(crate) namespace: String,
    /// Who fetches.
    pub(crate) fetch: FleetSettings,
    /// Who transcribes.
    pub(crate) transcribe: FleetSettings,
}

/// `[aws.fetch]` and `[aws.transcribe]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FleetSettings {
    /// Of AWS Batch.
    pub(crate) job_queue: String,
    /// Of AWS Batch.
    pub(crate) job_definition: String,
    /// Episodes that make one more worker worth its start.
    pub(crate) episodes_per_worker: u32,
    /// Never more workers than this.
    pub(crate) max_workers: u32,
}

/// How a bucket is addressed, named as the AWS CLI does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AddressingStyle {
    /// In the path where the endpoint is an IP address or `localhost`, else in the host name.
    #[default]
    Auto,
    /// In the path.
    Path,
    /// In the host name.
    Virtual,
}

/// What vouches for an object that goes up in parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MultipartCheckName {
    /// One checksum of the whole, which S3 compares.
    #[default]
    FullObject,
    /// A checksum of each part; for stores that know no other.
    PartsOnly,
}

impl From<MultipartCheckName> for MultipartCheck {
    fn from(name: MultipartCheckName) -> Self {
        match name {
            MultipartCheckName::FullObject => Self::FullObject,
            MultipartCheckName::PartsOnly => Self::PartsOnly,
        }
    }
}

impl Default for AwsSettings {
    fn default() -> Self {
        let fleet = |name: &str, episodes_per_worker, max_workers| FleetSettings {
            job_queue: name.to_owned(),
            job_definition: name.to_owned(),
            episodes_per_worker,
            max_workers,
        };
        Self {
            region: None,
            profile: None,
            endpoint_url: None,
            addressing_style: AddressingStyle::default(),
            multipart_check: MultipartCheckName::default(),
            raw_bucket: "pod-insights-raw".to_owned(),
            stage_bucket: "pod-insights-stage".to_owned(),
            manifests_bucket: "pod-insights-manifests".to_owned(),
            status_table: "podinsights-status".to_owned(),
            hosts_table: "podinsights-hosts".to_owned(),
            fetch_queue: "podinsights-fetch".to_owned(),
            transcribe_queue: "podinsights-transcribe".to_owned(),
            dead_letter_suffix: "-dlq".to_owned(),
            namespace: "PodInsights".to_owned(),
            // A task of Fargate costs a minute at least, a card its start of nine minutes.
            fetch: fleet("podrun-fetch", 25, 80),
            transcribe: fleet("podrun-transcribe", 500, 4),
        }
    }
}

impl AwsSettings {
    /// What the library needs to reach the account.
    pub(crate) fn config(&self) -> AwsConfig {
        AwsConfig {
            region: self.region.clone(),
            profile: self.profile.clone(),
            endpoint_url: self.endpoint_url.clone(),
            path_style: match self.addressing_style {
                AddressingStyle::Auto => None,
                AddressingStyle::Path => Some(true),
                AddressingStyle::Virtual => Some(false),
            },
        }
    }

    /// Who drains a stage's queue.
    pub(crate) fn fleet(&self, stage: StageName) -> &FleetSettings {
        match stage {
            StageName::Fetch => &self.fetch,
            StageName::Transcribe => &self.transcribe,
        }
    }
}
