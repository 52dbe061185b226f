//! What every metrics store must pass. An adapter's test calls [`run_all`]; a case that fails panics.

use chrono::{DateTime, TimeDelta, Utc};

use super::metric::{
    AUDIO_SECONDS, Datum, FOLDED, GB_TRANSFERRED, Metrics, MetricsError, PER_HOST_429, Summary,
    Unit,
};
use crate::runtime::clock::{Clock, ManualClock};

/// What a case counts on.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// A full hour, with at least three more between it and now where the store looks at the clock.
    pub hour: DateTime<Utc>,
    /// Values of unbounded dimensions come back as one.
    pub is_folding: bool,
}

/// Runs every case on a store of its own.
pub async fn run_all<M: Metrics>(fresh: impl Fn() -> M) -> Result<(), MetricsError> {
    let terms = Terms {
        hour: hour(),
        is_folding: false,
    };
    run_all_on(terms, fresh).await
}

/// Runs every case on `terms`, on a store of its own.
pub async fn run_all_on<M: Metrics>(
    terms: Terms,
    fresh: impl Fn() -> M,
) -> Result<(), MetricsError> {
    sums_by_name_and_dimension(terms, &fresh()).await?;
    knows_time_by_the_hour(terms, &fresh()).await?;
    does_not_count_what_is_no_number(terms, &fresh()).await
}

/// A full hour in 2024.
pub fn hour() -> DateTime<Utc> {
    ManualClock::default().now()
}

/// A value of [`PER_HOST_429`].
pub fn answer(host: &str, value: f64, at: DateTime<Utc>) -> Datum {
    Datum {
        name: PER_HOST_429,
        dimension: ("hostname", host.to_owned()),
        value,
        unit: Unit::Count,
        at,
    }
}

fn summary(datum: &Datum, count: u64, sum: f64) -> Summary {
    Summary {
        name: datum.name.to_owned(),
        dimension: datum.dimension.0.to_owned(),
        value: datum.dimension.1.clone(),
        unit: datum.unit.as_str().to_owned(),
        count,
        sum,
    }
}

/// One line a name, dimension and unit, ordered; calls add up.
pub async fn sums_by_name_and_dimension<M: Metrics>(
    terms: Terms,
    metrics: &M,
) -> Result<(), MetricsError> {
    let hour = || terms.hour;
    assert_eq!(metrics.summarize(hour()).await?, []);
    let (a, b) = (
        answer("a.example", 1.0, hour()),
        answer("b.example", 0.0, hour()),
    );
    let gigabytes = Datum {
        name: GB_TRANSFERRED,
        dimension: ("phase", "fetch".to_owned()),
        value: 0.25,
        unit: Unit::Gigabytes,
        at: hour(),
    };
    metrics
        .record(&[b.clone(), a.clone(), gigabytes.clone()])
        .await?;
    metrics
        .record(&[a.clone(), gigabytes.clone(), a.clone()])
        .await?;
    metrics.record(&[]).await?;
    metrics.flush().await?;
    let all = answer(FOLDED, 0.0, hour());
    let answers = match terms.is_folding {
        true => vec![summary(&all, 4, 3.0)],
        false => vec![summary(&a, 3, 3.0), summary(&b, 1, 0.0)],
    };
    let expected = [vec![summary(&gigabytes, 2, 0.5)], answers].concat();
    assert_eq!(metrics.summarize(hour()).await?, expected);
    Ok(())
}

/// `since` means its whole hour, and nothing before.
pub async fn knows_time_by_the_hour<M: Metrics>(
    terms: Terms,
    metrics: &M,
) -> Result<(), MetricsError> {
    let minutes = |minutes| terms.hour + TimeDelta::minutes(minutes);
    for at in [-1, 0, 59, 60] {
        metrics
            .record(&[answer("a.example", 1.0, minutes(at))])
            .await?;
    }
    metrics.flush().await?;
    for (since, count) in [
        (-60, 4),
        (-1, 4),
        (0, 3),
        (59, 3),
        (60, 1),
        (119, 1),
        (120, 0),
    ] {
        let summaries = metrics.summarize(minutes(since)).await?;
        let found: u64 = summaries.iter().map(|summary| summary.count).sum();
        assert_eq!(found, count, "since minute {since}");
    }
    Ok(())
}

/// Infinities and NaN would spoil every sum they are part of.
pub async fn does_not_count_what_is_no_number<M: Metrics>(
    terms: Terms,
    metrics: &M,
) -> Result<(), MetricsError> {
    let seconds = |value| Datum {
        name: AUDIO_SECONDS,
        dimension: ("model", "tiny".to_owned()),
        value,
        unit: Unit::Seconds,
        at: terms.hour,
    };
    let values = [f64::NAN, 2.0, f64::INFINITY, f64::NEG_INFINITY];
    metrics.record(&values.map(seconds)).await?;
    metrics.flush().await?;
    let expected = [summary(&seconds(2.0), 1, 2.0)];
    assert_eq!(metrics.summarize(terms.hour).await?, expected);
    Ok(())
}
