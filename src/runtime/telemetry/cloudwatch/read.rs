//! Sums of what the service holds.

use std::collections::BTreeMap;
use std::fmt::Debug;

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_cloudwatch::primitives::DateTime as SdkTime;
use aws_sdk_cloudwatch::types::{Metric, MetricDataQuery, MetricDataResult, MetricStat, ScanBy};
use chrono::{DateTime, TimeDelta, Utc};

use crate::runtime::aws::AwsError;
use crate::runtime::telemetry::metric::{
    FOLDED, KINDS, Kind, MetricsError, RETENTION, Summary, hour_of, is_bounded,
};

/// Seconds of a period.
const PERIOD: i32 = 3_600;
/// Series of one call: two queries each, of which the service takes 500.
const SERIES_IN_A_CALL: usize = 250;
/// Answers read at most for one question.
const MOST_PAGES: usize = 1_000;
/// Clocks that run ahead.
const AHEAD: TimeDelta = TimeDelta::hours(2);

/// One series of ours: what it is, and its dimension's value where that was sent.
struct Series {
    kind: &'static Kind,
    value: Option<String>,
    metric: Metric,
}

/// The sums since the hour of `since`, ordered as the port says.
pub(super) async fn summarize(
    client: &Client,
    namespace: &str,
    since: DateTime<Utc>,
) -> Result<Vec<Summary>, MetricsError> {
    let now = Utc::now();
    let oldest = now.checked_sub_signed(RETENTION).unwrap_or(since);
    let span = (hour_of(since.max(oldest)), hour_of(now) + AHEAD);
    let mut summaries = Vec::new();
    if span.0 >= span.1 {
        return Ok(summaries);
    }
    let series = series(client, namespace).await?;
    for series in series.chunks(SERIES_IN_A_CALL) {
        summaries.extend(sums(client, series, span).await?);
    }
    summaries.sort_by(|one, other| key(one).cmp(&key(other)));
    Ok(summaries)
}

fn key(summary: &Summary) -> (&str, &str, &str, &str) {
    let Summary {
        name,
        dimension,
        value,
        unit,
        ..
    } = summary;
    (name, dimension, value, unit)
}

/// The namespace's series that this program makes.
async fn series(client: &Client, namespace: &str) -> Result<Vec<Series>, MetricsError> {
    let mut pages = client
        .list_metrics()
        .namespace(namespace)
        .into_paginator()
        .send();
    let mut found = Vec::new();
    for _ in 0..MOST_PAGES {
        let Some(page) = pages.next().await else {
            break;
        };
        let page = page.map_err(|error| failed("ListMetrics", &error))?;
        found.extend(
            page.metrics
                .unwrap_or_default()
                .into_iter()
                .filter_map(known),
        );
    }
    Ok(found)
}

/// A metric as it was sent: with its bounded dimension, or with none.
fn known(metric: Metric) -> Option<Series> {
    let name = metric.metric_name()?;
    let kind = KINDS.iter().find(|kind| kind.name == name)?;
    let value = match metric.dimensions() {
        [] if !is_bounded(kind.dimension) => None,
        [only] if is_bounded(kind.dimension) && only.name() == Some(kind.dimension) => {
            Some(only.value()?.to_owned())
        }
        _ => return None,
    };
    Some(Series {
        kind,
        value,
        metric,
    })
}

async fn sums(
    client: &Client,
    series: &[Series],
    (start, end): (DateTime<Utc>, DateTime<Utc>),
) -> Result<Vec<Summary>, MetricsError> {
    let queries = series.iter().enumerate().flat_map(|(at, series)| {
        [("s", "Sum"), ("c", "SampleCount")].map(|(letter, statistic)| {
            let stat = MetricStat::builder().metric(series.metric.clone());
            let stat = stat.period(PERIOD).stat(statistic).build();
            let query = MetricDataQuery::builder().id(format!("{letter}{at}"));
            query.metric_stat(stat).build()
        })
    });
    let get = client
        .get_metric_data()
        .set_metric_data_queries(Some(queries.collect()));
    let get = get.start_time(time(start)).end_time(time(end));
    let mut pages = get
        .scan_by(ScanBy::TimestampAscending)
        .into_paginator()
        .send();
    let mut totals = BTreeMap::new();
    for _ in 0..MOST_PAGES {
        let Some(page) = pages.next().await else {
            break;
        };
        let page = page.map_err(|error| failed("GetMetricData", &error))?;
        for result in page.metric_data_results.unwrap_or_default() {
            add(&mut totals, result);
        }
    }
    let total = |letter: &str, at: usize| totals.get(&format!("{letter}{at}")).copied();
    let summary = |(at, series): (usize, &Series)| {
        let count = total("c", at).filter(|count| *count > 0.0)?;
        Some(Summary {
            name: series.kind.name.to_owned(),
            dimension: series.kind.dimension.to_owned(),
            value: series.value.clone().unwrap_or_else(|| FOLDED.to_owned()),
            unit: series.kind.unit.as_str().to_owned(),
            // Counts are whole, and saturate.
            count: count.round() as u64,
            sum: total("s", at).unwrap_or_default(),
        })
    };
    Ok(series.iter().enumerate().filter_map(summary).collect())
}

/// A result may come in several pages.
fn add(totals: &mut BTreeMap<String, f64>, result: MetricDataResult) {
    let sum: f64 = result.values.unwrap_or_default().into_iter().sum();
    *totals.entry(result.id.unwrap_or_default()).or_default() += sum;
}

fn time(at: DateTime<Utc>) -> SdkTime {
    SdkTime::from_secs(at.timestamp())
}

fn failed<E, R>(operation: &'static str, error: &SdkError<E, R>) -> MetricsError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: Debug,
{
    MetricsError(Box::new(AwsError::new(operation, error)))
}
