//! JSON Feed, by feed-rs.
//!
//! feed-rs refuses a whole feed for one attachment without a type or one number where the standard
//! has a text, so such fields are put right before it reads. It also passes over `next_url`.

use feed_rs::model::Entry;
use feed_rs::parser::Builder;
use serde_json::{Map, Value};

use super::item::{FileRole, MAX_ITEMS, RawFeed, RawFile, RawItem, add_item, keep};
use super::repair::{Repair, Repairs};

/// Why JSON is no feed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum JsonProblem {
    /// JSON of another kind, or none.
    NotAFeed,
    /// A JSON Feed that cannot be read.
    Malformed(String),
}

/// Largest JSON Feed that is read, in bytes. As values it takes a multiple of its size in memory, and a
/// back catalogue of thousands of episodes with notes has a few megabytes.
const MAX_BYTES: usize = 16 << 20;

/// Reads a document.
pub(super) fn read(text: &str) -> Result<(RawFeed, Repairs), JsonProblem> {
    let mut repairs = Repairs::default();
    if text.len() > MAX_BYTES {
        let problem = format!("JSON of more than {} MiB", MAX_BYTES >> 20);
        return Err(JsonProblem::Malformed(problem));
    }
    let mut document: Map<String, Value> = match serde_json::from_str(text) {
        Ok(document) => document,
        Err(error) if text.contains("jsonfeed.org") => {
            return Err(JsonProblem::Malformed(error.to_string()));
        }
        Err(_) => return Err(JsonProblem::NotAFeed),
    };
    let version = document.get("version").and_then(Value::as_str);
    if !version.is_some_and(|version| version.contains("jsonfeed.org")) {
        return Err(JsonProblem::NotAFeed);
    }
    let mut feed = RawFeed::default();
    if let Some(next) = document.get("next_url").and_then(Value::as_str) {
        keep(&mut feed.next_page, next);
    }
    let hints = mend(&mut document, &mut repairs);
    let parsed = Builder::new()
        .id_generator(|_, _, _| String::new())
        .build()
        .parse(Value::Object(document).to_string().as_bytes())
        .map_err(|error| JsonProblem::Malformed(error.to_string()))?;
    if let Some(title) = &parsed.title {
        keep(&mut feed.title, &title.content);
    }
    for (entry, hints) in parsed.entries.iter().zip(hints) {
        add_item(&mut feed, item(entry, hints), &mut repairs);
    }
    Ok((feed, repairs))
}

/// What feed-rs does not hand on of an item, or reads more strictly than need be.
#[derive(Default)]
struct Hints {
    published: Option<String>,
    updated: Option<String>,
    duration: Option<String>,
}

impl Hints {
    fn of(item: &Map<String, Value>) -> Self {
        let text = |name| item.get(name).and_then(Value::as_str).map(str::to_owned);
        let files = item.get("attachments").and_then(Value::as_array);
        let durations = files
            .into_iter()
            .flatten()
            .filter_map(|file| file.get("duration_in_seconds"));
        Self {
            published: text("date_published"),
            updated: text("date_modified"),
            duration: durations.map(Value::to_string).next(),
        }
    }
}

/// Leaves the fields that are of use here, as feed-rs expects them; the others are so many ways to fail.
fn mend(document: &mut Map<String, Value>, repairs: &mut Repairs) -> Vec<Hints> {
    let mut items = objects(document.remove("items"), repairs);
    if items.len() > MAX_ITEMS {
        repairs.one(Repair::TooManyItems);
        items.truncate(MAX_ITEMS);
    }
    let hints = items.iter().map(Hints::of).collect();
    let items = items
        .into_iter()
        .map(|item| mended_item(item, repairs))
        .collect();
    texts(document, &["title"], repairs);
    document.entry("title").or_insert_with(|| "".into());
    document.insert(
        "version".to_owned(),
        "https://jsonfeed.org/version/1.1".into(),
    );
    document.insert("items".to_owned(), Value::Array(items));
    hints
}

fn mended_item(mut item: Map<String, Value>, repairs: &mut Repairs) -> Value {
    if let Some(number) = item.get("id").filter(|id| id.is_number()) {
        let id = number.to_string();
        repairs.one(Repair::JsonField);
        item.insert("id".to_owned(), id.into());
    }
    let files = objects(item.remove("attachments"), repairs);
    let files = files
        .into_iter()
        .filter_map(|file| mended_attachment(file, repairs));
    let files = files.collect();
    texts(&mut item, &["id", "url", "title"], repairs);
    item.insert("attachments".to_owned(), Value::Array(files));
    Value::Object(item)
}

fn mended_attachment(mut file: Map<String, Value>, repairs: &mut Repairs) -> Option<Value> {
    let length = file.remove("size_in_bytes");
    texts(&mut file, &["url", "mime_type"], repairs);
    if !file.contains_key("mime_type") {
        repairs.one(Repair::JsonField);
        file.insert("mime_type".to_owned(), "".into());
    }
    if let Some(length) = length.filter(Value::is_u64) {
        file.insert("size_in_bytes".to_owned(), length);
    }
    file.contains_key("url").then_some(Value::Object(file))
}

/// The objects of a list; anything else in it is passed over, as is anything else than a list.
fn objects(list: Option<Value>, repairs: &mut Repairs) -> Vec<Map<String, Value>> {
    let list = match list {
        None => return Vec::new(),
        Some(Value::Array(list)) => list,
        Some(other) => vec![other],
    };
    let objects = list.into_iter().filter_map(|value| match value {
        Value::Object(object) => Some(object),
        _ => {
            repairs.one(Repair::JsonField);
            None
        }
    });
    objects.collect()
}

/// Takes away all fields but those with one of `names` whose value is a text.
fn texts(fields: &mut Map<String, Value>, names: &[&str], repairs: &mut Repairs) {
    fields.retain(|name, value| {
        let known = names.contains(&name.as_str());
        repairs.add(
            Repair::JsonField,
            usize::from(known && !value.is_string() && !value.is_null()),
        );
        known && value.is_string()
    });
}

/// feed-rs makes links of attachments, and the page about the item a link without a type.
fn item(entry: &Entry, hints: Hints) -> RawItem {
    let mut item = RawItem {
        published: hints.published,
        updated: hints.updated,
        duration: hints.duration,
        ..RawItem::default()
    };
    keep(&mut item.guid, &entry.id);
    if let Some(title) = &entry.title {
        keep(&mut item.title, &title.content);
    }
    for link in &entry.links {
        match &link.media_type {
            Some(kind) => item.add_file(RawFile {
                role: FileRole::Enclosure,
                url: link.href.clone(),
                media_type: Some(kind.clone()).filter(|kind| !kind.is_empty()),
                length: link.length.map(|length| length.to_string()),
            }),
            None => keep(&mut item.link, &link.href),
        }
    }
    item
}
