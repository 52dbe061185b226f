//! `podrun feeds import`

use std::io::Read;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use podrun::feeds::opml::MAX_OPML_BYTES;
use podrun::feeds::{
    Catalog, CatalogEntry, CatalogError, Import, NewFeed, add_to_tier_file, read_opml,
};
use podrun::runtime::http::SafeUrl;
use serde::Serialize;

use crate::args::{GlobalArguments, ImportArguments};
use crate::exit::{Code, Problem};
use crate::output::{self, text};
use crate::settings::Settings;

/// The result of an import.
#[derive(Debug, Serialize)]
struct ImportReport {
    /// The tier file.
    output: PathBuf,
    /// Whether nothing was changed.
    dry_run: bool,
    added: Vec<AddedFeed>,
    /// Feeds that the catalog had already.
    known: u64,
    /// Feeds that the list has twice.
    repeated: u64,
    refused: Vec<RefusedReport>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct AddedFeed {
    slug: String,
    title: String,
    /// Without secrets; the tier file has it in full.
    url: String,
}

#[derive(Debug, Serialize)]
struct RefusedReport {
    title: String,
    url: String,
    problem: String,
}

pub(super) fn run(
    global: &GlobalArguments,
    mut settings: Settings,
    options: &ImportArguments,
) -> anyhow::Result<Code> {
    if let Some(feeds) = &options.feeds {
        settings.feeds.clone_from(feeds);
    }
    let list = read_opml(&read_file(&options.file)?)
        .map_err(|error| Problem::preflight(format!("{} {error}", options.file.display())))?;
    let output = output_file(&settings, options);
    let known = known_feeds(&settings.feeds, &output)?;
    let import = Import::plan(&list, &known);
    if !options.dry_run && !import.new.is_empty() {
        write(&settings.feeds, &output, &import.new)?;
    }
    let code = match import.refused.is_empty() {
        true => Code::Done,
        false => Code::Partial,
    };
    let report = ImportReport::new(output, options.dry_run, import, list.warnings);
    output::print_result(global, &report, || report.text())?;
    Ok(code)
}

/// Never more than the largest list and a byte, whatever the file is.
fn read_file(file: &Path) -> Result<Vec<u8>, Problem> {
    let failed = |error: std::io::Error| {
        Problem::preflight(format!("cannot read {}: {error}", file.display()))
            .hint("name a file that a podcast program exported as OPML")
    };
    let opened = std::fs::File::open(file).map_err(failed)?;
    let mut bytes = Vec::new();
    let mut capped = opened.take(MAX_OPML_BYTES as u64 + 1);
    capped.read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn output_file(settings: &Settings, options: &ImportArguments) -> PathBuf {
    let tier = options.tier.unwrap_or(NonZeroU32::MIN);
    let output = options.output.clone();
    output.unwrap_or_else(|| Catalog::tier_file(&settings.feeds, tier))
}

/// The feeds of the catalog, and those of a file outside of it that is to be added to.
fn known_feeds(folder: &Path, output: &Path) -> Result<Vec<CatalogEntry>, Problem> {
    let mut known = match Catalog::read(folder) {
        Ok(catalog) => catalog.entries().to_vec(),
        Err(CatalogError::NoDirectory(_) | CatalogError::NoTierFile(_)) => Vec::new(),
        Err(error) => return Err(Problem::preflight(error).hint("correct it first")),
    };
    if output.exists() {
        let there = Catalog::read_file(output).map_err(Problem::preflight)?;
        known.extend(there.entries().iter().cloned());
    }
    Ok(known)
}

fn write(folder: &Path, output: &Path, feeds: &[NewFeed]) -> Result<(), Problem> {
    if output.parent() == Some(folder) {
        std::fs::create_dir_all(folder).map_err(|error| {
            Problem::preflight(format!(
                "cannot make the folder {}: {error}",
                folder.display()
            ))
        })?;
    }
    add_to_tier_file(output, feeds).map_err(Problem::preflight)
}

impl ImportReport {
    fn new(output: PathBuf, dry_run: bool, import: Import, warnings: Vec<String>) -> Self {
        let added = import.new.into_iter().map(|feed| AddedFeed {
            slug: feed.slug.to_string(),
            url: SafeUrl::new(&feed.url).to_string(),
            title: feed.title,
        });
        let refused = import.refused.into_iter().map(|feed| RefusedReport {
            title: feed.title,
            url: feed.shown.to_string(),
            problem: feed.problem.to_string(),
        });
        Self {
            output,
            dry_run,
            added: added.collect(),
            known: import.known,
            repeated: import.repeated,
            refused: refused.collect(),
            warnings,
        }
    }

    fn text(&self) -> String {
        let mut lines = String::new();
        for feed in &self.added {
            let title = text::short(&feed.title, 60);
            lines += &format!("+ {}  {}  {title}\n", feed.slug, text::printable(&feed.url));
        }
        for feed in &self.refused {
            let (title, url) = (text::short(&feed.title, 60), text::printable(&feed.url));
            lines += &format!(
                "refused {title} ({url}): its address {}\n",
                text::printable(&feed.problem)
            );
        }
        for warning in &self.warnings {
            lines += &format!("note: {}\n", text::printable(warning));
        }
        let verb = if self.dry_run { "would add" } else { "added" };
        let count = text::count(self.added.len() as u64, "feed");
        lines += &format!("{verb} {count} to {}", self.output.display());
        for (number, what) in [
            (self.known, "in the catalog already"),
            (self.repeated, "listed twice"),
            (self.refused.len() as u64, "refused"),
        ] {
            if number > 0 {
                lines += &format!(", {number} {what}");
            }
        }
        lines + "\n"
    }
}
