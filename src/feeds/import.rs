//! Feeds from elsewhere made entries of a tier file.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use url::Url;

use super::address::{AddressProblem, feed_address, feed_identity};
use super::catalog::{Catalog, CatalogEntry, CatalogError, MAX_FILE_BYTES};
use super::opml::{Opml, Outline};
use crate::domain::FeedSlug;
use crate::runtime::http::SafeUrl;

/// A feed that is new to the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFeed {
    /// Made from its title, and free.
    pub slug: FeedSlug,
    /// Where it is.
    pub url: Url,
    /// What it is called; may be empty.
    pub title: String,
}

/// A feed that cannot be taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedFeed {
    /// What it is called; may be empty.
    pub title: String,
    /// Where it says it is, without secrets.
    pub shown: SafeUrl,
    /// Why.
    pub problem: AddressProblem,
}

/// What of a list is new.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Import {
    /// To be written, in the order of the list.
    pub new: Vec<NewFeed>,
    /// How many are in the catalog already.
    pub known: u64,
    /// How many stand in the list twice.
    pub repeated: u64,
    /// Those that cannot be fetched.
    pub refused: Vec<RefusedFeed>,
}

impl Import {
    /// Compares `list` with the feeds that there are.
    pub fn plan<'a>(list: &Opml, known: impl IntoIterator<Item = &'a CatalogEntry>) -> Self {
        let mut import = Self::default();
        let mut slugs = Taken::default();
        let mut present = HashSet::new();
        for entry in known {
            slugs.slugs.insert(entry.slug.as_str().to_owned());
            // The catalog holds nothing but addresses of feeds.
            present.extend(Url::parse(&entry.url).ok().map(|url| feed_identity(&url)));
        }
        let mut seen = HashSet::new();
        for outline in &list.outlines {
            match feed_address(&outline.address) {
                Err(problem) => import.refused.push(RefusedFeed::new(outline, problem)),
                Ok(url) if present.contains(&feed_identity(&url)) => import.known += 1,
                Ok(url) if !seen.insert(feed_identity(&url)) => import.repeated += 1,
                Ok(url) => {
                    let slug = free_slug(&outline.title, &url, &mut slugs);
                    let title = outline.title.clone();
                    import.new.push(NewFeed { slug, url, title });
                }
            }
        }
        import
    }
}

impl RefusedFeed {
    fn new(outline: &Outline, problem: AddressProblem) -> Self {
        Self {
            title: outline.title.clone(),
            shown: SafeUrl::from_text(&outline.address),
            problem,
        }
    }
}

/// Longest slug that is made of a title. Longer ones are allowed, but these become folder names.
const MAX_MADE: usize = 48;

/// Slugs that are in use, and the number to try next for each stem.
#[derive(Default)]
struct Taken {
    slugs: HashSet<String>,
    next: HashMap<String, u64>,
}

/// A slug from the title, else from the host, with a number where it is taken.
fn free_slug(title: &str, url: &Url, taken: &mut Taken) -> FeedSlug {
    let candidates = [title, url.host_str().unwrap_or_default(), "feed"];
    let mut stems = candidates.iter().map(|text| slug_text(text));
    let stem = stems.find(|stem| !stem.is_empty()).unwrap_or_default();
    // Where a list has thousands without a title, each search goes on where the last one ended.
    let next = taken.next.entry(stem.clone()).or_insert(2);
    let numbered = (*next..).map(|number| {
        *next = number + 1;
        format!("{stem}-{number}")
    });
    let names = std::iter::once(stem.clone()).chain(numbered);
    let free = names.map(FeedSlug::try_new).filter_map(Result::ok);
    let mut free = free.filter(|slug| taken.slugs.insert(slug.as_str().to_owned()));
    free.next()
        .unwrap_or_else(|| unreachable!("there is a number that is not taken"))
}

/// `text` in lower-case ASCII letters and digits, words joined by `-`, cut at a word.
fn slug_text(text: &str) -> String {
    let ascii = deunicode::deunicode(text).to_ascii_lowercase();
    let ascii = ascii.replace(['\'', '`'], "");
    let words = ascii.split(|c: char| !c.is_ascii_alphanumeric());
    let mut slug = String::new();
    for word in words.filter(|word| !word.is_empty()) {
        if slug.is_empty() {
            slug.extend(word.chars().take(MAX_MADE));
        } else if slug.len() + 1 + word.len() <= MAX_MADE {
            slug.push('-');
            slug.push_str(word);
        } else {
            break;
        }
    }
    slug
}

