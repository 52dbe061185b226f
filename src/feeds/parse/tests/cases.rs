//! Hostile feeds, by the numbers of the list in `appendix/hostile-inputs.md`.

use super::*;

/// A feed that is `rss` around one item.
fn with_root(root: &str) -> ParsedFeed {
    parse(&format!(
        "{root}<channel><title>S</title>{ITEM}</channel></rss>"
    ))
}

#[test]
fn case_001_rss_without_a_version_is_read() {
    let feed = with_root("<rss>");
    assert_eq!((feed.format, guids(&feed)), (FeedFormat::Rss, vec!["1"]));
    assert!(feed.repairs.is_empty());
    assert_eq!(
        guids(&with_root(
            r#"<rss xmlns="http://backend.userland.com/rss2">"#
        )),
        ["1"]
    );
}

#[test]
fn case_002_any_version_is_read() {
    for version in ["2.1", "2.01", "0.94", "0.93", "0.91", "99"] {
        assert_eq!(
            guids(&with_root(&format!("<rss version='{version}'>"))),
            ["1"]
        );
    }
}

fn duration_of(declaration: &str, element: &str) -> ParsedFeed {
    parse(&format!(
        r#"<rss {declaration}><channel><item><guid>1</guid><{element}>1:00</{element}>
        <enclosure url="https://e.com/1.mp3"/></item></channel></rss>"#
    ))
}

#[test]
fn case_003_the_itunes_namespace_is_known_in_any_spelling() {
    for uri in [
        "http://www.itunes.com/dtds/podcast-1.0.dtd",
        "http://www.itunes.com/DTDs/Podcast-1.0.dtd",
        "https://www.itunes.com/dtds/podcast-1.0.dtd/",
        " HTTP://WWW.ITUNES.COM/DTDS/PODCAST-1.0.DTD ",
    ] {
        let feed = duration_of(&format!("xmlns:itunes=\"{uri}\""), "itunes:duration");
        assert_eq!(feed.episodes[0].duration_s, Some(60), "{uri}");
        assert!(feed.repairs.is_empty());
    }
}

#[test]
fn case_004_an_undeclared_prefix_is_told_and_its_fields_are_kept() {
    let feed = duration_of("", "itunes:duration");
    assert_eq!(feed.episodes[0].duration_s, Some(60));
    assert_eq!(feed.repairs.count(Repair::UndeclaredPrefix), 1);
    assert_eq!(feed.warnings.len(), 1);
}

#[test]
fn case_005_another_prefix_counts_by_its_namespace() {
    let feed = duration_of(
        "xmlns:it='http://www.itunes.com/dtds/podcast-1.0.dtd'",
        "it:duration",
    );
    assert_eq!(feed.episodes[0].duration_s, Some(60));
    assert!(feed.repairs.is_empty());
}

#[test]
fn case_006_a_cut_feed_keeps_the_items_before_the_cut() {
    let whole = rss(&format!(
        "{}{}",
        item("1", "https://e.com/1.mp3"),
        r#"<item><title>a</title><description><![CDATA[text > more]]></description><guid>second</guid>
           <enclosure url="https://e.com/2.mp3"/></item>"#
    ));
    let second = whole.find("<item><title>").unwrap();
    for end in second..whole.len() {
        let feed = parse(&whole[..end]);
        assert!(
            guids(&feed) == ["1"] || guids(&feed) == ["1", "second"],
            "{end}"
        );
        assert!(
            feed.repairs.count(Repair::Truncated) > 0,
            "{end}: {:?}",
            feed.repairs
        );
    }
    let start = &whole[..whole.find("<item>").unwrap()];
    assert!(matches!(fail(start), ParseError::Malformed(_)));
}

#[test]
fn case_007_a_lone_ampersand_in_a_url_is_kept() {
    let feed = parse(&rss(&item("1 & 2", "https://e.com/1.mp3?a=1&b=2&amp;c=3")));
    assert_eq!(urls(&feed), ["https://e.com/1.mp3?a=1&b=2&c=3"]);
    assert_eq!(guids(&feed), ["1 & 2"]);
    assert_eq!(feed.repairs.count(Repair::BadReference), 1);
}

