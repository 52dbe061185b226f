//! The bytes of a feed as text.
//!
//! A byte order mark decides, if the bytes fit it. Without one, bytes that are valid UTF-8 are UTF-8,
//! whatever the server or the document claims: text in another encoding that happens to be valid UTF-8
//! practically does not exist, while wrong labels are common. Only then do the `charset` of the content
//! type and the XML declaration count, in this order (RFC 7303); an encoding that does not fit the bytes
//! is passed over.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::repair::{Repair, Repairs};

/// Text without the control characters that XML forbids, and what was odd about it.
pub(super) struct Decoded<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) repairs: Repairs,
}

/// Decodes `bytes`; never fails, since the parser behind gives the better error.
pub(super) fn decode<'a>(bytes: &'a [u8], content_type: Option<&str>) -> Decoded<'a> {
    let mut repairs = Repairs::default();
    let mut text = utf_32(bytes, &mut repairs)
        .or_else(|| marked(bytes, &mut repairs))
        .unwrap_or_else(|| without_mark(after_mark(bytes), content_type, &mut repairs));
    // A mark within the text is a space of no width, and the reader behind would take the first one of
    // any piece for a mark.
    if memchr::memmem::find(text.as_bytes(), "\u{feff}".as_bytes()).is_some() {
        text.to_mut().retain(|c| c != '\u{feff}');
    }
    if has_forbidden(text.as_bytes()) {
        let before = text.len();
        text.to_mut().retain(|c| !is_forbidden(c));
        repairs.add(Repair::ControlCharacters, before - text.len());
    }
    Decoded { text, repairs }
}

/// UTF-32, which encoding_rs leaves out as browsers do: by its mark, or by the zeros of its first `<`.
fn utf_32<'a>(bytes: &[u8], repairs: &mut Repairs) -> Option<Cow<'a, str>> {
    let (big, from) = match bytes {
        [0xff, 0xfe, 0, 0, ..] => (false, 4),
        [0, 0, 0xfe, 0xff, ..] => (true, 4),
        [b'<', 0, 0, 0, ..] => (false, 0),
        [0, 0, 0, b'<', ..] => (true, 0),
        _ => return None,
    };
    let unit = |unit: &[u8]| {
        let unit = <[u8; 4]>::try_from(unit).ok()?;
        char::from_u32(if big {
            u32::from_be_bytes(unit)
        } else {
            u32::from_le_bytes(unit)
        })
    };
    let mut damaged = 0;
    let text = bytes[from..].chunks(4).map(|bytes| {
        unit(bytes).unwrap_or_else(|| {
            damaged += 1;
            char::REPLACEMENT_CHARACTER
        })
    });
    let text: String = text.collect();
    repairs.add(Repair::UndecodableBytes, damaged);
    Some(Cow::Owned(text))
}

/// By the byte order mark, unless the bytes do not fit it.
fn marked<'a>(bytes: &'a [u8], repairs: &mut Repairs) -> Option<Cow<'a, str>> {
    let (encoding, length) = Encoding::for_bom(bytes)?;
    let (text, damaged) = encoding.decode_without_bom_handling(&bytes[length..]);
    if !damaged {
        return Some(text);
    }
    let replaced = text.matches(char::REPLACEMENT_CHARACTER).count();
    // A few bad bytes in a long text are damage; a text full of them is in another encoding.
    if replaced > 16 && replaced * 50 > text.chars().count() {
        repairs.one(Repair::Encoding);
        return None;
    }
    repairs.add(Repair::UndecodableBytes, replaced);
    Some(text)
}

/// The bytes behind a byte order mark that turned out to be wrong.
fn after_mark(bytes: &[u8]) -> &[u8] {
    &bytes[Encoding::for_bom(bytes).map_or(0, |(_, length)| length)..]
}

fn without_mark<'a>(
    bytes: &'a [u8],
    content_type: Option<&str>,
    repairs: &mut Repairs,
) -> Cow<'a, str> {
    let labels = [content_type.and_then(charset), declared(bytes)];
    let labels = labels.map(|label| Encoding::for_label(label?.as_bytes()));
    // NUL and ESC are valid UTF-8, but in bulk they mean UTF-16 and ISO-2022-JP.
    let plain = memchr::memchr2(0, 0x1b, bytes).is_none();
    if plain && let Ok(text) = std::str::from_utf8(bytes) {
        let other = |label: &Encoding| label != UTF_8 && !bytes.is_ascii();
        repairs.add(
            Repair::Encoding,
            usize::from(labels.into_iter().flatten().any(other)),
        );
        return Cow::Borrowed(text);
    }
    let by_shape = match bytes {
        [b'<', 0, ..] => Some(UTF_16LE),
        [0, b'<', ..] => Some(UTF_16BE),
        _ => None,
    };
    let by_label = labels.into_iter().flatten();
    let by_label = by_label.filter(|encoding| ![UTF_16LE, UTF_16BE].contains(encoding));
    let mut candidates = by_shape.into_iter().chain(by_label).chain([UTF_8]);
    let first = candidates.clone().next();
    let fits = candidates.find_map(|encoding| {
        let text = encoding.decode_without_bom_handling_and_without_replacement(bytes)?;
        Some((encoding, text))
    });
    let Some((encoding, text)) = fits else {
        return guess(bytes, repairs);
    };
    repairs.add(Repair::Encoding, usize::from(Some(encoding) != first));
    text
}

/// No label fits. With at least one proper multi-byte sequence it is UTF-8 with damage, without any it
/// is the old Western default.
fn guess<'a>(bytes: &'a [u8], repairs: &mut Repairs) -> Cow<'a, str> {
    let lossy = String::from_utf8_lossy(bytes);
    if lossy
        .chars()
        .any(|c| !c.is_ascii() && c != char::REPLACEMENT_CHARACTER)
    {
        let replaced = lossy.matches(char::REPLACEMENT_CHARACTER).count();
        repairs.add(Repair::UndecodableBytes, replaced);
        return lossy;
    }
    repairs.one(Repair::Encoding);
    WINDOWS_1252.decode_without_bom_handling(bytes).0
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

/// ASCII control characters but white space. Those beyond ASCII hurt nobody here.
fn is_forbidden(c: char) -> bool {
    c.is_ascii_control() && !matches!(c, '\t' | '\n' | '\r')
}

/// Whether there is any. Goes block by block without a branch a byte, since the answer is nearly always
/// no.
fn has_forbidden(bytes: &[u8]) -> bool {
    bytes.chunks(4096).any(|block| {
        block.iter().fold(false, |found, byte| {
            let control = (*byte < 0x20) & (*byte != b'\t') & (*byte != b'\n') & (*byte != b'\r');
            found | control | (*byte == 0x7f)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8], content_type: Option<&str>) -> String {
        decode(bytes, content_type).text.into_owned()
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
        assert_eq!(decoded.repairs.count(Repair::Encoding), 1);
        let bytes = [&b"<a>\xc3\xa9\0"[..], b"\xff"].concat();
        let mixed = decode(&bytes, None);
        assert_eq!(mixed.text, "<a>é\u{fffd}");
    }

    #[test]
    fn control_characters_are_dropped() {
        assert_eq!(text(b"a\x00\x0b\x1bb\tc\n", None), "ab\tc\n");
    }
}
