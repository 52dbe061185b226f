//! How fast feeds are read: `cargo bench --workspace --no-default-features --bench feed_reader`.
//!
//! The whole of [`parse_feed`], bytes to episodes, on podcast RSS of the usual make (about 3.4 KB an
//! item, most of it show notes in CDATA) and, for the number of items, on items without notes.

use std::fmt::Write;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use podrun::domain::FeedSlug;
use podrun::feeds::{FeedSource, ParsedFeed, parse_feed};
use url::Url;

const NOTE: &str = "<p>This week we talk to the author about how a small town found its way back &amp; what it means for \
    the rest of us. <a href=\"https://example.com/read\">Read on</a></p>\n";

/// A feed of `items` items with `notes` paragraphs of notes, twice, in each.
fn feed(items: usize, notes: usize) -> Vec<u8> {
    let mut text = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><rss version=\"2.0\" \
         xmlns:itunes=\"http://www.itunes.com/dtds/podcast-1.0.dtd\" \
         xmlns:content=\"http://purl.org/rss/1.0/modules/content/\"><channel><title>The Long Show</title>",
    );
    let notes = NOTE.repeat(notes);
    for n in 0..items {
        let written = write!(
            text,
            "<item><title>Episode {n}: a way back &amp; more</title><link>https://example.com/{n}</link>\
             <description><![CDATA[{notes}]]></description><content:encoded><![CDATA[{notes}]]></content:encoded>\
             <itunes:title>A way back</itunes:title><itunes:author>Example</itunes:author>\
             <itunes:duration>00:{:02}:30</itunes:duration><itunes:explicit>false</itunes:explicit>\
             <itunes:episodeType>full</itunes:episodeType><itunes:image href=\"https://example.com/{n}.jpg\"/>\
             <guid isPermaLink=\"false\">urn:uuid:{n:032x}</guid><pubDate>Mon, 09 Mar 2026 05:00:00 +0000</pubDate>\
             <enclosure url=\"https://dts.podtrac.com/redirect.mp3/media.example.com/{n}.mp3?token={n:x}&amp;x=1\" \
             length=\"24330111\" type=\"audio/mpeg\"/></item>",
            n % 60
        );
        written.expect("writing to a string");
    }
    text.push_str("</channel></rss>");
    text.into_bytes()
}

fn read(bytes: &[u8]) -> ParsedFeed {
    let feed = FeedSlug::try_new("show").expect("a slug");
    let final_url = Url::parse("https://example.com/feed").expect("a URL");
    let parsed = parse_feed(FeedSource {
        feed: &feed,
        bytes,
        final_url: &final_url,
        content_type: Some("application/rss+xml"),
        now: chrono::Utc::now(),
    });
    parsed.expect("a feed")
}

fn throughput(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("usual feed");
    let bytes = feed(5_000, 8);
    group
        .throughput(Throughput::Bytes(bytes.len() as u64))
        .sample_size(20);
    group.bench_function("17 MB", |bencher| bencher.iter(|| read(black_box(&bytes))));
    group.finish();
}

fn items(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("items without notes");
    for count in [1_000, 10_000, 50_000] {
        let bytes = feed(count, 0);
        group
            .throughput(Throughput::Elements(count as u64))
            .sample_size(10);
        let id = BenchmarkId::from_parameter(count);
        group.bench_with_input(id, &bytes, |bencher, bytes| {
            bencher.iter(|| read(black_box(bytes)))
        });
    }
    group.finish();
}

criterion_group!(benches, throughput, items);
criterion_main!(benches);
