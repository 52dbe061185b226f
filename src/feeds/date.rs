//! Dates as feeds write them.
//!
//! RFC 2822 and ISO 8601 are the rule. Beside them: no weekday or a wrong one, no seconds, no zone
//! (read as UTC), zones by name, two-digit years, `24:00`, months in other languages. What cannot be
//! read is no date; it is never guessed to be now.

use chrono::{DateTime, Days, FixedOffset, NaiveDate, NaiveTime, TimeZone, Utc};

/// Reads a date; `None` where it is none.
pub(super) fn parse(text: &str) -> Option<DateTime<Utc>> {
    let text: String = text.trim().chars().take(80).collect();
    if let Ok(date) = DateTime::parse_from_rfc3339(&text) {
        return Some(date.to_utc());
    }
    let parts = Parts::of(&text);
    let date = parts.date()?;
    let (time, next_day) = match &parts.time {
        Some(time) => time_of_day(time, parts.is_afternoon)?,
        None => (NaiveTime::MIN, false),
    };
    let date = if next_day {
        date.checked_add_days(Days::new(1))?
    } else {
        date
    };
    let offset = parts.offset.unwrap_or(0);
    let zone = FixedOffset::east_opt(offset * 60)?;
    let local = zone.from_local_datetime(&date.and_time(time)).single()?;
    Some(local.to_utc())
}

/// The words of a date by what they look like.
#[derive(Default)]
struct Parts {
    /// Numbers that stand alone, in order: the day and the year.
    numbers: Vec<u32>,
    month: Option<u32>,
    /// Year, month and day of `2026-03-09`.
    iso: Option<(i32, u32, u32)>,
    time: Option<String>,
    /// Minutes east of Greenwich.
    offset: Option<i32>,
    /// `AM` or `PM`.
    is_afternoon: Option<bool>,
}

impl Parts {
    fn of(text: &str) -> Self {
        let mut parts = Self::default();
        for word in text.split(|c: char| c.is_whitespace() || c == ',') {
            parts.add(word.trim_matches(['(', ')', '.']));
        }
        parts
    }

    fn add(&mut self, word: &str) {
        let bytes = word.as_bytes();
        if let Some((date, time)) = word
            .split_once('T')
            .filter(|_| bytes.first().is_some_and(u8::is_ascii_digit))
        {
            self.add(date);
            return self.add(time);
        }
        if word.contains(':') && bytes[0].is_ascii_digit() {
            return self.add_time(word);
        }
        if let Ok(number) = word.parse() {
            // A sign makes it a zone.
            match bytes[0] {
                b'+' => self.offset = offset(word),
                _ => self.numbers.push(number),
            }
            return;
        }
        if word.eq_ignore_ascii_case("am") || word.eq_ignore_ascii_case("pm") {
            self.is_afternoon = Some(word.eq_ignore_ascii_case("pm"));
        } else if matches!(bytes.first(), Some(b'+' | b'-')) {
            self.offset = offset(word);
        } else if let Some(iso) = iso_date(word) {
            self.iso = Some(iso);
        } else if let Some((day, rest)) = word.split_once('-') {
            // `09-Mar-2026`
            self.add(day);
            self.add(rest);
        } else if let Some(minutes) = named_zone(word) {
            self.offset = Some(minutes);
        } else if let Some(month) = month(word) {
            // The last one: weekdays of other languages begin like months (`mar., 13 oct.`).
            self.month = Some(month);
        }
    }

    /// A time, with a zone behind it where there is no space between.
    fn add_time(&mut self, word: &str) {
        let end = word.find(|c: char| !c.is_ascii_digit() && !matches!(c, ':' | '.'));
        let (time, zone) = word.split_at(end.unwrap_or(word.len()));
        self.time = Some(time.to_owned());
        if !zone.is_empty() {
            self.offset = offset(zone).or_else(|| named_zone(zone));
        }
    }

    fn date(&self) -> Option<NaiveDate> {
        if let Some((year, month, day)) = self.iso {
            return NaiveDate::from_ymd_opt(year, month, day);
        }
        let (first, second) = (*self.numbers.first()?, *self.numbers.get(1)?);
        let (day, year) = if first > 31 {
            (second, first)
        } else {
            (first, second)
        };
        let year = match year {
            0..=68 => year + 2000,
            69..=99 => year + 1900,
            _ => year,
        };
        NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, self.month?, day)
    }
}

/// `2026-03-09` or `2026/03/09`.
fn iso_date(word: &str) -> Option<(i32, u32, u32)> {
    let mut fields = word.split(['-', '/']);
    let year = fields.next().filter(|year| year.len() == 4)?.parse().ok()?;
    let (month, day) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    fields.next().is_none().then_some((year, month, day))
}

/// The time, and whether it is the next day's first moment (`24:00`).
fn time_of_day(text: &str, is_afternoon: Option<bool>) -> Option<(NaiveTime, bool)> {
    let mut fields = text.split(':');
    let hour: u32 = fields.next()?.parse().ok()?;
    let hour = match is_afternoon {
        Some(is_afternoon) if hour <= 12 => hour % 12 + 12 * u32::from(is_afternoon),
        _ => hour,
    };
    let minute: u32 = fields.next()?.parse().ok()?;
    let second = fields.next().unwrap_or("0").split('.').next()?;
    // A leap second is the second before it.
    let second = second.parse::<u32>().ok()?.min(59);
    match (hour, minute, second) {
        (24, 0, 0) => Some((NaiveTime::MIN, true)),
        _ => Some((NaiveTime::from_hms_opt(hour, minute, second)?, false)),
    }
}

