//! What a run tells about itself: events for whoever watches, metrics for whoever looks later.

pub mod event;
pub mod metric;
pub mod sqlite;

pub use event::{Event, Ignore, Observer};
pub use metric::{Datum, MemoryMetrics, Metrics, MetricsError, Unit};
// pub use sqlite::SqliteMetrics;
