//! Items that may hold anything, as values, and values as items.

use std::fmt::Display;
use std::str::FromStr;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};

use super::Item;

/// What is wrong with an item.
pub type Problem = Box<dyn std::error::Error + Send + Sync>;

/// An item that is being put together. A value that is not there is an attribute that is not there.
#[derive(Debug, Clone, Default)]
pub struct Attributes(Item);

impl Attributes {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A text. DynamoDB takes no empty text as a key, and any elsewhere.
    #[must_use]
    pub fn text(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0
            .insert(name.to_owned(), AttributeValue::S(value.into()));
        self
    }

    /// A text, where there is one.
    #[must_use]
    pub fn optional_text(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    /// A finite number.
    #[must_use]
    pub fn number(mut self, name: &str, value: impl Display) -> Self {
        self.0
            .insert(name.to_owned(), AttributeValue::N(value.to_string()));
        self
    }

    /// A time, as microseconds since 1970; finer parts are cut.
    #[must_use]
    pub fn time(self, name: &str, value: DateTime<Utc>) -> Self {
        self.number(name, value.timestamp_micros())
    }

    /// A time, where there is one.
    #[must_use]
    pub fn optional_time(self, name: &str, value: Option<DateTime<Utc>>) -> Self {
        match value {
            Some(value) => self.time(name, value),
            None => self,
        }
    }

    /// The item.
    pub fn into_item(self) -> Item {
        self.0
    }
}

/// An item that is being read. Every error names the attribute.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a>(&'a Item);

impl<'a> Fields<'a> {
    /// Reads `item`.
    pub fn of(item: &'a Item) -> Self {
        Self(item)
    }

    /// The text, where there is one.
    ///
    /// # Errors
    ///
    /// Where the attribute is no text.
    pub fn optional_text(&self, name: &str) -> Result<Option<&'a str>, Problem> {
        match self.0.get(name) {
            None => Ok(None),
            Some(AttributeValue::S(text)) => Ok(Some(text)),
            Some(_) => Err(format!("{name} is no text").into()),
        }
    }

    /// The text.
    ///
    /// # Errors
    ///
    /// Where there is none.
    pub fn text(&self, name: &str) -> Result<&'a str, Problem> {
        present(name, self.optional_text(name)?)
    }

    /// The number, where there is one.
    ///
    /// # Errors
    ///
    /// Where the attribute is no number, or none that an `N` holds.
    pub fn optional_number<N: FromStr<Err: Display>>(
        &self,
        name: &str,
    ) -> Result<Option<N>, Problem> {
        match self.0.get(name) {
            None => Ok(None),
            Some(AttributeValue::N(number)) => match number.parse() {
                Ok(value) => Ok(Some(value)),
                Err(error) => Err(format!("{name} {number}: {error}").into()),
            },
            Some(_) => Err(format!("{name} is no number").into()),
        }
    }

    /// The number.
    ///
    /// # Errors
    ///
    /// Where there is none.
    pub fn number<N: FromStr<Err: Display>>(&self, name: &str) -> Result<N, Problem> {
        present(name, self.optional_number(name)?)
    }

    /// The time that [`Attributes::time`] wrote, where there is one.
    ///
    /// # Errors
    ///
    /// Where the attribute is no number, or no time.
    pub fn optional_time(&self, name: &str) -> Result<Option<DateTime<Utc>>, Problem> {
        let Some(micros) = self.optional_number(name)? else {
            return Ok(None);
        };
        match DateTime::from_timestamp_micros(micros) {
            Some(at) => Ok(Some(at)),
            None => Err(format!("{name} {micros} is no time").into()),
        }
    }

    /// The time that [`Attributes::time`] wrote.
    ///
    /// # Errors
    ///
    /// Where there is none.
    pub fn time(&self, name: &str) -> Result<DateTime<Utc>, Problem> {
        present(name, self.optional_time(name)?)
    }
}

fn present<T>(name: &str, value: Option<T>) -> Result<T, Problem> {
    value.ok_or_else(|| format!("{name} is missing").into())
}

/// The key attributes as text, whatever they hold, short enough for a message.
pub(super) fn described(item: &Item, key: &[&str]) -> String {
    let shown = |name: &&str| match item.get(*name) {
        Some(AttributeValue::S(text)) => text.chars().take(120).collect(),
        Some(AttributeValue::N(number)) => number.chars().take(40).collect(),
        Some(_) => "(no text)".to_owned(),
        None => "(missing)".to_owned(),
    };
    format!("{:?}", key.iter().map(shown).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_their_attributes() {
        let at = DateTime::from_timestamp_micros(1_700_000_000_000_001).unwrap();
        for at in [at, DateTime::<Utc>::MAX_UTC, DateTime::<Utc>::MIN_UTC] {
            let attributes = Attributes::new()
                .text("name", "\u{1f399}")
                .optional_text("none", None)
                .number("count", u64::MAX)
                .time("at", at);
            let item = attributes.optional_time("never", None).into_item();
            assert_eq!(item.len(), 3);
            let fields = Fields::of(&item);
            assert_eq!(fields.text("name").unwrap(), "\u{1f399}");
            assert_eq!(fields.optional_text("none").unwrap(), None);
            assert_eq!(fields.number::<u64>("count").unwrap(), u64::MAX);
            let read = fields.time("at").unwrap();
            assert_eq!((at - read).num_microseconds(), Some(0));
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let item = Attributes::new()
            .number("count", "-1")
            .number("at", i64::MAX)
            .text("text", "x")
            .into_item();
        let fields = Fields::of(&item);
        let problems = [
            fields.number::<u64>("count").unwrap_err(),
            fields.time("at").unwrap_err(),
            fields.number::<u64>("text").unwrap_err(),
            fields.text("count").unwrap_err(),
            fields.text("missing").unwrap_err(),
        ];
        let problems = problems.map(|problem| problem.to_string());
        let names = [
            "count -1",
            "at 92",
            "text is no",
            "count is no",
            "missing is missing",
        ];
        for (problem, name) in problems.iter().zip(names) {
            assert!(problem.starts_with(name), "{problem}");
        }
    }

    #[test]
    fn a_key_is_shown_whatever_it_is() {
        let item = Attributes::new().text("pk", "ep#\n").into_item();
        assert_eq!(described(&item, &["pk", "sk"]), "\"ep#\\n (missing)\"");
    }
}