#[test]
fn case_008_html_entities_need_no_dtd() {
    let text = ITEM.replace(
        "<title>T",
        "<title>Caf&eacute;&nbsp;&mdash; &#8217;&#x2019;&#146;",
    );
    let feed = parse(&rss(&text));
    assert_eq!(feed.episodes[0].title, "Café — ’’’");
    assert!(feed.repairs.is_empty());
}

#[test]
fn case_009_a_double_escape_is_undone_once() {
    let feed = parse(&rss(&item("1", "https://e.com/1.mp3?a=1&amp;amp;b=2")));
    assert_eq!(urls(&feed), ["https://e.com/1.mp3?a=1&amp;b=2"]);
}

#[test]
fn case_010_attributes_need_no_space_between() {
    let item = r#"<item><guid>1</guid><enclosure url="https://e.com/1.mp3"length="5"type='audio/mpeg'/></item>"#;
    let feed = parse(&rss(item));
    assert_eq!(urls(&feed), ["https://e.com/1.mp3"]);
    assert_eq!(feed.episodes[0].enclosure.length, Some(5));
}

#[test]
fn case_011_control_characters_are_dropped() {
    let text = rss(ITEM).replace("<guid>1", "<guid>\u{0}1\u{b}\u{1b}");
    let feed = parse(&text);
    assert_eq!(guids(&feed), ["1"]);
    assert_eq!(feed.repairs.count(Repair::ControlCharacters), 3);
}

#[test]
fn case_012_byte_order_marks_decide() {
    let text = rss(&ITEM.replace("<title>T", "<title>é中"));
    let units = |to: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(to).collect::<Vec<u8>>();
    let points = |to: fn(u32) -> [u8; 4]| {
        text.chars()
            .flat_map(|c| to(u32::from(c)))
            .collect::<Vec<u8>>()
    };
    let (little, big) = (units(u16::to_le_bytes), units(u16::to_be_bytes));
    let (little4, big4) = (points(u32::to_le_bytes), points(u32::to_be_bytes));
    for bytes in [
        [&b"\xef\xbb\xbf"[..], text.as_bytes()].concat(),
        [&b"\xff\xfe"[..], &little].concat(),
        [&b"\xfe\xff"[..], &big].concat(),
        little,
        big,
        [&b"\xff\xfe\0\0"[..], &little4].concat(),
        [&b"\0\0\xfe\xff"[..], &big4].concat(),
        little4,
        big4,
    ] {
        let feed = parse_as(&bytes, Some("text/xml")).unwrap();
        assert_eq!(feed.episodes[0].title, "é中");
        assert!(feed.repairs.is_empty(), "{:?}", feed.repairs);
    }
}

fn titled(encoding: &str, title: &[u8]) -> Vec<u8> {
    let head = format!(
        "<?xml version='1.0' encoding='{encoding}'?><rss><channel><item><guid>1</guid><title>"
    );
    let tail = b"</title><enclosure url='https://e.com/1.mp3'/></item></channel></rss>";
    [head.as_bytes(), title, tail].concat()
}

#[test]
fn case_013_windows_1252_that_claims_utf_8_is_found_out() {
    let feed = parse_as(&titled("utf-8", b"caf\xe9 \x93x\x94"), None).unwrap();
    assert_eq!(feed.episodes[0].title, "café “x”");
    assert_eq!(feed.repairs.count(Repair::Encoding), 1);
}

#[test]
fn case_014_declared_encodings_are_read() {
    for (label, encoding, title) in [
        ("gb2312", encoding_rs::GBK, "播客节目"),
        ("big5", encoding_rs::BIG5, "播客節目"),
        ("koi8-r", encoding_rs::KOI8_R, "подкаст"),
        ("shift_jis", encoding_rs::SHIFT_JIS, "ポッドキャスト"),
        ("iso-2022-jp", encoding_rs::ISO_2022_JP, "ポッドキャスト"),
        ("iso-8859-1", encoding_rs::WINDOWS_1252, "café"),
    ] {
        let (bytes, _, lossy) = encoding.encode(title);
        assert!(!lossy);
        let feed = parse_as(&titled(label, &bytes), None).unwrap();
        assert_eq!(feed.episodes[0].title, title, "{label}");
        assert!(feed.repairs.is_empty(), "{label}");
    }
}

