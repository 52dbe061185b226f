use proptest::prelude::*;

use super::*;
use crate::manifest::episode_for_test;

const SHORT: &str = "feed_slug,guid,enclosure_url\n";

fn read(text: &[u8]) -> Result<(Vec<ManifestRow>, Vec<String>), CsvError> {
    let mut reader = ManifestReader::try_new(text, "m.csv")?;
    let rows = reader.by_ref().collect::<Result<_, _>>()?;
    Ok((rows, reader.warnings()))
}

fn written(rows: &[ManifestRow]) -> String {
    let mut bytes = Vec::new();
    write_manifest(rows, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn row(title: &str) -> ManifestRow {
    let mut episode = episode_for_test("show", "g", Some(1));
    episode.title = title.to_owned();
    ManifestRow { episode, tier: 1 }
}

#[test]
fn the_header_and_a_row_look_as_documented() {
    let text = written(&[row("One, \"two\"")]);
    assert_eq!(
        text,
        "feed_slug,guid,title,published,duration_s,enclosure_url,media_type,length,tier,season,number,alternates,transcripts\n\
         show,g,\"One, \"\"two\"\"\",2026-01-01T00:00:00Z,,https://show.example.com/g.mp3,,,1,,,,\n"
    );
    assert_eq!(read(text.as_bytes()).unwrap().0, [row("One, \"two\"")]);
}

#[test]
fn case_125_no_written_cell_is_a_formula() {
    for title in [
        "=cmd|' /C calc'!A0",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "'quoted",
        "''=1",
    ] {
        let mut evil = row(title);
        evil.episode.id.guid = Guid::try_new("=1+1").unwrap();
        evil.episode.enclosure.media_type = Some("-x".to_owned());
        let text = written(std::slice::from_ref(&evil));
        let mut cells = csv::Reader::from_reader(text.as_bytes());
        for cell in cells.records().next().unwrap().unwrap().iter() {
            assert!(
                !cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']),
                "{title:?} -> {cell:?}"
            );
        }
        assert_eq!(read(text.as_bytes()).unwrap().0, [evil]);
    }
}

#[test]
fn a_list_by_hand_is_read() {
    let text = "\u{feff} guid ,enclosure_url,note,feed_slug,published,title\r\n\
        a b,http://e.com/x?sig=%2F,mine,show,2026-03-09,'tis\r\n\
        a b,http://e.com/y,,show,,\r\n";
    let (rows, warnings) = read(text.as_bytes()).unwrap();
    assert_eq!(rows.len(), 1);
    let episode = &rows[0].episode;
    assert_eq!(episode.title, "'tis");
    assert_eq!(episode.enclosure.url, "http://e.com/x?sig=%2F");
    assert_eq!(
        episode.published.unwrap().to_rfc3339(),
        "2026-03-09T00:00:00+00:00"
    );
    assert_eq!(rows[0].tier, DEFAULT_TIER);
    assert_eq!(
        warnings,
        [
            "m.csv: column \"note\" is not known and was passed over",
            "m.csv: 1 rows repeat an episode; the first of each counts"
        ]
    );
}

#[test]
fn mistakes_name_line_column_and_fix() {
    let full = "feed_slug,guid,enclosure_url,published,length\n";
    for (text, start) in [
        (
            "",
            "m.csv:1: column feed_slug: is missing; the first line must",
        ),
        (
            "feed_slug;guid;enclosure_url\n",
            "m.csv:1: the columns are separated",
        ),
        (
            "guid,guid,feed_slug,enclosure_url\n",
            "m.csv:1: column guid: occurs twice; ",
        ),
        (
            &format!("{SHORT}a,g,https://e.com\n../x,g,https://e.com\n"),
            "m.csv:3: column feed_slug: feed slug \"../x\"",
        ),
        (
            &format!("{SHORT}a, ,https://e.com\n"),
            "m.csv:2: column guid: guid \"\" is empty; ",
        ),
        (
            &format!("{SHORT}a,g,file:///etc/passwd\n"),
            "m.csv:2: column enclosure_url: is no web address; ",
        ),
        (
            &format!("{SHORT}a,g\n"),
            "m.csv:2: the row has 2 fields, the header 3; ",
        ),
        (
            &format!("{full}a,g,https://e.com,soon,\n"),
            "m.csv:2: column published: cannot read \"soon\"; ",
        ),
        (
            &format!("{full}a,g,https://e.com,,-1\n"),
            "m.csv:2: column length: cannot read \"-1\"; ",
        ),
    ] {
        let message = read(text.as_bytes()).unwrap_err().to_string();
        assert!(message.starts_with(start), "{text:?} -> {message}");
    }
    let latin = [SHORT.as_bytes(), b"a,\xe9,https://e.com\n"].concat();
    assert!(
        read(&latin)
            .unwrap_err()
            .to_string()
            .contains("save the file as CSV in UTF-8")
    );
}

#[test]
fn an_address_is_never_quoted_in_an_error() {
    let text = format!("{SHORT}a,g,ftp://user:hunter2@e.com\n");
    assert!(
        !read(text.as_bytes())
            .unwrap_err()
            .to_string()
            .contains("hunter2")
    );
}

#[test]
fn nothing_follows_an_error() {
    let text = format!("{SHORT}a,g\nb,g,https://e.com\n");
    let rows: Vec<_> = ManifestReader::try_new(text.as_bytes(), "m")
        .unwrap()
        .collect();
    assert_eq!(rows.len(), 1);
}

/// Makes rows on demand, so that a reader that waited for the end would never return.
struct Endless(u64);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let text = match self.0 {
            0 => SHORT.to_owned(),
            number => format!("show,g{number},https://e.com/x.mp3\n"),
        };
        self.0 += 1;
        buffer[..text.len()].copy_from_slice(text.as_bytes());
        Ok(text.len())
    }
}

