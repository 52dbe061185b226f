//! What was recorded and not sent yet: values with their counts, by the minute.

use std::collections::BTreeMap;

use aws_sdk_cloudwatch::primitives::DateTime as SdkTime;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit};
use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use crate::runtime::telemetry::metric::{Datum, Unit};

/// Different values of one datum; the service takes no more.
const MOST_VALUES: usize = 150;
/// Data that wait at most, in case the service takes none: ten calls' worth.
const MOST_DATA: usize = 10_000;
/// Data of one call; the service takes no more.
const MOST_IN_A_CALL: usize = 1_000;
/// Bytes of one call, by a generous estimate; the service takes 1 MB.
const MOST_BYTES: usize = 800_000;
/// Longest value of a dimension.
const MOST_CHARS: usize = 1_024;

/// Time (a full minute), name, dimension's name and value, unit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Series(DateTime<Utc>, &'static str, &'static str, String, Unit);

/// Numbers of one series.
#[derive(Debug, Clone, Default)]
struct Values {
    /// Counts by the bits of the value, at most [`MOST_VALUES`] in each.
    data: Vec<BTreeMap<u64, f64>>,
}

/// What waits.
#[derive(Debug, Clone, Default)]
pub(super) struct Pending {
    series: BTreeMap<Series, Values>,
    data: usize,
}

/// What goes into one call.
#[derive(Debug, Clone, Default)]
pub(super) struct Batch {
    pub(super) data: Vec<MetricDatum>,
    bytes: usize,
}

impl Pending {
    /// Adds finite values; over the bound, the oldest minutes are forgotten.
    pub(super) fn add(&mut self, data: &[&Datum]) {
        for datum in data {
            let (dimension, value) = &datum.dimension;
            let minute = minute_of(datum.at);
            let value = printable(value);
            let series = Series(minute, datum.name, dimension, value, datum.unit);
            let values = self.series.entry(series).or_default();
            self.data += usize::from(values.add(datum.value));
        }
        let mut forgotten = 0;
        while self.data > MOST_DATA
            && let Some((_, oldest)) = self.series.pop_first()
        {
            self.data -= oldest.data.len();
            forgotten += oldest.data.len();
        }
        if forgotten > 0 {
            tracing::warn!(
                forgotten,
                "measurements waited for too long and are forgotten"
            );
        }
    }

    /// All of it, in calls.
    pub(super) fn take(&mut self) -> Vec<Batch> {
        let taken = std::mem::take(self);
        let mut batches: Vec<Batch> = Vec::new();
        for (series, values) in taken.series {
            for counts in values.data {
                let bytes = 200 + series.3.len() + 20 * counts.len();
                let has_room = batches.last().is_some_and(|last| {
                    last.data.len() < MOST_IN_A_CALL && last.bytes + bytes <= MOST_BYTES
                });
                if !has_room {
                    batches.push(Batch::default());
                }
                if let Some(batch) = batches.last_mut() {
                    batch.bytes += bytes;
                    batch.data.push(datum(&series, &counts));
                }
            }
        }
        batches
    }
}

impl Values {
    /// True where that takes one more datum.
    fn add(&mut self, value: f64) -> bool {
        let bits = value.to_bits();
        let last = self.data.last_mut();
        if let Some(counts) = last
            && (counts.len() < MOST_VALUES || counts.contains_key(&bits))
        {
            *counts.entry(bits).or_default() += 1.0;
            return false;
        }
        self.data.push(BTreeMap::from([(bits, 1.0)]));
        true
    }
}

fn datum(series: &Series, counts: &BTreeMap<u64, f64>) -> MetricDatum {
    let Series(minute, name, dimension, value, unit) = series;
    let dimension = Dimension::builder().name(*dimension).value(value);
    let values = counts.keys().map(|bits| f64::from_bits(*bits)).collect();
    MetricDatum::builder()
        .metric_name(*name)
        .dimensions(dimension.build())
        .timestamp(SdkTime::from_secs(minute.timestamp()))
        .set_values(Some(values))
        .set_counts(Some(counts.values().copied().collect()))
        .unit(standard(*unit))
        .build()
}