#[test]
fn case_015_of_labels_that_disagree_the_first_that_fits_counts() {
    let title = |bytes: &[u8], header| {
        let feed = parse_as(bytes, header).unwrap();
        (
            feed.episodes[0].title.clone(),
            feed.repairs.count(Repair::Encoding),
        )
    };
    let koi8 = Some("text/xml; charset=koi8-r");
    // The mark before both labels.
    let marked = [&b"\xef\xbb\xbf"[..], &titled("gb2312", "é".as_bytes())].concat();
    assert_eq!(title(&marked, koi8), ("é".to_owned(), 0));
    // The header before the declaration.
    assert_eq!(
        title(&titled("iso-8859-1", b"\xd0\xcf\xc4"), koi8),
        ("под".to_owned(), 0)
    );
    // A label that does not fit is passed over and told: these bytes are no EUC-JP.
    let wrong = Some("text/xml; charset=euc-jp");
    assert_eq!(
        title(&titled("koi8-r", b"\xd0\xcf\xc4"), wrong),
        ("под".to_owned(), 1)
    );
    // UTF-8 that calls itself something else is UTF-8.
    assert_eq!(
        title(&titled("iso-8859-1", "é".as_bytes()), None),
        ("é".to_owned(), 1)
    );
    // A mark that does not fit is passed over.
    let latin = [
        &b"\xef\xbb\xbf"[..],
        &titled("iso-8859-1", &b"caf\xe9 ".repeat(40)),
    ]
    .concat();
    assert!(title(&latin, None).0.starts_with("café café"));
}

#[test]
fn case_016_something_before_the_declaration_is_no_matter() {
    for before in [
        "\n \t",
        "<!-- made by hand -->",
        "\u{feff}\n<!-- x -->\n",
        "<?php ?>",
    ] {
        assert_eq!(
            guids(&parse(&format!("{before}{}", rss(ITEM)))),
            ["1"],
            "{before:?}"
        );
    }
}

#[test]
fn case_017_a_billion_laughs_are_not_expanded() {
    let bomb = r#"<!DOCTYPE rss [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>"#;
    let text = format!(
        "{bomb}<rss><channel>{}</channel></rss>",
        ITEM.replace("<title>T", "<title>&c;")
    );
    let feed = parse(&text);
    assert_eq!(feed.episodes[0].title, "&c;");
    assert_eq!(feed.repairs.count(Repair::BadReference), 1);
}

#[test]
fn case_018_external_entities_are_never_fetched() {
    let doctype = r#"<!DOCTYPE rss SYSTEM "http://127.0.0.1:1/x.dtd" [<!ENTITY x SYSTEM "file:///etc/passwd">]>"#;
    let text = format!(
        "{doctype}<rss><channel>{}</channel></rss>",
        ITEM.replace("<title>T", "<title>&x;")
    );
    assert_eq!(parse(&text).episodes[0].title, "&x;");
}

#[test]
fn case_019_a_million_attributes_take_no_time() {
    let many = " a=\"b\"".repeat(1_000_000);
    let text = rss(&format!(
        "<item><guid>1</guid><enclosure url='https://e.com/1.mp3'{many}/></item>"
    ));
    let feed = parse(&text);
    assert_eq!(urls(&feed), ["https://e.com/1.mp3"]);
    assert_eq!(feed.repairs.count(Repair::TooManyAttributes), 1);
}