/// Why a tier file could not be written. It is as it was, whatever the reason.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read or written.
    #[error("cannot write {}: {problem}; check folder, permissions and space", file.display())]
    Write {
        /// Which.
        file: PathBuf,
        /// The system's words.
        problem: String,
    },
    /// Another import is writing it, or died doing so.
    #[error("another import writes {}; if none is running, delete {}", file.display(), partial.display())]
    Busy {
        /// Which.
        file: PathBuf,
        /// What marks it.
        partial: PathBuf,
    },
    /// The file is wrong as it is.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// It would grow beyond what is read.
    #[error("{} would be larger than 1 MiB; import into another tier, or split the list", .0.display())]
    TooLarge(PathBuf),
    /// Its list is not written one entry a line.
    #[error("cannot add to {}: its list is not written with one `- slug:` a feed; name another file", .0.display())]
    Form(PathBuf),
}

/// Adds `feeds` to the tier file at `path`, which is made where it is missing: what is in it stays byte
/// for byte, comments included. What comes out is read back before it takes the old file's place, in
/// one step. Blocks on the file system.
pub fn add_to_tier_file(path: &Path, feeds: &[NewFeed]) -> Result<(), ImportError> {
    let failed = |error: io::Error| ImportError::Write {
        file: path.to_owned(),
        problem: error.to_string(),
    };
    let partial = partial_path(path);
    // Before anything is read: what another import writes meanwhile would be lost.
    let file = fs::File::create_new(&partial).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => ImportError::Busy {
            file: path.to_owned(),
            partial: partial.clone(),
        },
        _ => failed(error),
    })?;
    let added = enlarged(path, feeds).and_then(|text| {
        let mut file = file;
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&partial, path))
            .map_err(failed)
    });
    if added.is_err() {
        // Best effort: the next import names it where it stays.
        let _ = fs::remove_file(&partial);
    }
    added
}

/// The text of the tier file with `feeds` behind what is in it.
fn enlarged(path: &Path, feeds: &[NewFeed]) -> Result<String, ImportError> {
    let failed = |error: io::Error| ImportError::Write {
        file: path.to_owned(),
        problem: error.to_string(),
    };
    let old = match path.try_exists().map_err(failed)? {
        true => Some(Catalog::read_file(path)?),
        false => None,
    };
    let old_text = match &old {
        Some(_) => fs::read_to_string(path).map_err(failed)?,
        None => String::new(),
    };
    let text = with_entries(&old_text, feeds);
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(ImportError::TooLarge(path.to_owned()));
    }
    check(path, &text, old.as_ref(), feeds)?;
    Ok(text)
}

fn partial_path(path: &Path) -> PathBuf {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    partial.into()
}

/// Fails unless `text` reads back as what was there and then `feeds`.
fn check(
    path: &Path,
    text: &str,
    old: Option<&Catalog>,
    feeds: &[NewFeed],
) -> Result<(), ImportError> {
    let broken = || ImportError::Form(path.to_owned());
    let read = Catalog::parse(path, text.as_bytes()).map_err(|_| broken())?;
    let old = old.map_or(&[][..], Catalog::entries);
    let (head, tail) = read
        .entries()
        .split_at_checked(old.len())
        .ok_or_else(broken)?;
    let is_same = |(read, new): (&CatalogEntry, &NewFeed)| {
        read.slug == new.slug && read.url == new.url.as_str()
    };
    let all_there = head == old && tail.len() == feeds.len();
    match all_there && tail.iter().zip(feeds).all(is_same) {
        true => Ok(()),
        false => Err(broken()),
    }
}

/// `old` with entries behind it, indented as its last one is.
fn with_entries(old: &str, feeds: &[NewFeed]) -> String {
    let mut text = old.to_owned();
    if text.is_empty() {
        text.push_str("feeds:\n");
    } else if !text.ends_with('\n') {
        text.push('\n');
    }
    let last_entry = old
        .lines()
        .rev()
        .find(|line| line.trim_start().starts_with("- "));
    let indent = last_entry.map_or("  ", |line| &line[..line.len() - line.trim_start().len()]);
    for feed in feeds {
        text += &format!("{indent}- slug: {}\n", slug_scalar(&feed.slug));
        text += &format!("{indent}  url: {}\n", quoted(feed.url.as_str()));
        if !feed.title.is_empty() {
            text += &format!("{indent}  title: {}\n", quoted(&feed.title));
        }
    }
    text
}

/// Plain where nobody can take it for a number or a truth value.
fn slug_scalar(slug: &FeedSlug) -> String {
    let text = slug.as_str();
    match text.contains('-') && text.starts_with(|c: char| c.is_ascii_lowercase()) {
        true => text.to_owned(),
        false => quoted(text),
    }
}

/// A string of JSON is one of YAML, once the line breaks that only YAML knows are escaped.
fn quoted(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    json.chars()
        .map(|c| match c {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                format!("\\u{:04x}", u32::from(c))
            }
            c => c.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests;
