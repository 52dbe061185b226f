//! Metrics in the local target's database: one row an hour, name, dimension and unit.
//!
//! A data point adds to its row, so the table grows with hours and hosts, not with episodes, and
//! stops growing at [`RETENTION`].

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rusqlite::{Transaction, params};

use super::metric::{Datum, Metrics, MetricsError, RETENTION, Summary, hour_of};
use crate::runtime::sqlite::{
    Database, DatabaseError, StatementError, read_count, read_row, to_micros,
};

/// Metrics that every local process adds to.
#[derive(Debug, Clone)]
pub struct SqliteMetrics {
    database: Database,
}

impl SqliteMetrics {
    /// The metrics in `database`.
    pub fn new(database: Database) -> Self {
        Self { database }
    }
}

#[async_trait]
impl Metrics for SqliteMetrics {
    async fn record(&self, data: &[Datum]) -> Result<(), MetricsError> {
        let finite = data.iter().filter(|datum| datum.value.is_finite());
        let data: Vec<_> = finite.cloned().collect();
        let Some(latest) = data.iter().map(|datum| datum.at).max() else {
            return Ok(());
        };
        let recorded = self.database.write(move |rows| {
            add(rows, &data)?;
            forget(rows, latest)
        });
        recorded.await.map_err(failed)
    }

    async fn summarize(&self, since: DateTime<Utc>) -> Result<Vec<Summary>, MetricsError> {
        let since = to_micros(hour_of(since));
        let summed = self.database.read(move |rows| {
            let mut sum = rows.prepare_cached(
                "SELECT name, dimension, value, unit, sum(count) AS count, sum(sum) AS sum
                FROM metrics WHERE hour_us >= ?1
                GROUP BY name, dimension, value, unit ORDER BY name, dimension, value, unit",
            )?;
            let mut found = sum.query([since])?;
            let mut summaries = Vec::new();
            while let Some(row) = found.next()? {
                summaries.push(summary(row)?);
            }
            Ok(summaries)
        });
        summed.await.map_err(failed)
    }
}

fn failed(error: DatabaseError) -> MetricsError {
    MetricsError(Box::new(error))
}

fn add(rows: &Transaction<'_>, data: &[Datum]) -> Result<(), StatementError> {
    let mut add = rows.prepare_cached(
        "INSERT INTO metrics (hour_us, name, dimension, value, unit, count, sum)
        VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6)
        ON CONFLICT DO UPDATE SET count = count + 1, sum = sum + excluded.sum",
    )?;
    for datum in data {
        let (dimension, value) = &datum.dimension;
        let (hour, unit) = (to_micros(hour_of(datum.at)), datum.unit.as_str());
        add.execute(params![
            hour,
            datum.name,
            dimension,
            value,
            unit,
            datum.value
        ])?;
    }
    Ok(())
}

/// Removes the hours that are too old by now; the primary key begins with the hour, so where there
/// are none this costs one look-up.
fn forget(rows: &Transaction<'_>, now: DateTime<Utc>) -> Result<(), StatementError> {
    let oldest = now.checked_sub_signed(RETENTION).unwrap_or(now);
    let mut forget = rows.prepare_cached("DELETE FROM metrics WHERE hour_us < ?1")?;
    forget.execute([to_micros(hour_of(oldest))])?;
    Ok(())
}

fn summary(row: &rusqlite::Row<'_>) -> Result<Summary, StatementError> {
    read_row("metrics", &["name", "dimension", "value"], row, |row| {
        Ok(Summary {
            name: row.get("name")?,
            dimension: row.get("dimension")?,
            value: row.get("value")?,
            unit: row.get("unit")?,
            count: read_count(row, "count")?,
            sum: row.get("sum")?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::telemetry::conformance::{self, answer, hour};
    use chrono::TimeDelta;

    fn fresh() -> SqliteMetrics {
        SqliteMetrics::new(Database::open_in_memory().unwrap())
    }

    #[tokio::test]
    async fn conforms() {
        conformance::run_all(fresh).await.unwrap();
    }

    #[tokio::test]
    async fn the_table_stays_small() {
        let metrics = fresh();
        let answers = |at| vec![answer("a.example", 1.0, at); 1000];
        metrics.record(&answers(hour())).await.unwrap();
        let later = hour() + RETENTION;
        metrics.record(&answers(later)).await.unwrap();
        assert_eq!(rows(&metrics).await, 2);
        metrics
            .record(&answers(later + TimeDelta::hours(1)))
            .await
            .unwrap();
        assert_eq!(rows(&metrics).await, 2);
        assert_eq!(metrics.summarize(hour()).await.unwrap()[0].count, 2000);
    }

    async fn rows(metrics: &SqliteMetrics) -> i64 {
        let count = "SELECT count(*) FROM metrics";
        let read = move |rows: &Transaction<'_>| Ok(rows.query_one(count, [], |row| row.get(0))?);
        metrics.database.read(read).await.unwrap()
    }

    #[tokio::test]
    async fn an_unreadable_row_is_named() {
        let metrics = fresh();
        metrics
            .record(&[answer("a.example", 1.0, hour())])
            .await
            .unwrap();
        let spoil = "UPDATE metrics SET count = -1";
        let spoiled = metrics
            .database
            .write(move |rows| Ok(rows.execute(spoil, [])?));
        spoiled.await.unwrap();
        let error = metrics.summarize(hour()).await.unwrap_err().to_string();
        assert!(error.contains("hostname a.example"), "{error}");
    }
}
