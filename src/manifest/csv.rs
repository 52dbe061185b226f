//! A manifest as CSV.
//!
//! ```text
//! feed_slug,guid,title,published,duration_s,enclosure_url,media_type,length,tier,season,number,alternates,transcripts
//! planet-money,42f2-...,How to fix it,2026-03-09T05:00:00Z,1520,https://...,audio/mpeg,24330111,1,,,,
//! ```
//!
//! UTF-8, comma, a header. Columns may come in any order; `feed_slug`, `guid` and `enclosure_url` are
//! required, so a list made by hand can be short. A column that is not known is passed over with a
//! warning: people add notes. Rows are worked on in the order of the file; of rows for the same
//! episode the first counts, with a warning. `alternates` and `transcripts` are JSON
//! arrays as in a job, or empty. A byte order mark is accepted, since Excel writes one.
//!
//! Titles come from strangers, and a spreadsheet runs a cell that begins with `=`, `+`, `-`, `@`, a tab
//! or a line break as a formula. Such a text, and one that begins with an apostrophe, is written with an
//! apostrophe before it; the reader takes the apostrophe off where one of these characters follows.
//! So every text comes back as it was, and `'tis` typed by hand stays `'tis`.

use std::collections::HashSet;
use std::fmt;
use std::io::{Read, Write};

use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, Utc};
use csv::StringRecord;
use serde::Serialize;
use sha2::{Digest, Sha256};
use url::Url;

use super::{DEFAULT_TIER, ManifestRow};
use crate::domain::{Enclosure, Episode, EpisodeId, FeedSlug, Guid};

/// The columns in the order they are written.
pub const COLUMNS: [&str; 13] = [
    "feed_slug",
    "guid",
    "title",
    "published",
    "duration_s",
    "enclosure_url",
    "media_type",
    "length",
    "tier",
    "season",
    "number",
    "alternates",
    "transcripts",
];
const REQUIRED: [&str; 3] = ["feed_slug", "guid", "enclosure_url"];

/// What is wrong with a manifest, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct CsvError {
    /// The file's name.
    pub file: String,
    /// The line on which the row begins, from 1; `None` where the whole file is meant.
    pub line: Option<u64>,
    /// The column, where one is meant.
    pub column: Option<&'static str>,
    /// What is wrong. Quotes nothing that may be secret.
    pub problem: String,
    /// What to do.
    pub fix: &'static str,
}

impl fmt::Display for CsvError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(formatter, ":{line}")?;
        }
        if let Some(column) = self.column {
            write!(formatter, ": column {column}")?;
        }
        write!(formatter, ": {}; {}", self.problem, self.fix)
    }
}

/// Writes header and rows. A small buffer is all the memory it takes.
pub fn write_manifest<'a>(
    rows: impl IntoIterator<Item = &'a ManifestRow>,
    output: impl Write,
) -> std::io::Result<()> {
    let mut writer = csv::Writer::from_writer(output);
    writer.write_record(COLUMNS)?;
    for row in rows {
        writer.write_record(fields(row))?;
    }
    writer.flush()
}

fn fields(row: &ManifestRow) -> [String; 13] {
    let episode = &row.episode;
    let date = |date: DateTime<Utc>| date.to_rfc3339_opts(SecondsFormat::AutoSi, true);
    [
        episode.id.feed_slug.to_string(),
        armoured(episode.id.guid.as_str()),
        armoured(&episode.title),
        episode.published.map(date).unwrap_or_default(),
        text_or_empty(episode.duration_s),
        episode.enclosure.url.clone(),
        armoured(episode.enclosure.media_type.as_deref().unwrap_or_default()),
        text_or_empty(episode.enclosure.length),
        row.tier.to_string(),
        text_or_empty(episode.season),
        text_or_empty(episode.number),
        json_or_empty(&episode.alternates),
        json_or_empty(&episode.transcripts),
    ]
}

fn json_or_empty(list: &[impl Serialize]) -> String {
    match list {
        [] => String::new(),
        list => serde_json::to_string(list).expect("texts and numbers always serialise"),
    }
}

fn text_or_empty(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn is_active(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '\''])
}

fn armoured(text: &str) -> String {
    let apostrophe = if is_active(text) { "'" } else { "" };
    format!("{apostrophe}{text}")
}

fn bare(text: &str) -> &str {
    text.strip_prefix('\'')
        .filter(|rest| is_active(rest))
        .unwrap_or(text)
}

