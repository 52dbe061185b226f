//! Metrics: the port's promises, and each number once or not at all.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::primitives::DateTime as SdkTime;
use aws_sdk_cloudwatch::types::MetricDatum;
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use podrun::runtime::telemetry::conformance::{self, Terms};
use podrun::runtime::telemetry::metric::GB_TRANSFERRED;
use podrun::runtime::telemetry::{CloudWatchMetrics, Datum, Metrics, MetricsError, Summary, Unit};
use serde_json::Value;

use crate::faults::{Fault, FaultProxy};
use crate::stand_in::{StandIn, clients_of};

const LONG: Duration = Duration::from_secs(3_600);

/// What a worker wrote.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The adapter with the log service behind it, which takes metrics out of lines; the stand-in does not.
#[derive(Debug)]
struct Extracted {
    metrics: CloudWatchMetrics,
    lines: Lines,
    client: Client,
}

impl Extracted {
    fn new(client: &Client, namespace: String) -> Self {
        let lines = Lines::default();
        let log = Box::new(lines.clone());
        let properties = BTreeMap::from([("run_id".to_owned(), "r1".to_owned())]);
        let client = client.clone();
        let metrics =
            CloudWatchMetrics::with_interval(client.clone(), namespace, log, properties, LONG);
        Self {
            metrics,
            lines,
            client,
        }
    }

    async fn extract(&self, line: &Value) {
        let at = line["_aws"]["Timestamp"].as_i64().unwrap();
        for directive in line["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
            let put = self.client.put_metric_data();
            let mut put = put.namespace(directive["Namespace"].as_str().unwrap());
            for metric in directive["Metrics"].as_array().unwrap() {
                let name = metric["Name"].as_str().unwrap();
                let values = match &line[name] {
                    Value::Array(values) => values.clone(),
                    value => vec![value.clone()],
                };
                let values = values.iter().map(|value| value.as_f64().unwrap());
                let datum = MetricDatum::builder().metric_name(name);
                let datum = datum.timestamp(SdkTime::from_millis(at));
                put = put.metric_data(datum.set_values(Some(values.collect())).build());
            }
            put.send().await.unwrap();
        }
    }
}

#[async_trait]
impl Metrics for Extracted {
    async fn record(&self, data: &[Datum]) -> Result<(), MetricsError> {
        self.metrics.record(data).await
    }

    async fn flush(&self) -> Result<(), MetricsError> {
        self.metrics.flush().await?;
        let lines = std::mem::take(&mut *self.lines.0.lock().unwrap());
        for line in String::from_utf8(lines).unwrap().lines() {
            self.extract(&serde_json::from_str(line).unwrap()).await;
        }
        Ok(())
    }

    async fn summarize(&self, since: DateTime<Utc>) -> Result<Vec<Summary>, MetricsError> {
        self.metrics.summarize(since).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ports_promises_are_kept() {
    let stand_in = StandIn::start();
    let client = stand_in.clients().await.cloudwatch;
    let hour = Utc::now().duration_trunc(TimeDelta::hours(1)).unwrap();
    let terms = Terms {
        hour: hour - TimeDelta::hours(5),
        is_folding: true,
    };
    let stores = AtomicUsize::new(0);
    let fresh = || {
        let number = stores.fetch_add(1, Ordering::SeqCst);
        Extracted::new(&client, format!("PodInsights{number}"))
    };
    conformance::run_all_on(terms, fresh).await.unwrap();
}

fn gigabytes(value: f64) -> Datum {
    Datum {
        name: GB_TRANSFERRED,
        dimension: ("phase", "fetch".to_owned()),
        value,
        unit: Unit::Gigabytes,
        at: Utc::now(),
    }
}

fn metrics(client: &Client, interval: Duration) -> CloudWatchMetrics {
    let log = Box::new(Lines::default());
    let client = client.clone();
    CloudWatchMetrics::with_interval(client, "PodInsights", log, BTreeMap::new(), interval)
}

async fn total(metrics: &CloudWatchMetrics) -> f64 {
    let summaries = metrics
        .summarize(Utc::now() - TimeDelta::hours(1))
        .await
        .unwrap();
    summaries.iter().map(|summary| summary.sum).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_answer_is_lost_is_not_made_again() {
    let stand_in = StandIn::start();
    let proxy = FaultProxy::start(&stand_in.endpoint).await;
    proxy.inject("PutMetricData", Fault::DropAfter);
    let metrics = metrics(&clients_of(&proxy.endpoint).await.cloudwatch, LONG);
    metrics.record(&[gigabytes(1.0)]).await.unwrap();
    let error = metrics.flush().await.unwrap_err();
    assert!(
        error.to_string().contains("1 data points are given up"),
        "{error}"
    );
    metrics.record(&[gigabytes(2.0)]).await.unwrap();
    metrics.flush().await.unwrap();
    metrics.flush().await.unwrap();
    assert_eq!(proxy.count("PutMetricData"), 2);
    // It had counted, though nobody could know.
    assert_eq!(total(&metrics).await, 3.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_throttled_is_made_again() {
    let stand_in = StandIn::start();
    let proxy = FaultProxy::start(&stand_in.endpoint).await;
    proxy.inject_times(
        2,
        "PutMetricData",
        Fault::Refuse(429, "ThrottlingException"),
    );
    let metrics = metrics(&clients_of(&proxy.endpoint).await.cloudwatch, LONG);
    metrics.record(&[gigabytes(1.0)]).await.unwrap();
    metrics.flush().await.unwrap();
    assert_eq!(proxy.count("PutMetricData"), 3);
    assert_eq!(total(&metrics).await, 1.0);
}

/// Also without a flush, which a killed worker never gets to.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_gathered_is_sent_after_a_while() {
    let stand_in = StandIn::start();
    let client = stand_in.clients().await.cloudwatch;
    let metrics = metrics(&client, Duration::from_millis(50));
    metrics
        .record(&[gigabytes(1.0), gigabytes(2.0)])
        .await
        .unwrap();
    let arrived = async {
        while total(&metrics).await < 3.0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), arrived)
        .await
        .unwrap();
    metrics.flush().await.unwrap();
    assert_eq!(total(&metrics).await, 3.0);
}
