//! Attributes of a tag, however it is written.
//!
//! For pages and files that no XML reader accepts, where the end of a tag has to be found too: quotes,
//! spaces and escapes may be missing. Linear in the text, and nothing is ever expanded but references
//! to characters.

use super::xml::entity;

/// The attributes of one tag: names as written, values unescaped.
pub(super) type Attributes<'a> = Vec<(&'a str, String)>;

/// The attributes of the tag whose text after its name is `text`, and what follows them: its `>`, the
/// `<` of the next tag where this one is not closed, or nothing.
pub(super) fn attributes(text: &str) -> (Attributes<'_>, &str) {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        rest = rest
            .trim_start_matches(|c: char| c.is_whitespace() || c == '/' || c == '"' || c == '\'');
        let end = rest
            .find(|c: char| c.is_whitespace() || matches!(c, '=' | '>' | '/' | '<'))
            .unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let after_spaces = after.trim_start();
        match after_spaces.strip_prefix('=') {
            Some(value) if !name.is_empty() => {
                let (value, behind) = value_of(value.trim_start());
                found.push((name, entity::decode(value).0.into_owned()));
                rest = behind;
            }
            // A name without a value, or no name at all.
            _ if !name.is_empty() => rest = after,
            _ => match rest.chars().next() {
                None | Some('>' | '<') => return (found, rest),
                Some(odd) => rest = &rest[odd.len_utf8()..],
            },
        }
    }
}

/// The value in front of `text` and what follows it.
fn value_of(text: &str) -> (&str, &str) {
    match text.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let inner = &text[1..];
            // No value may hold `<`, so the quote of one that does was never closed.
            match inner.find([quote, '<']) {
                Some(end) if inner[end..].starts_with(quote) => (&inner[..end], &inner[end + 1..]),
                _ => {
                    let value = bare(inner);
                    (value, &inner[value.len()..])
                }
            }
        }
        _ => {
            let value = bare(text);
            (value, &text[value.len()..])
        }
    }
}

fn bare(text: &str) -> &str {
    let end = text.find(|c: char| c.is_whitespace() || matches!(c, '>' | '<' | '"' | '\''));
    &text[..end.unwrap_or(text.len())]
}

/// The value of the first attribute called `name`, whatever its case.
pub(super) fn value<'a>(attributes: &'a [(&str, String)], name: &str) -> Option<&'a str> {
    let found = attributes
        .iter()
        .find(|(given, _)| given.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<(&str, String)> {
        attributes(text).0
    }

    fn pairs(expected: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        expected
            .iter()
            .map(|(n, v)| (*n, (*v).to_owned()))
            .collect()
    }

    #[test]
    fn well_formed_and_sloppy_tags_read_alike() {
        let expected = pairs(&[("rel", "alternate"), ("href", "/f?a=1&b=2")]);
        for text in [
            r#" rel="alternate" href="/f?a=1&amp;b=2"/>"#,
            r#"rel='alternate'href='/f?a=1&b=2'>"#,
            "\n rel = alternate\n href = /f?a=1&#38;b=2 >",
            r#" rel="alternate""href="/f?a=1&b=2" disabled / > title="not this""#,
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
        assert_eq!(
            of(r#" a="x > y" b=''>"#),
            pairs(&[("a", "x > y"), ("b", "")])
        );
    }

    #[test]
    fn what_is_broken_ends_the_tag_and_not_the_program() {
        assert_eq!(
            of(r#" a="1" b="never closed"#),
            pairs(&[("a", "1"), ("b", "never")])
        );
        assert_eq!(of(" = = >"), pairs(&[]));
        assert_eq!(of(""), pairs(&[]));
        assert_eq!(of("é=ü>"), pairs(&[("é", "ü")]));
    }
}
