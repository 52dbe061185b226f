//! What episodes exist: the catalog of feeds, and crawling them.
//!
//! ```text
//! catalog  tier1_feeds.yaml, tier2_feeds.yaml, ...   which shows, in which order
//! crawl    asks every feed, politely and side by side, and survives bad ones
//!            http   gets a feed with the client that every request goes through
//! parse    bytes -> title, episodes, warnings          the seam where the parser can be replaced
//!            text     bytes -> text, whatever the encoding
//!            dialect  what real feeds do, spelt as the parser expects it
//!            media_url  what a file's address tells: is it audio, who serves it, what is its name
//! ```

pub mod catalog;
pub mod crawl;
mod dialect;
pub mod http;
pub mod media_url;
pub mod parse;
mod text;

pub use catalog::{Catalog, CatalogEntry, CatalogError};
pub use crawl::{CrawlOptions, CrawledFeed, Crawler, FeedFetcher, FeedProblem, FetchedFeed};
pub use http::HttpFeedFetcher;
pub use parse::{FeedFormat, FeedSource, ParseError, ParsedFeed, parse_feed};