/// Reads rows one by one, whatever the size of the file.
///
/// Ends after the first error: a manifest is either right or mended.
pub struct ManifestReader<R> {
    reader: csv::Reader<R>,
    file: String,
    /// Where each known column stands, in the order of [`COLUMNS`].
    places: [Option<usize>; 13],
    record: StringRecord,
    /// Digests of the episodes so far: guids may be long, and manifests too.
    seen: HashSet<[u8; 16]>,
    repeats: usize,
    unknown: Vec<String>,
    failed: bool,
}

impl<R> fmt::Debug for ManifestReader<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ManifestReader")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl<R: Read> ManifestReader<R> {
    /// Reads the header. `file` is the name that errors use.
    pub fn try_new(input: R, file: impl Into<String>) -> Result<Self, CsvError> {
        let file = file.into();
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::Headers)
            .from_reader(input);
        let header = reader.headers().map_err(|error| csv_error(&file, &error))?;
        let places = places(header, &file)?;
        let unknown = header.iter().filter(|name| !COLUMNS.contains(name));
        let unknown = unknown.map(str::to_owned).collect();
        Ok(Self {
            reader,
            file,
            places,
            record: StringRecord::new(),
            seen: HashSet::new(),
            repeats: 0,
            unknown,
            failed: false,
        })
    }

    /// What was odd so far; complete once the last row is read.
    pub fn warnings(&self) -> Vec<String> {
        let file = &self.file;
        let unknown = self.unknown.iter();
        let mut warnings: Vec<String> = unknown
            .map(|name| format!("{file}: column {name:?} is not known and was passed over"))
            .collect();
        if self.repeats > 0 {
            let repeats = self.repeats;
            warnings.push(format!(
                "{file}: {repeats} rows repeat an episode; the first of each counts"
            ));
        }
        warnings
    }

    fn next_row(&mut self) -> Result<Option<ManifestRow>, CsvError> {
        loop {
            let more = self.reader.read_record(&mut self.record);
            if !more.map_err(|error| csv_error(&self.file, &error))? {
                return Ok(None);
            }
            let row = RowFields {
                record: &self.record,
                places: &self.places,
                file: &self.file,
            };
            let row = row.read()?;
            if self.seen.insert(digest(&row.episode.id)) {
                return Ok(Some(row));
            }
            self.repeats += 1;
        }
    }
}

/// Tells episodes apart.
fn digest(episode: &EpisodeId) -> [u8; 16] {
    let digest = Sha256::digest(episode.to_string());
    let mut short = [0; 16];
    short.copy_from_slice(&digest[..16]);
    short
}

impl<R: Read> Iterator for ManifestReader<R> {
    type Item = Result<ManifestRow, CsvError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.next_row().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

fn places(header: &StringRecord, file: &str) -> Result<[Option<usize>; 13], CsvError> {
    let error = |column, problem: &str, fix| CsvError {
        file: file.to_owned(),
        line: Some(1),
        column,
        problem: problem.to_owned(),
        fix,
    };
    let one_column = header.len() == 1;
    if one_column && header.iter().any(|name| name.contains([';', '\t'])) {
        let problem = "the columns are separated by something else than a comma";
        return Err(error(None, problem, "save the file as CSV with commas"));
    }
    let mut places = [None; 13];
    for (place, known) in places.iter_mut().zip(COLUMNS) {
        let mut found = header.iter().enumerate().filter(|(_, name)| *name == known);
        *place = found.next().map(|(at, _)| at);
        if found.next().is_some() {
            return Err(error(
                Some(known),
                "occurs twice",
                "remove one of the two columns",
            ));
        }
        if place.is_none() && REQUIRED.contains(&known) {
            let fix = "the first line must name at least feed_slug, guid and enclosure_url";
            return Err(error(Some(known), "is missing", fix));
        }
    }
    Ok(places)
}

fn csv_error(file: &str, error: &csv::Error) -> CsvError {
    let (problem, fix) = match error.kind() {
        csv::ErrorKind::Utf8 { .. } => ("is not UTF-8".to_owned(), "save the file as CSV in UTF-8"),
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => (
            format!("the row has {len} fields, the header {expected_len}"),
            "put a text that holds commas, quotes or line breaks into double quotes",
        ),
        csv::ErrorKind::Io(error) => (error.to_string(), "check that the file is readable"),
        _ => (error.to_string(), "save the file as CSV in UTF-8"),
    };
    CsvError {
        file: file.to_owned(),
        line: error.position().map(csv::Position::line),
        column: None,
        problem,
        fix,
    }
}

/// One row on its way to a [`ManifestRow`].
struct RowFields<'a> {
    record: &'a StringRecord,
    places: &'a [Option<usize>; 13],
    file: &'a str,
}

