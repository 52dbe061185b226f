//! Text on one line: what no format of lines can hold is taken out.

/// The words of `text` with one space between them: no line ends (U+2028 and the C0 and C1 controls
/// count as such for some reader), no doubled spaces. The no-break space stays: French and
/// typographers mean it.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    let words = text.split(is_break_or_space);
    // A no-break space alone is no word.
    for word in words.filter(|word| !word.trim().is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    // At the ends a no-break space means nothing, and alone on a line it ends a cue for some readers.
    line.trim().to_owned()
}

pub(super) fn is_break_or_space(character: char) -> bool {
    const NO_BREAK_SPACE: char = '\u{a0}';
    character.is_control() || (character.is_whitespace() && character != NO_BREAK_SPACE)
}

/// `hh:mm:ss` and milliseconds behind `point`; hours always stand and may have more than two digits.
pub(super) fn timestamp(total_ms: u64, point: char) -> String {
    let (total_s, ms) = (total_ms / 1000, total_ms % 1000);
    let (total_min, s) = (total_s / 60, total_s % 60);
    let (h, min) = (total_min / 60, total_min % 60);
    format!("{h:02}:{min:02}:{s:02}{point}{ms:03}")
}

/// `seconds` after cleaning: finite, not negative and below 2^53 ms.
pub(super) fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_break_becomes_a_space() {
        assert_eq!(one_line(" a\r\n\tb\u{2028}\0c \u{85}d "), "a b c d");
        assert_eq!(one_line("Oui\u{a0}! \u{a0} \n"), "Oui\u{a0}!");
    }

    #[test]
    fn long_recordings_have_long_hours() {
        assert_eq!(timestamp(360_000_001, ','), "100:00:00,001");
        assert_eq!(timestamp(61_500, '.'), "00:01:01.500");
    }
}
