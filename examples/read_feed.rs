//! Reads feeds from files and tells how fast: `cargo run --release --workspace --no-default-features --example read_feed -- FILE...`

use std::time::Instant;

use podrun::domain::FeedSlug;
use podrun::feeds::{FeedSource, parse_feed};

#[expect(clippy::print_stdout, reason = "its output is what it is for")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let feed = FeedSlug::try_new("feed")?;
    let final_url = url::Url::parse("https://example.com/feed")?;
    for path in std::env::args().skip(1) {
        let bytes = std::fs::read(&path)?;
        let started = Instant::now();
        let parsed = parse_feed(FeedSource {
            feed: &feed,
            bytes: &bytes,
            final_url: &final_url,
            content_type: None,
            now: chrono::Utc::now(),
        })?;
        let seconds = started.elapsed().as_secs_f64();
        let megabytes = bytes.len() as f64 / 1e6;
        println!(
            "{path}: {} episodes, {megabytes:.1} MB in {seconds:.3} s, {:.0} MB/s, {} repairs",
            parsed.episodes.len(),
            megabytes / seconds,
            parsed.repairs.iter().count(),
        );
    }
    Ok(())
}
