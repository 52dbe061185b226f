//! Which shows there are: `tier1_feeds.yaml`, `tier2_feeds.yaml`, ... in one folder.
//!
//! ```yaml
//! feeds:
//!   - slug: planet-money                               # folder name of everything about the show
//!     url: https://feeds.npr.org/510289/podcast.xml
//!     title: Planet Money                              # optional, for people
//!     max_episodes: 200                                # optional, the newest so many
//! ```
//!
//! The files are written by hand and decide where every object lies, so reading is strict: an unknown
//! key, a slug or an address that occurs twice, an address with a password are errors that name the
//! line. Aliases are refused, which leaves nothing for an alias bomb to expand.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io::Read;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use super::address::{AddressProblem, feed_address, feed_identity};
use crate::domain::{FeedSlug, InvalidId};
use serde::Deserialize;
use serde_saphyr::Spanned;

/// Largest catalog file, in bytes: some ten thousand feeds.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// One show to follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogEntry {
    /// The operator's name for it.
    pub slug: FeedSlug,
    /// Where its feed is: `http` or `https`, without credentials, whatever scheme was written.
    pub url: String,
    /// What it is called, for people.
    pub title: Option<String>,
    /// Take only the newest so many episodes.
    pub max_episodes: Option<NonZeroU32>,
    /// The number in the file's name; a lower tier comes first.
    pub tier: u32,
}

/// All shows, ordered by tier and, within one, as in the file. Never empty; slugs and addresses are
/// unique.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    entries: Vec<CatalogEntry>,
}

impl Catalog {
    /// Reads every `tier<number>_feeds.yaml` of `directory`. Blocks on the file system.
    pub fn read(directory: &Path) -> Result<Self, CatalogError> {
        let files = tier_files(directory)?;
        let mut builder = Builder::default();
        for (tier, file) in files {
            let bytes = read_capped(&file)?;
            builder.add(tier, &file, &bytes)?;
        }
        Ok(Self {
            entries: builder.entries,
        })
    }

    /// Reads one file, whatever its name; its shows have the tier of the name, or 1.
    pub fn read_file(file: &Path) -> Result<Self, CatalogError> {
        Self::parse(file, &read_capped(file)?)
    }

    /// Reads what `file` holds, or will hold.
    pub(super) fn parse(file: &Path, bytes: &[u8]) -> Result<Self, CatalogError> {
        let name = file.file_name().and_then(|name| name.to_str());
        let tier = name.and_then(tier_text).and_then(tier_number);
        let mut builder = Builder::default();
        builder.add(tier.unwrap_or(1), file, bytes)?;
        Ok(Self {
            entries: builder.entries,
        })
    }

    /// Where the shows of `tier` stand in `directory`, or would stand.
    pub fn tier_file(directory: &Path, tier: NonZeroU32) -> PathBuf {
        let short = directory.join(format!("tier{tier}_feeds.yml"));
        match short.exists() {
            true => short,
            false => directory.join(format!("tier{tier}_feeds.yaml")),
        }
    }

    /// The shows in order.
    pub fn entries(&self) -> &[CatalogEntry] {
        &self.entries
    }

    /// The shows named, in catalog order; an unknown name is given back.
    pub fn select(&self, slugs: &[FeedSlug]) -> Result<Self, FeedSlug> {
        let known = |slug: &&FeedSlug| self.entries.iter().any(|entry| entry.slug == **slug);
        if let Some(unknown) = slugs.iter().find(|slug| !known(slug)) {
            return Err(unknown.clone());
        }
        let named = self
            .entries
            .iter()
            .filter(|entry| slugs.contains(&entry.slug));
        Ok(Self {
            entries: named.cloned().collect(),
        })
    }
}

/// A line of a catalog file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.file.display(), self.line)
    }
}