/// `+0100`, `-05:00`, `+01`, in minutes.
fn offset(text: &str) -> Option<i32> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits: String = text[1..].chars().filter(|c| *c != ':').collect();
    let number: i32 = digits.parse().ok()?;
    let minutes = match digits.len() {
        1 | 2 => number * 60,
        4 => number / 100 * 60 + number % 100,
        _ => return None,
    };
    (minutes < 24 * 60).then_some(sign * minutes)
}

/// Zones that feeds name, in minutes. Only those with one meaning in practice.
fn named_zone(name: &str) -> Option<i32> {
    const ZONES: [(&str, i32); 24] = [
        ("Z", 0),
        ("UT", 0),
        ("UTC", 0),
        ("GMT", 0),
        ("WET", 0),
        ("BST", 60),
        ("CET", 60),
        ("MEZ", 60),
        ("WEST", 60),
        ("CEST", 120),
        ("MESZ", 120),
        ("EET", 120),
        ("EEST", 180),
        ("MSK", 180),
        ("JST", 540),
        ("AEST", 600),
        ("AEDT", 660),
        ("EST", -300),
        ("EDT", -240),
        ("CST", -360),
        ("CDT", -300),
        ("MST", -420),
        ("PST", -480),
        ("PDT", -420),
    ];
    let upper = name.to_ascii_uppercase();
    let known = ZONES.iter().find(|(zone, _)| *zone == upper);
    known
        .map(|(_, minutes)| *minutes)
        .or((upper == "MDT").then_some(-360))
}

/// A month by its first letters, in English, German, French, Spanish, Italian, Portuguese or Dutch.
fn month(word: &str) -> Option<u32> {
    const MONTHS: [&[&str]; 12] = [
        &["jan", "jän", "ene", "gen"],
        &["feb", "fév", "fev"],
        &["mar", "mär", "mrz", "maa"],
        &["apr", "avr", "abr"],
        &["may", "mai", "mag", "mei"],
        &["jun", "juin", "giu"],
        &["jul", "juil", "lug"],
        &["aug", "aoû", "aou", "ago"],
        &["sep", "set"],
        &["oct", "okt", "ott", "out"],
        &["nov"],
        &["dec", "dez", "déc", "dic"],
    ];
    let lower = word.to_lowercase();
    let found = MONTHS
        .iter()
        .position(|names| names.iter().any(|name| lower.starts_with(name)));
    u32::try_from(found? + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        parse(text).map(|date| date.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
    }

    #[test]
    fn case_052_dates_are_read_as_feeds_write_them() {
        for (text, expected) in [
            ("Mon, 09 Mar 2026 05:00:00 -0500", "2026-03-09T10:00:00Z"),
            ("Mon, 9 Mar 2026 05:00:00 GMT", "2026-03-09T05:00:00Z"),
            ("Fri,09 Mar 2026 05:00:00 +0000", "2026-03-09T05:00:00Z"),
            ("9 Mar 26 05:00 EST", "2026-03-09T10:00:00Z"),
            ("Mon, 09 Mar 2026 05:00 PST", "2026-03-09T13:00:00Z"),
            ("Mon, 09 Mar 2026 05:00:00 CET", "2026-03-09T04:00:00Z"),
            ("Mon, 09 Mar 2026 05:00:00", "2026-03-09T05:00:00Z"),
            ("Mo, 09 März 2026 05:00:00 MEZ", "2026-03-09T04:00:00Z"),
            ("Di., 13 Okt. 2026 05:00:00 +0200", "2026-10-13T03:00:00Z"),
            ("lun., 09 févr. 2026 05:00:00 +0100", "2026-02-09T04:00:00Z"),
            ("Mon, 09 Mar 2026 24:00:00 +0000", "2026-03-10T00:00:00Z"),
            ("2026-03-09T05:00:00.123+01:00", "2026-03-09T04:00:00Z"),
            ("2026-03-09T05:00:00+0100", "2026-03-09T04:00:00Z"),
            ("2026-03-09 05:00:00", "2026-03-09T05:00:00Z"),
            ("2026-03-09T05:00Z", "2026-03-09T05:00:00Z"),
            ("2026-03-09", "2026-03-09T00:00:00Z"),
            ("mar., 13 oct. 2026 05:00:00 +0200", "2026-10-13T03:00:00Z"),
            ("maandag 9 okt 2026 05:00", "2026-10-09T05:00:00Z"),
            ("March 9, 2026 10:30 PM", "2026-03-09T22:30:00Z"),
            ("March 9, 2026 12:30 AM", "2026-03-09T00:30:00Z"),
            ("2026/03/09", "2026-03-09T00:00:00Z"),
            ("March 9, 2026", "2026-03-09T00:00:00Z"),
            ("09-Mar-2026 05:00:00 GMT", "2026-03-09T05:00:00Z"),
            ("Sat, 27 Jun 2026 23:59:60 GMT", "2026-06-27T23:59:59Z"),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn case_052_what_is_no_date_is_none() {
        for text in [
            "",
            "yesterday",
            "Mon, 09 Mar 2026 34:00:00 GMT",
            "Mon, 99 Mar 2026 04:00:00 GMT",
            "Mon, 09 Foo 2026 04:00:00 GMT",
            "09 Mar",
            "+ - : T 1T 1: :1 -",
            "Mon, 09 Mar 99999999999 04:00:00 GMT",
            "2026-13-09",
            "1:2:3:4",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
