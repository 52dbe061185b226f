//! What the AWS adapters share: clients, and errors in words.
//!
//! Credentials come from the SDK's own chain and nowhere else. Regions, profiles and endpoints are
//! named as the AWS CLI names them: what is set here wins over `AWS_REGION`, `AWS_PROFILE`,
//! `AWS_ENDPOINT_URL` and `AWS_ENDPOINT_URL_<SERVICE>`, those over `~/.aws/config`.

pub mod dynamodb;
mod error;
mod interruption;

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};

pub use error::{AwsError, SetupError};
pub use interruption::InterruptionNotices;

/// Attempts of one call, the first included. The SDK's default of 3 gives up within a second of
/// throttling, which a fleet that starts together meets.
const ATTEMPTS: u32 = 6;
/// Longest pause between two attempts.
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// The SDK waits for ever by default but for the connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Until the answer begins; a long poll of SQS answers after 20 s at the latest.
const READ: Duration = Duration::from_secs(40);
/// One attempt as a whole: 16 MiB at 1.5 Mbit/s.
const ATTEMPT: Duration = Duration::from_secs(90);

/// How to reach an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AwsConfig {
    /// Region, such as `us-east-1`.
    pub region: Option<String>,
    /// Profile of `~/.aws/config` and `~/.aws/credentials`.
    pub profile: Option<String>,
    /// One endpoint for every service: a stand-in on this machine.
    pub endpoint_url: Option<String>,
    /// Buckets in the path rather than in the host name; `None` puts them there where the endpoint is
    /// an IP address or `localhost`, which have no names below them.
    pub path_style: Option<bool>,
}

/// One client a service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AwsClients {
    /// Objects.
    pub s3: aws_sdk_s3::Client,
    /// Queues.
    pub sqs: aws_sdk_sqs::Client,
    /// Checkpoints and host windows.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// Metrics.
    pub cloudwatch: aws_sdk_cloudwatch::Client,
    /// Jobs.
    pub batch: aws_sdk_batch::Client,
    /// Where all that is.
    pub region: String,
}

impl AwsClients {
    /// Resolves configuration, environment and files. Credentials are asked for by the first call.
    ///
    /// # Errors
    ///
    /// [`SetupError::NoRegion`] where nothing names a region.
    pub async fn load(config: &AwsConfig) -> Result<Self, SetupError> {
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(ATTEMPTS)
                    .with_max_backoff(MAX_BACKOFF),
            )
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT)
                    .read_timeout(READ)
                    .operation_attempt_timeout(ATTEMPT)
                    .build(),
            );
        if let Some(region) = &config.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(profile) = &config.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(endpoint) = &config.endpoint_url {
            loader = loader.endpoint_url(endpoint);
        }
        let resolved = loader.load().await;
        // An empty variable is as good as none.
        if resolved
            .region()
            .is_none_or(|region| region.as_ref().is_empty())
        {
            return Err(SetupError::NoRegion);
        }
        let path_style = config.path_style;
        let path_style = path_style.unwrap_or_else(|| has_no_names(resolved.endpoint_url()));
        Ok(Self::over(&resolved, path_style))
    }

    /// Clients over a configuration of the SDK.
    pub fn over(config: &SdkConfig, path_style: bool) -> Self {
        let s3 = aws_sdk_s3::config::Builder::from(config)
            .force_path_style(path_style)
            .build();
        Self {
            s3: aws_sdk_s3::Client::from_conf(s3),
            sqs: aws_sdk_sqs::Client::new(config),
            dynamodb: aws_sdk_dynamodb::Client::new(config),
            cloudwatch: aws_sdk_cloudwatch::Client::new(config),
            batch: aws_sdk_batch::Client::new(config),
            region: config.region().map(Region::to_string).unwrap_or_default(),
        }
    }

    /// Whether a table is there and may be described.
    ///
    /// # Errors
    /// What DynamoDB says, `ResourceNotFoundException` where there is none in this account and region.
    pub async fn check_table(&self, name: &str) -> Result<(), AwsError> {
        let found = self.dynamodb.describe_table().table_name(name).send().await;
        found.map_err(|error| AwsError::new("DescribeTable", &error))?;
        Ok(())
    }

    /// The address of a queue by its name.
    ///
    /// # Errors
    /// What SQS says, `QueueDoesNotExist` where there is none in this account and region.
    pub async fn queue_url(&self, name: &str) -> Result<String, AwsError> {
        let found = self.sqs.get_queue_url().queue_name(name).send().await;
        let found = found.map_err(|error| AwsError::new("GetQueueUrl", &error))?;
        found.queue_url.ok_or_else(|| AwsError {
            operation: "GetQueueUrl",
            code: None,
            message: format!("the answer has no address of the queue {name}"),
        })
    }
}

/// Whether no host name can stand below the endpoint's.
fn has_no_names(endpoint: Option<&str>) -> bool {
    let url = endpoint.and_then(|endpoint| url::Url::parse(endpoint).ok());
    match url.as_ref().and_then(url::Url::host) {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(_) => true,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_go_into_the_path_where_no_name_can_hold_them() {
        for endpoint in [
            "http://127.0.0.1:4566",
            "http://localhost:4566/",
            "http://[::1]:1",
        ] {
            assert!(has_no_names(Some(endpoint)), "{endpoint}");
        }
        for endpoint in [None, Some("https://s3.example.com"), Some("garbage")] {
            assert!(!has_no_names(endpoint), "{endpoint:?}");
        }
    }
}