#[test]
fn rows_come_one_by_one() {
    let reader = ManifestReader::try_new(Endless(0), "endless").unwrap();
    let last = reader.take(100_000).last().unwrap().unwrap();
    assert_eq!(last.episode.id.guid.as_str(), "g100000");
}

proptest! {
    #[test]
    fn every_row_comes_back_as_it_was(
        title in any::<String>(),
        guid in "[=+@'\\-\\PC]{1,20}",
        media_type in prop::option::of("[=+@'\\-a-z/]{1,10}"),
        seconds in prop::option::of(0_i64..4_000_000_000),
        (duration_s, length, tier) in any::<(Option<u32>, Option<u64>, u32)>(),
    ) {
        prop_assume!(Guid::try_new(&guid).is_ok());
        let mut row = row(&title);
        row.tier = tier;
        row.episode.id.guid = Guid::try_new(&guid).unwrap();
        row.episode.published = seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        row.episode.duration_s = duration_s;
        row.episode.enclosure.media_type = media_type;
        row.episode.enclosure.length = length;
        let text = written(std::slice::from_ref(&row));
        prop_assert_eq!(read(text.as_bytes()).unwrap().0, [row]);
    }
}

#[test]
fn links_come_back_as_they_were() {
    let mut with = row("t");
    with.episode.season = Some(2);
    with.episode.alternates = vec![with.episode.enclosure.clone()];
    with.episode.transcripts = vec![crate::domain::TranscriptLink {
        url: "https://e.com/1.vtt?a=\"b\",c".to_owned(),
        media_type: Some("text/vtt".to_owned()),
        language: None,
    }];
    let text = written(std::slice::from_ref(&with));
    assert_eq!(read(text.as_bytes()).unwrap().0, [with]);
    let broken = format!("{},transcripts\nshow,g,https://e.com/1,[1]\n", SHORT.trim());
    assert_eq!(
        read(broken.as_bytes()).unwrap_err().column,
        Some("transcripts")
    );
}
