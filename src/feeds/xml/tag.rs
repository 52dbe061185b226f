//! The attributes of a tag as people write them: without quotes, without a space between two, with
//! lone ampersands. Linear in the tag's length, and bounded in number.

use std::borrow::Cow;

use super::entity;

/// Most attributes that are looked at; real tags have up to a dozen, a root element two dozen.
pub(super) const MOST: usize = 256;

/// Goes through `raw`, which is the inside of a tag after its name.
pub(super) fn attributes(raw: &str) -> Attributes<'_> {
    Attributes {
        rest: raw,
        left: MOST,
    }
}

pub(super) struct Attributes<'a> {
    rest: &'a str,
    left: usize,
}

impl Attributes<'_> {
    /// Whether some were not looked at.
    pub(super) fn is_cut(&self) -> bool {
        self.left == 0 && !self.rest.trim_matches(is_filler).is_empty()
    }
}

fn is_filler(c: char) -> bool {
    c.is_ascii_whitespace() || matches!(c, '/' | ',')
}

/// Name as written, and raw value.
impl<'a> Iterator for Attributes<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let text = self
            .rest
            .trim_start_matches(|c| is_filler(c) || matches!(c, '=' | '"' | '\''));
        if self.left == 0 || text.is_empty() {
            return None;
        }
        self.left -= 1;
        let end = text.find(|c: char| c.is_ascii_whitespace() || matches!(c, '=' | '"' | '\''));
        let (name, rest) = text.split_at(end.unwrap_or(text.len()));
        let Some(value) = rest.trim_start().strip_prefix('=') else {
            self.rest = rest;
            return Some((name, ""));
        };
        let value = value.trim_start();
        let (value, rest) = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => quoted(&value[1..], quote),
            _ => {
                let end = value.find(|c: char| c.is_ascii_whitespace());
                value.split_at(end.unwrap_or(value.len()))
            }
        };
        self.rest = rest;
        Some((name, value))
    }
}

/// Splits after a value whose opening quote was taken. A value that ends with `=` has lost its closing
/// quote, and this is the opening one of the next attribute: `url="x length="5"`.
fn quoted(text: &str, quote: char) -> (&str, &str) {
    let (value, rest) = text.split_once(quote).unwrap_or((text, ""));
    match value.rfind(|c: char| c.is_ascii_whitespace()) {
        Some(space) if value.ends_with('=') => text.split_at(space),
        _ => (value, rest),
    }
}

/// The value of a raw attribute, trimmed, and how many `&` in it begin no known reference.
pub(super) fn value(raw: &str) -> (Cow<'_, str>, usize) {
    match entity::decode(raw.trim()) {
        (Cow::Borrowed(text), bad) => (Cow::Borrowed(text), bad),
        (Cow::Owned(text), bad) => (Cow::Owned(text.trim().to_owned()), bad),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(raw: &str) -> Vec<(&str, &str)> {
        attributes(raw).collect()
    }

    #[test]
    fn attributes_are_read_however_they_are_written() {
        let expected = [
            ("url", "http://e.com/?a=1&b=2"),
            ("length", "5"),
            ("type", "x"),
        ];
        for raw in [
            r#" url="http://e.com/?a=1&b=2" length="5" type="x"/"#,
            "\n url = 'http://e.com/?a=1&b=2'length=\"5\"type='x' ",
            r#" url=http://e.com/?a=1&b=2 length=5 type=x"#,
            r#" url="http://e.com/?a=1&b=2", length="5", type="x"#,
            r#" url="http://e.com/?a=1&b=2 length="5" type="x""#,
        ] {
            assert_eq!(read(raw), expected, "{raw}");
        }
        assert_eq!(
            read(" checked a='' = b"),
            [("checked", ""), ("a", ""), ("b", "")]
        );
        assert_eq!(read(" / "), []);
    }

    #[test]
    fn a_million_attributes_are_cut() {
        let raw = " a=\"b\"".repeat(1_000_000);
        let mut all = attributes(&raw);
        assert_eq!(all.by_ref().count(), MOST);
        assert!(all.is_cut());
        let mut few = attributes(" a='b' / ");
        assert_eq!(few.by_ref().count(), 1);
        assert!(!few.is_cut());
    }
}
