//! Character references: numeric ones, XML's five and HTML's two thousand. No document defines any:
//! a document type is passed over, so nothing that it declares is ever expanded or fetched.

use std::borrow::Cow;

use quick_xml::escape::resolve_html5_entity;

/// Longest name of a reference; HTML's longest has 31 letters.
const LONGEST: usize = 32;

/// What `&name;` stands for, or `None` where it stands for nothing.
pub(in crate::feeds) fn resolve(name: &str) -> Option<Cow<'static, str>> {
    let Some(number) = name.strip_prefix('#') else {
        return resolve_html5_entity(name).map(Cow::Borrowed);
    };
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => number.parse(),
    };
    let code = code.ok().filter(|_| !number.starts_with('+'))?;
    // 128 to 159 are control characters in Unicode; whoever writes them means windows-1252, which is
    // how browsers read them.
    if let Ok(byte @ 128..=159) = u8::try_from(code) {
        let byte = [byte];
        let (text, _) = encoding_rs::WINDOWS_1252.decode_without_bom_handling(&byte);
        return Some(Cow::Owned(text.into_owned()));
    }
    let character = char::from_u32(code).filter(|c| *c != '\0')?;
    Some(Cow::Owned(character.to_string()))
}

/// `text` with every known reference resolved, and how many `&` begin none. Those stay.
pub(in crate::feeds) fn decode(text: &str) -> (Cow<'_, str>, usize) {
    let Some(first) = text.find('&') else {
        return (Cow::Borrowed(text), 0);
    };
    let mut out = String::with_capacity(text.len());
    out.push_str(&text[..first]);
    let mut rest = &text[first..];
    let mut bad = 0;
    while let Some(after) = rest.strip_prefix('&') {
        let end = after
            .bytes()
            .take(LONGEST + 1)
            .position(|byte| byte == b';');
        match end.and_then(|end| Some((resolve(after.get(..end)?)?, end))) {
            Some((character, end)) => {
                out.push_str(&character);
                rest = &after[end + 1..];
            }
            None => {
                bad += 1;
                out.push('&');
                rest = after;
            }
        }
        let next = rest.find('&').unwrap_or(rest.len());
        out.push_str(&rest[..next]);
        rest = &rest[next..];
    }
    (Cow::Owned(out), bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved_once_and_the_rest_stays() {
        let decoded = |text| decode(text).0.into_owned();
        assert_eq!(decoded("a &amp; b &#38;&#x26; &eacute;"), "a & b && é");
        assert_eq!(decoded("&amp;amp; &amp;lt;"), "&amp; &lt;");
        assert_eq!(decoded("it&#146;s &#8217;"), "it\u{2019}s \u{2019}");
        for literal in [
            "Q & A", "&", "&;", "&#;", "&#x;", "&#0;", "&#xD800;", "&#+5;", "&nope;", "R&B; é",
        ] {
            let (text, bad) = decode(literal);
            assert_eq!((text.as_ref(), bad), (literal, 1));
        }
    }

    #[test]
    fn many_lone_ampersands_take_no_time() {
        let text = "&".repeat(1_000_000);
        assert_eq!(decode(&text).1, 1_000_000);
    }
}