/// Why there is no catalog. Every message ends with what to do.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The folder is not there.
    #[error("there is no folder {}; name the one that holds the tier*_feeds.yaml files", .0.display())]
    NoDirectory(PathBuf),
    /// The folder holds no catalog file.
    #[error("{} holds no tier*_feeds.yaml; put the shows into tier1_feeds.yaml there", .0.display())]
    NoTierFile(PathBuf),
    /// The system refuses.
    #[error("cannot read {}: {problem}; check that it is a readable file", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// The system's words.
        problem: String,
    },
    /// The name has no usable number.
    #[error("{} has no tier number in its name; call it tier1_feeds.yaml, tier2_feeds.yaml and so on, one file a number", .0.display())]
    FileName(PathBuf),
    /// The file exceeds [`MAX_FILE_BYTES`].
    #[error("{} is larger than 1 MiB; split it into tiers", .0.display())]
    TooLarge(PathBuf),
    /// The file is not what it should be.
    #[error("{place}: {problem}")]
    Invalid {
        /// Where.
        place: Place,
        /// What.
        problem: CatalogProblem,
    },
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogProblem {
    /// No YAML, or not of this shape.
    #[error(
        "{0}; a file is a list `feeds:` of entries with `slug` and `url`, and optionally `title` and `max_episodes`"
    )]
    Syntax(String),
    /// The list is empty.
    #[error("the list of feeds is empty; add a feed or delete the file")]
    EmptyList,
    /// The slug cannot be a folder name.
    #[error("{0}; choose another")]
    Slug(#[source] InvalidId),
    /// The slug occurs twice.
    #[error("slug {slug} is already taken at {first}; rename one of them")]
    DuplicateSlug {
        /// Which.
        slug: FeedSlug,
        /// Where it occurred first.
        first: Place,
    },
    /// The address occurs twice.
    #[error("the url of {slug} is also that of {first_slug} at {first}; remove one of them")]
    DuplicateUrl {
        /// Whose.
        slug: FeedSlug,
        /// Whose as well.
        first_slug: FeedSlug,
        /// Where it occurred first.
        first: Place,
    },
    /// The address cannot be that of a feed.
    #[error("the url of {slug} {problem}")]
    Url {
        /// Whose.
        slug: FeedSlug,
        /// What is wrong with it.
        problem: AddressProblem,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    feeds: Spanned<Vec<EntryForm>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryForm {
    slug: Spanned<String>,
    url: Spanned<String>,
    title: Option<String>,
    max_episodes: Option<NonZeroU32>,
}

fn read_error(file: &Path, error: &std::io::Error) -> CatalogError {
    CatalogError::Read {
        file: file.to_owned(),
        problem: error.to_string(),
    }
}

/// The catalog files by tier.
fn tier_files(directory: &Path) -> Result<Vec<(u32, PathBuf)>, CatalogError> {
    if !directory.is_dir() {
        return Err(CatalogError::NoDirectory(directory.to_owned()));
    }
    let listing = fs::read_dir(directory).map_err(|error| read_error(directory, &error))?;
    let mut files = Vec::new();
    for item in listing {
        let item = item.map_err(|error| read_error(directory, &error))?;
        let name = item.file_name();
        let Some(number) = name.to_str().and_then(tier_text) else {
            continue;
        };
        let tier = tier_number(number).ok_or_else(|| CatalogError::FileName(item.path()))?;
        files.push((tier, item.path()));
    }
    files.sort();
    if let Some(pair) = files.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(CatalogError::FileName(pair[1].1.clone()));
    }
    if files.is_empty() {
        return Err(CatalogError::NoTierFile(directory.to_owned()));
    }
    Ok(files)
}

/// What stands for the number in the name of a catalog file.
fn tier_text(name: &str) -> Option<&str> {
    let stem = name
        .strip_suffix(".yaml")
        .or_else(|| name.strip_suffix(".yml"))?;
    stem.strip_prefix("tier")?.strip_suffix("_feeds")
}

fn tier_number(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| plain)
}

