//! Sending what was gathered: each number once, or not at all.

use std::time::Duration;

use aws_sdk_cloudwatch::config::http::HttpResponse;
use aws_sdk_cloudwatch::config::retry::RetryConfig;
use aws_sdk_cloudwatch::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_cloudwatch::operation::put_metric_data::PutMetricDataError;

use super::Inner;
use super::pending::Batch;
use crate::runtime::aws::AwsError;
use crate::runtime::retry::RetryPolicy;
use crate::runtime::telemetry::metric::MetricsError;

/// For calls that the service said it did not take.
const THROTTLED: RetryPolicy = RetryPolicy {
    max_attempts: 6,
    base: Duration::from_millis(500),
    cap: Duration::from_secs(10),
};

const THROTTLES: [&str; 5] = [
    "LimitExceeded",
    "RequestLimitExceeded",
    "RequestThrottled",
    "Throttling",
    "ThrottlingException",
];

type PutError = SdkError<PutMetricDataError, HttpResponse>;

impl Inner {
    /// Sends all that is pending. What fails is given up: the error says how much that is.
    pub(super) async fn send_pending(&self) -> Result<(), MetricsError> {
        let _turn = self.sending.lock().await;
        let batches = self.pending().take();
        let mut lost = 0;
        let mut first = None;
        for batch in batches {
            let data = batch.data.len();
            if let Err(error) = self.send(batch).await {
                lost += data;
                first.get_or_insert(error);
            }
        }
        match first {
            None => Ok(()),
            Some(error) => {
                let problem = format!("{lost} data points are given up: {error}");
                Err(MetricsError(problem.into()))
            }
        }
    }

    async fn send(&self, batch: Batch) -> Result<(), AwsError> {
        let mut failures = 0;
        loop {
            let error = match self.send_once(batch.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            failures += 1;
            match THROTTLED
                .jittered(failures)
                .filter(|_| is_throttled(&error))
            {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(AwsError::new("PutMetricData", &error)),
            }
        }
    }

    /// One call, and no repetition by the SDK, which cannot know whether the first one counted.
    async fn send_once(&self, batch: Batch) -> Result<(), PutError> {
        let once = aws_sdk_cloudwatch::config::Builder::new().retry_config(RetryConfig::disabled());
        let put = self.client.put_metric_data().namespace(&self.namespace);
        let put = put.set_metric_data(Some(batch.data)).customize();
        put.config_override(once).send().await.map(drop)
    }
}

/// The service has not taken it, and will later.
fn is_throttled(error: &PutError) -> bool {
    let code = error.as_service_error().and_then(|error| error.code());
    let status = error.raw_response().map(|answer| answer.status().as_u16());
    status == Some(429) || code.is_some_and(|code| THROTTLES.contains(&code))
}
