//! What episodes exist: the catalog of feeds, and crawling them.
//!
//! ```text
//! catalog  tier1_feeds.yaml, tier2_feeds.yaml, ...   which shows, in which order
//! crawl    asks every feed, politely and side by side, and survives bad ones
//!            http   gets a feed with the client that every request goes through
//! parse    bytes -> title, episodes, repairs, warnings
//!            text     bytes -> text, whatever the encoding
//!            xml      RSS, RDF, Atom -> items; json  JSON Feed -> items
//!            episodes items -> episodes: which file, which guid, which date
//!            media_url  what a file's address tells: is it audio, who serves it, what is its name
//! ```

pub mod catalog;
pub mod crawl;
mod date;
mod episodes;
pub mod http;
mod item;
mod json;
pub mod media_url;
pub mod parse;
pub mod repair;
mod text;
mod xml;

pub use catalog::{Catalog, CatalogEntry, CatalogError};
pub use crawl::{CrawlOptions, CrawledFeed, Crawler, FeedFetcher, FeedProblem, FetchedFeed};
pub use http::HttpFeedFetcher;
pub use parse::{FeedFormat, FeedSource, ParseError, ParsedFeed, parse_feed};
pub use repair::{Repair, Repairs};