fn read_capped(file: &Path) -> Result<Vec<u8>, CatalogError> {
    let failed = |error| read_error(file, &error);
    // A pipe would block for ever, and a folder has no bytes.
    if !fs::metadata(file).map_err(failed)?.is_file() {
        return Err(read_error(
            file,
            &std::io::Error::other("not a regular file"),
        ));
    }
    let mut bytes = Vec::new();
    fs::File::open(file)
        .and_then(|opened| opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(CatalogError::TooLarge(file.to_owned()));
    }
    Ok(bytes)
}

fn read_form(bytes: &[u8]) -> Result<FileForm, serde_saphyr::Error> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_aliases: 0,
            max_anchors: 0,
            max_depth: 8,
            max_documents: 1,
        },
        with_snippet: false,
    };
    serde_saphyr::from_slice_with_options(bytes, options)
}

/// The reader's words without the place, which stands in front already.
fn without_place(message: &str) -> String {
    let end = message.rfind(" at line ").unwrap_or(message.len());
    message[..end].to_owned()
}

/// Collects entries and remembers where each slug and address came from.
#[derive(Default)]
struct Builder {
    entries: Vec<CatalogEntry>,
    slugs: HashMap<FeedSlug, Place>,
    urls: HashMap<String, (FeedSlug, Place)>,
}

impl Builder {
    fn add(&mut self, tier: u32, file: &Path, bytes: &[u8]) -> Result<(), CatalogError> {
        let place = |line| Place {
            file: file.to_owned(),
            line,
        };
        let form = read_form(bytes).map_err(|error| CatalogError::Invalid {
            place: place(
                error
                    .location()
                    .map_or(1, |location| location.line().max(1)),
            ),
            problem: CatalogProblem::Syntax(without_place(&error.to_string())),
        })?;
        if form.feeds.value.is_empty() {
            return Err(CatalogError::Invalid {
                place: place(form.feeds.referenced.line()),
                problem: CatalogProblem::EmptyList,
            });
        }
        for entry in form.feeds.value {
            let line = entry.slug.referenced.line();
            let url_line = entry.url.referenced.line();
            let slug = FeedSlug::try_new(entry.slug.value.as_str())
                .map_err(|error| (line, CatalogProblem::Slug(error)))
                .and_then(|slug| self.claim_slug(slug, place(line)).map_err(|p| (line, p)));
            let checked = slug.and_then(|slug| {
                self.claim_url(&slug, &entry.url.value, place(url_line))
                    .map(|url| (slug, url))
                    .map_err(|problem| (url_line, problem))
            });
            let (slug, url) = checked.map_err(|(line, problem)| CatalogError::Invalid {
                place: place(line),
                problem,
            })?;
            self.entries.push(CatalogEntry {
                slug,
                url,
                title: entry.title,
                max_episodes: entry.max_episodes,
                tier,
            });
        }
        Ok(())
    }

    fn claim_slug(&mut self, slug: FeedSlug, place: Place) -> Result<FeedSlug, CatalogProblem> {
        match self.slugs.insert(slug.clone(), place) {
            None => Ok(slug),
            Some(first) => Err(CatalogProblem::DuplicateSlug { slug, first }),
        }
    }

    fn claim_url(
        &mut self,
        slug: &FeedSlug,
        text: &str,
        place: Place,
    ) -> Result<String, CatalogProblem> {
        let url = feed_address(text).map_err(|problem| CatalogProblem::Url {
            slug: slug.clone(),
            problem,
        })?;
        let identity = feed_identity(&url);
        match self.urls.insert(identity, (slug.clone(), place)) {
            None => Ok(url.into()),
            Some((first_slug, first)) => Err(CatalogProblem::DuplicateUrl {
                slug: slug.clone(),
                first_slug,
                first,
            }),
        }
    }
}

#[cfg(test)]
mod tests;