fn standard(unit: Unit) -> StandardUnit {
    match unit {
        Unit::None => StandardUnit::None,
        Unit::Count => StandardUnit::Count,
        Unit::Gigabytes => StandardUnit::Gigabytes,
        Unit::Megabytes => StandardUnit::Megabytes,
        Unit::Seconds => StandardUnit::Seconds,
    }
}

fn minute_of(at: DateTime<Utc>) -> DateTime<Utc> {
    // Fails only some 300 years from 1970.
    at.duration_trunc(TimeDelta::minutes(1)).unwrap_or(at)
}

/// What the service takes as a dimension's value: printable ASCII, not blank.
fn printable(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii() && !c.is_ascii_control();
    let value: String = value
        .chars()
        .take(MOST_CHARS)
        .map(|c| if is_plain(c) { c } else { '?' })
        .collect();
    match value.trim().is_empty() {
        true => "?".to_owned(),
        false => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::telemetry::conformance::hour;
    use crate::runtime::telemetry::metric::AVG_DOWNLOAD_MB;

    fn megabytes(value: f64, at: DateTime<Utc>, phase: &str) -> Datum {
        Datum {
            name: AVG_DOWNLOAD_MB,
            dimension: ("phase", phase.to_owned()),
            value,
            unit: Unit::Megabytes,
            at,
        }
    }

    fn batches(data: &[Datum]) -> Vec<Batch> {
        let mut pending = Pending::default();
        pending.add(&data.iter().collect::<Vec<_>>());
        pending.take()
    }

    #[test]
    fn values_of_a_minute_are_one_datum() {
        let second = |second| hour() + TimeDelta::seconds(second);
        let data = [(0, 2.0), (59, 2.0), (30, 3.0), (60, 2.0)];
        let data = data.map(|(at, value)| megabytes(value, second(at), "fetch"));
        let batches = batches(&data);
        let [batch] = &batches[..] else {
            panic!("{batches:?}");
        };
        let [first, next] = &batch.data[..] else {
            panic!("{batch:?}");
        };
        assert_eq!(first.values(), [2.0, 3.0]);
        assert_eq!(first.counts(), [2.0, 1.0]);
        assert_eq!(next.counts(), [1.0]);
        let time = next.timestamp.as_ref().map(SdkTime::secs);
        assert_eq!(time, Some(hour().timestamp() + 60));
    }

    #[test]
    fn calls_keep_the_services_limits() {
        // 151 values in a minute, in many minutes.
        let at = |number: i64| hour() + TimeDelta::minutes(number / 151);
        let number = |number: i64| megabytes((number % 151) as f64, at(number), "fetch");
        let data: Vec<_> = (0..151 * 700).map(number).collect();
        let batches = batches(&data);
        let all: Vec<_> = batches.iter().flat_map(|batch| &batch.data).collect();
        assert_eq!(all.len(), 1_400);
        assert!(all.iter().all(|datum| datum.values().len() <= 150));
        for batch in &batches {
            assert!(batch.data.len() <= 1_000 && batch.bytes <= 800_000);
        }
        assert!(batches.len() >= 3, "{}", batches.len());
    }

    #[test]
    fn a_service_that_takes_nothing_costs_no_memory() {
        let at = |minute| hour() + TimeDelta::minutes(minute);
        let data: Vec<_> = (0..10_050)
            .map(|minute| megabytes(1.0, at(minute), "fetch"))
            .collect();
        let batches = batches(&data);
        let left: Vec<_> = batches.iter().flat_map(|batch| &batch.data).collect();
        assert_eq!(left.len(), 10_000);
        let first = left[0].timestamp.as_ref().map(SdkTime::secs);
        assert_eq!(first, Some(at(50).timestamp()));
    }

    #[test]
    fn odd_names_become_values_that_the_service_takes() {
        for (odd, value) in [
            ("gr\u{fc}n\n", "gr?n?"),
            (" ", "?"),
            ("", "?"),
            ("a b", "a b"),
        ] {
            assert_eq!(printable(odd), value);
        }
        assert_eq!(printable(&"x".repeat(2_000)).len(), 1_024);
    }
}
