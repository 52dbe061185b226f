//! What a run tells about itself: events for whoever watches, metrics for whoever looks later.

pub mod cloudwatch;
#[cfg(any(test, feature = "testkit"))]
pub mod conformance;
pub mod event;
pub mod metric;
pub mod sqlite;

pub use cloudwatch::CloudWatchMetrics;
pub use event::{Event, Ignore, Observer};
pub use metric::{Datum, MemoryMetrics, Metrics, MetricsError, Summary, Unit};
pub use sqlite::SqliteMetrics;
