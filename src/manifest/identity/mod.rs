//! Which episode is which, from one crawl to the next.
//!
//! A feed's guids are not as stable as they should be: publishers move to another host, whose software
//! writes new guids; measuring services are put before addresses and taken away; a guid of last year's
//! episode is used again. So what was seen of each episode is remembered, a file a feed, and every new
//! look at the feed is matched with it:
//!
//! ```text
//! guid known, file known or changed        the same episode
//! guid known; date, size and file differ   the guid was used again: another episode, a revision
//! guid unknown, file and date known        the same episode; the guid is an alias from now on
//! guid unknown, title, date, length known  likewise
//! otherwise                                a new episode
//! ```
//!
//! An alias is only made for an episode that is not in the same look under a guid of its own: two items
//! of one feed are two episodes. Episodes that are gone from the feed are never forgotten.

mod known;
mod store;

pub use known::{KnownEpisodes, Settled};
pub use store::{Identities, IdentityError};
