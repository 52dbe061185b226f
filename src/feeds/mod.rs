//! What episodes exist: the catalog of feeds, and crawling them.
//!
//! ```text
//! catalog  tier1_feeds.yaml, tier2_feeds.yaml, ...   which shows, in which order
//!            address  how the address of a feed may be written
//! opml     the lists that podcast programs export
//!            import   made entries of the catalog
//! crawl    asks every feed, politely and side by side, and survives bad ones
//!            paging   all pages of a feed as one
//!            page     one page: from the server, or from its copy
//!            copies   what feeds last said, kept between runs
//!            elsewhere, moved, discover   a feed that lives elsewhere, a web page that names one
//! fetcher  the port that gets bytes
//!            http     with the client that every request goes through
//!            compressed, freshness   what a server may say beside the bytes
//! parse    bytes -> title, episodes, repairs, warnings
//!            text     bytes -> text, whatever the encoding
//!            xml      RSS, RDF, Atom -> items; json  JSON Feed -> items
//!            episodes items -> episodes: which file, which guid, which date
//!            media_url  what a file's address tells: is it audio, who serves it, what is its name
//! ```

pub mod address;
pub mod catalog;
mod compressed;
pub mod copies;
pub mod crawl;
mod date;
mod discover;
mod episodes;
pub mod fetcher;
mod freshness;
pub mod http;
pub mod import;
mod item;
mod json;
pub mod media_url;
mod moved;
pub mod opml;
mod page;
mod paging;
pub mod parse;
pub mod repair;
mod tags;
mod text;
mod xml;

pub use address::{AddressProblem, feed_address, feed_identity};
pub use catalog::{Catalog, CatalogEntry, CatalogError};
pub use copies::FeedCopies;
pub use crawl::{CrawlOptions, CrawledFeed, Crawler, FeedProblem};
pub use fetcher::{FeedBody, FeedFetcher, FetchedFeed, Validators};
pub use http::HttpFeedFetcher;
pub use import::{Import, ImportError, NewFeed, RefusedFeed, add_to_tier_file};
pub use opml::{Opml, OpmlError, Outline, read_opml};
pub use page::Outage;
pub use parse::{FeedFormat, FeedSource, ParseError, ParsedFeed, parse_feed};
pub use repair::{Repair, Repairs};
