//! One feed, wherever it is by now: at its address, where it moved to, or where a web page says.

use url::Url;

use super::Crawler;
use crate::domain::{Failure, FailureClass, FeedSlug};
use crate::feeds::address::feed_identity;
use crate::feeds::catalog::CatalogEntry;
use crate::feeds::discover::linked_feed;
use crate::feeds::moved::{has_most_of, is_same_show};
use crate::feeds::page::{Ask, Unread};
use crate::feeds::paging::{Walked, walk};
use crate::runtime::http::SafeUrl;

impl Crawler {
    /// Reads one feed, wherever it is by now.
    pub(super) async fn read(&self, entry: &CatalogEntry) -> Result<Walked, Failure> {
        let url = Url::parse(&entry.url).map_err(|error| {
            let problem = format!("the address is no URL: {error}");
            Failure::new(FailureClass::BadUrl, problem)
        })?;
        let walked = match self.walk(&entry.slug, &url).await {
            Ok(walked) => self.follow_move(&entry.slug, &url, walked).await,
            Err(unread) => self.follow_link(&entry.slug, &url, unread).await?,
        };
        if walked.is_complete
            && walked.is_new
            && walked.is_kept
            && let Some(copies) = &self.reader.copies
        {
            copies.prune(&entry.slug, &walked.records).await;
        }
        Ok(walked)
    }

    async fn walk(&self, feed: &FeedSlug, url: &Url) -> Result<Walked, Unread> {
        let ask = match self.options.refresh {
            true => Ask::Always,
            false => Ask::WhenStale,
        };
        let mut walked = walk(&self.reader, feed, url, ask).await?;
        if let Some(outage) = &walked.outage {
            walked.warn(format!(
                "the feed could not be read now ({}); its copy of {} is used",
                outage.failure,
                outage.copy_of.format("%Y-%m-%d %H:%M UTC")
            ));
        }
        Ok(walked)
    }

    /// A web page in place of a feed: the feed it names is read, and no other page after that.
    async fn follow_link(
        &self,
        feed: &FeedSlug,
        url: &Url,
        unread: Unread,
    ) -> Result<Walked, Failure> {
        let page = unread.web_page.as_ref();
        let Some(found) = page.and_then(|(page, base)| linked_feed(page, base)) else {
            return Err(unread.failure);
        };
        let shown = SafeUrl::new(&found);
        match self.walk(feed, &found).await {
            Ok(mut walked) => {
                let from = SafeUrl::new(url);
                walked.warn(format!(
                    "{from} is a web page; the feed it names was read instead: \
                     put {shown} into the catalog"
                ));
                Ok(walked)
            }
            Err(behind) => {
                let failure = unread.failure;
                let problem = format!("{failure}; it names {shown}, but {}", behind.failure);
                Err(Failure::new(failure.class, problem))
            }
        }
    }

    /// Tells of moves, and reads a feed where it says it lives now if that is the same show.
    async fn follow_move(&self, feed: &FeedSlug, url: &Url, mut old: Walked) -> Walked {
        let shown_old = SafeUrl::new(url);
        if old.is_moved {
            let shown_new = SafeUrl::new(&old.final_url);
            old.warn(format!(
                "the feed moved for good: replace {shown_old} by {shown_new} in the catalog"
            ));
        }
        let Some(target) = old.feed.moved_to.clone() else {
            return old;
        };
        let target_identity = feed_identity(&target);
        if [url, &old.final_url]
            .map(feed_identity)
            .contains(&target_identity)
        {
            return old;
        }
        let shown_new = SafeUrl::new(&target);
        match self.walk(feed, &target).await {
            Ok(mut new) if is_same_show(&old, &new) => {
                new.warn(format!(
                    "the feed says it moved: replace {shown_old} by {shown_new} in the catalog"
                ));
                // The old address stays in use until the catalog changes, and so does its copy.
                new.records.extend(old.records);
                new.is_kept &= old.is_kept;
                new.is_new |= old.is_new;
                if has_most_of(&old.feed, &new) {
                    new.add_missing(old.feed.episodes);
                }
                new
            }
            Ok(_) => {
                old.warn(format!(
                    "the feed says it moved to {shown_new}, which has other episodes; \
                     it was not followed: check whether that is the same show"
                ));
                old
            }
            Err(unread) => {
                old.warn(format!(
                    "the feed says it moved to {shown_new}, which cannot be read: {}",
                    unread.failure
                ));
                old
            }
        }
    }
}
