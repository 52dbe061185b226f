//! The bytes of a feed as text.
//!
//! A byte order mark decides. Without one, bytes that are valid UTF-8 are UTF-8, whatever the server or
//! the document claims: text in another encoding that happens to be valid UTF-8 practically does not
//! exist, while wrong labels are common. Only then do the `charset` of the content type and the XML
//! declaration count, in this order; an encoding that does not fit the bytes is passed over.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

/// Text without the control characters that XML forbids, and what was odd about its encoding.
pub(super) struct Decoded {
    pub(super) text: String,
    pub(super) warning: Option<String>,
}

/// Decodes `bytes`; never fails, since the parser behind gives the better error.
pub(super) fn decode(bytes: &[u8], content_type: Option<&str>) -> Decoded {
    let (mut text, warning) = match Encoding::for_bom(bytes) {
        Some((encoding, length)) => {
            let (text, damaged) = encoding.decode_without_bom_handling(&bytes[length..]);
            (text.into_owned(), damaged.then(|| damage(encoding)))
        }
        None => without_mark(bytes, content_type),
    };
    if text.contains(is_forbidden) {
        text.retain(|c| !is_forbidden(c));
    }
    Decoded { text, warning }
}

fn without_mark(bytes: &[u8], content_type: Option<&str>) -> (String, Option<String>) {
    // NUL and ESC are valid UTF-8, but in bulk they mean UTF-16 and ISO-2022-JP.
    let plain = !bytes.iter().any(|byte| matches!(byte, 0 | 0x1b));
    if plain && let Ok(text) = std::str::from_utf8(bytes) {
        return (text.to_owned(), None);
    }
    let by_shape = match bytes {
        [b'<', 0, ..] => Some(UTF_16LE),
        [0, b'<', ..] => Some(UTF_16BE),
        _ => None,
    };
    let by_label = [content_type.and_then(charset), declared(bytes)]
        .into_iter()
        .flatten()
        .filter_map(|label| Encoding::for_label(label.as_bytes()))
        .filter(|encoding| ![UTF_16LE, UTF_16BE].contains(encoding));
    for encoding in by_shape.into_iter().chain(by_label).chain([UTF_8]) {
        if let Some(text) = encoding.decode_without_bom_handling_and_without_replacement(bytes) {
            return (text.into_owned(), None);
        }
    }
    guess(bytes)
}

/// No label fits. With at least one proper multi-byte sequence it is UTF-8 with damage, without any it
/// is the old Western default.
fn guess(bytes: &[u8]) -> (String, Option<String>) {
    let lossy = String::from_utf8_lossy(bytes);
    if lossy.chars().any(|c| !c.is_ascii() && c != '\u{fffd}') {
        return (lossy.into_owned(), Some(damage(UTF_8)));
    }
    let (text, _) = WINDOWS_1252.decode_without_bom_handling(bytes);
    let warning = "the text is not in the encoding it claims; read as windows-1252";
    (text.into_owned(), Some(warning.to_owned()))
}

fn damage(encoding: &'static Encoding) -> String {
    let name = encoding.name();
    format!("some bytes are no {name}; they were replaced")
}

/// The `charset` parameter of a content type.
fn charset(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches(['"', '\'']);
        name.trim().eq_ignore_ascii_case("charset").then_some(value)
    })
}

/// The `encoding` of an XML declaration in the first 256 bytes.
fn declared(bytes: &[u8]) -> Option<&str> {
    let start = &bytes[..bytes.len().min(256)];
    let start = start.split(|byte| !byte.is_ascii()).next()?;
    let start = std::str::from_utf8(start).ok()?.trim_start();
    let declaration = start.strip_prefix("<?xml")?.split("?>").next()?;
    let (_, value) = declaration.split_once("encoding")?;
    let value = value.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    value[1..].split(quote).next()
}

fn is_forbidden(c: char) -> bool {
    (c.is_control() && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8], content_type: Option<&str>) -> String {
        decode(bytes, content_type).text
    }

    #[test]
    fn utf_16_is_read_with_and_without_a_mark() {
        let little: Vec<u8> = "<a>é</a>"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let big: Vec<u8> = "<a>é</a>"
            .encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect();
        assert_eq!(text(&little, None), "<a>é</a>");
        assert_eq!(text(&big, None), "<a>é</a>");
        assert_eq!(
            text(&[&[0xff, 0xfe], &little[..]].concat(), None),
            "<a>é</a>"
        );
        assert_eq!(text("\u{feff}<a/>".as_bytes(), None), "<a/>");
    }

    #[test]
    fn the_declaration_and_the_header_name_the_encoding() {
        let koi8 = b"<?xml version='1.0' encoding='koi8-r'?><a>\xd0\xcf\xc4</a>";
        assert!(text(koi8, None).ends_with("<a>под</a>"));
        let latin = b"<a>caf\xe9</a>";
        let header = Some("text/xml; charset=\"ISO-8859-1\"");
        assert_eq!(text(latin, header), "<a>café</a>");
    }

    #[test]
    fn valid_utf_8_beats_a_wrong_label() {
        let header = Some("text/xml; charset=iso-8859-1");
        assert_eq!(text("<a>é</a>".as_bytes(), header), "<a>é</a>");
    }

    #[test]
    fn a_wrong_claim_is_survived_and_told() {
        let decoded = decode(
            b"<?xml version='1.0' encoding='utf-8'?><a>caf\xe9</a>",
            None,
        );
        assert!(decoded.text.ends_with("<a>café</a>"));
        assert!(decoded.warning.is_some());
        let mixed = decode(
            "<a>é\u{0}"
                .as_bytes()
                .iter()
                .chain(b"\xff")
                .copied()
                .collect::<Vec<_>>()
                .as_slice(),
            None,
        );
        assert_eq!(mixed.text, "<a>é\u{fffd}");
    }

    #[test]
    fn control_characters_are_dropped() {
        assert_eq!(text(b"a\x00\x0b\x1bb\tc\n", None), "ab\tc\n");
    }
}