impl RowFields<'_> {
    fn read(&self) -> Result<ManifestRow, CsvError> {
        let [
            slug,
            guid,
            title,
            published,
            duration,
            url,
            media_type,
            length,
            tier,
            season,
            number,
            alternates,
            transcripts,
        ] = COLUMNS;
        let feed_slug = FeedSlug::try_new(self.get(slug).trim())
            .map_err(|error| self.error(slug, error, "write the slug as in the catalog"))?;
        let guid = Guid::try_new(bare(self.get(guid)))
            .map_err(|error| self.error(guid, error, "copy the guid from the feed"))?;
        let published = self.parsed(
            published,
            date,
            "write it as 2026-03-09T05:00:00Z or leave it empty",
        )?;
        let whole = "write a whole number or leave it empty";
        let duration_s = self.parsed(duration, |text| text.parse().ok(), whole)?;
        let length = self.parsed(length, |text| text.parse().ok(), whole)?;
        let tier = self.parsed(tier, |text| text.parse().ok(), whole)?;
        let season = self.parsed(season, |text| text.parse().ok(), whole)?;
        let number = self.parsed(number, |text| text.parse().ok(), whole)?;
        let links = "write a JSON array of objects with a \"url\" or leave it empty";
        let alternates = self.parsed(alternates, |text| serde_json::from_str(text).ok(), links)?;
        let transcripts =
            self.parsed(transcripts, |text| serde_json::from_str(text).ok(), links)?;
        let media_type = bare(self.get(media_type));
        let url = self.url(url)?;
        Ok(ManifestRow {
            episode: Episode {
                id: EpisodeId { feed_slug, guid },
                title: bare(self.get(title)).to_owned(),
                published,
                duration_s,
                season,
                number,
                enclosure: Enclosure {
                    url,
                    media_type: (!media_type.is_empty()).then(|| media_type.to_owned()),
                    length,
                },
                alternates: alternates.unwrap_or_default(),
                transcripts: transcripts.unwrap_or_default(),
            },
            tier: tier.unwrap_or(DEFAULT_TIER),
        })
    }

    fn get(&self, column: &str) -> &str {
        let known = COLUMNS.iter().position(|name| *name == column);
        let place = known.and_then(|at| self.places[at]);
        place.and_then(|at| self.record.get(at)).unwrap_or_default()
    }

    fn parsed<T>(
        &self,
        column: &'static str,
        parse: impl Fn(&str) -> Option<T>,
        fix: &'static str,
    ) -> Result<Option<T>, CsvError> {
        let text = self.get(column).trim();
        if text.is_empty() {
            return Ok(None);
        }
        let start: String = text.chars().take(40).collect();
        let unreadable = || self.error(column, format!("cannot read {start:?}"), fix);
        parse(text).map(Some).ok_or_else(unreadable)
    }

    /// The address as it stands: it may be signed, and signatures cover every byte.
    fn url(&self, column: &'static str) -> Result<String, CsvError> {
        let text = self.get(column).trim();
        let web = |url: Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        if Url::parse(text).is_ok_and(web) {
            return Ok(text.to_owned());
        }
        let problem = if text.is_empty() {
            "is empty"
        } else {
            "is no web address"
        };
        Err(self.error(column, problem, "write it in full, beginning with https://"))
    }

    fn error(&self, column: &'static str, problem: impl ToString, fix: &'static str) -> CsvError {
        CsvError {
            file: self.file.to_owned(),
            line: self.record.position().map(csv::Position::line),
            column: Some(column),
            problem: problem.to_string(),
            fix,
        }
    }
}

/// RFC 3339, or a day, which begins at midnight UTC.
fn date(text: &str) -> Option<DateTime<Utc>> {
    let exact = DateTime::parse_from_rfc3339(text).ok();
    let day = || text.parse::<NaiveDate>().ok();
    exact
        .map(|date| date.with_timezone(&Utc))
        .or_else(|| Some(day()?.and_time(NaiveTime::MIN).and_utc()))
}

#[cfg(test)]
mod tests;
