//! Numbers and names for people.

use std::time::Duration;

/// A text from a stranger, safe to print: no control characters, no direction overrides.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                '\u{fffd}'
            }
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// [`printable`], cut to `width` characters.
pub(crate) fn short(text: &str, width: usize) -> String {
    let text = printable(text);
    if text.chars().count() <= width {
        return text;
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// Bytes with a decimal unit.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{count} B"),
        _ => format!("{value:.1} {}", UNITS[unit]),
    }
}

/// `1:02:03`, or `2:03` below an hour.
pub(crate) fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// `1 episode`, `2 episodes`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        let sizes = [0, 999, 1000, 999_949, 999_950, 3_210_000_000];
        assert_eq!(
            sizes.map(bytes),
            ["0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "3.2 GB"]
        );
        let times = [5, 65, 3665].map(|s| clock(Duration::from_secs(s)));
        assert_eq!(times, ["0:05", "1:05", "1:01:05"]);
        assert_eq!(count(1, "episode"), "1 episode");
        assert_eq!(count(0, "episode"), "0 episodes");
    }

    #[test]
    fn titles_cannot_drive_the_terminal() {
        assert_eq!(
            printable("a\u{1b}[31m\u{202e}b\n"),
            "a\u{fffd}[31m\u{fffd}b\u{fffd}"
        );
        assert_eq!(short("abcdef", 4), "abc…");
    }
}