#[test]
fn case_020_a_million_namespaces_are_refused() {
    let many: String = (0..1_000_000)
        .map(|n| format!(" xmlns:p{n}='urn:x'"))
        .collect();
    let text = format!("<rss{many}><channel>{ITEM}</channel></rss>");
    assert!(matches!(fail(&text), ParseError::Malformed(_)));
    let spread: String = (0..2000)
        .map(|n| format!("<a xmlns:p{n}='urn:x'/>"))
        .collect();
    assert!(matches!(fail(&rss(&spread)), ParseError::Malformed(_)));
}

#[test]
fn case_021_bottomless_nesting_overflows_nothing() {
    let deep = r#"<itunes:category text="x">"#.repeat(100_000);
    let feed = parse(&rss(&format!("{ITEM}{deep}")));
    assert_eq!(guids(&feed), ["1"]);
    assert!(feed.repairs.count(Repair::TooDeep) > 0);
    let closed = format!("{deep}{}", "</itunes:category>".repeat(100_000));
    assert_eq!(guids(&parse(&rss(&format!("{closed}{ITEM}")))), ["1"]);
    assert_eq!(fail(&rss(&deep)).class(), FailureClass::NotAFeed);
}

#[test]
fn case_022_a_feed_over_the_cap_is_refused() {
    let large = vec![b' '; MAX_FEED_BYTES + 1];
    assert_eq!(parse_as(&large, None), Err(ParseError::TooLarge));
    assert_eq!(ParseError::TooLarge.class(), FailureClass::TooLarge);
}

#[test]
fn case_023_fifty_thousand_items_are_read() {
    let items: String = (0..50_000)
        .map(|n| item(&n.to_string(), &format!("https://e.com/{n}.mp3")))
        .collect();
    assert_eq!(parse(&rss(&items)).episodes.len(), 50_000);
}

#[test]
fn case_024_thirty_megabytes_of_text_are_passed_over() {
    let text = "<p>text & more</p>".repeat(30 * 1024 * 1024 / 18);
    let notes = format!("<content:encoded><![CDATA[{text}]]></content:encoded>");
    let feed = parse(&rss(&ITEM.replace("<guid>", &format!("{notes}<guid>"))));
    assert_eq!(guids(&feed), ["1"]);
    // A field that is read and as long is not kept.
    let title = format!("<title>{text}</title><itunes:title>short</itunes:title>");
    let feed = parse(&rss(&ITEM.replace("<title>T</title>", &title)));
    assert_eq!(feed.episodes[0].title, "short");
}

#[test]
fn case_032_items_outside_the_channel_are_read() {
    let feed = parse(&format!(
        "<rss><channel><title>S</title></channel>{ITEM}</rss>"
    ));
    assert_eq!((feed.title.as_str(), guids(&feed)), ("S", vec!["1"]));
    assert_eq!(feed.repairs.count(Repair::ItemsOutsideChannel), 1);
    // RDF has them there by rule.
    let rdf = parse(&format!(
        r#"<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/"
        xmlns:enc="http://purl.oclc.org/net/rss_2.0/enc#"><channel rdf:about="x"><title>S</title></channel>
        <item rdf:about="https://e.com/page"><dc:date>2026-03-01</dc:date>
        <enc:enclosure rdf:resource="https://e.com/2.mp3" enc:type="audio/mpeg" enc:length="9"/></item>{ITEM}</rdf:RDF>"#
    ));
    assert_eq!(
        (rdf.format, guids(&rdf)),
        (FeedFormat::Rdf, vec!["https://e.com/page", "1"])
    );
    assert_eq!(rdf.episodes[0].enclosure.length, Some(9));
    assert_eq!(rdf.repairs.count(Repair::ItemsOutsideChannel), 0);
    assert!(rdf.episodes[0].published.is_some());
}

#[test]
fn case_033_two_channels_are_both_read() {
    let other = item("2", "https://e.com/2.mp3");
    let feed = parse(&format!(
        "<rss><channel><title>A</title>{ITEM}</channel><channel><title>B</title>{other}</channel></rss>"
    ));
    assert_eq!((feed.title.as_str(), guids(&feed)), ("A", vec!["1", "2"]));
    assert_eq!(feed.repairs.count(Repair::SeveralChannels), 1);
}
