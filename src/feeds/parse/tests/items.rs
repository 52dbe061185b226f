//! Hostile items, by the numbers of the list in `appendix/hostile-inputs.md`, and broken tags.

use super::*;

#[test]
fn case_038_an_item_without_guid_and_link_has_the_same_id_in_every_run() {
    let text = rss(
        r#"<item><title>A</title><enclosure url="https://pdst.fm/e/cdn.example.com/a.mp3?t=1"/></item>"#,
    );
    assert_eq!(guids(&parse(&text)), ["url:cdn.example.com/a.mp3"]);
    assert_eq!(parse(&text), parse(&text));
    // Where only the query tells two files apart, it counts.
    let item =
        |id: u32| format!(r#"<item><enclosure url="https://e.com/get.mp3?id={id}"/></item>"#);
    let feed = parse(&rss(&[item(1), item(2), item(1)].concat()));
    assert_eq!(
        guids(&feed),
        ["url:e.com/get.mp3?id=1", "url:e.com/get.mp3?id=2"]
    );
}

#[test]
fn case_039_a_guid_that_two_items_share_is_kept_for_the_older() {
    let dated = |day: u32, file: &str| {
        format!(
            r#"<item><guid>g</guid><pubDate>2026-03-0{day}</pubDate><enclosure url="https://e.com/{file}.mp3"/></item>"#
        )
    };
    let (new, old) = (dated(2, "new"), dated(1, "old"));
    let feed = parse(&rss(&format!("{new}{old}")));
    let [first, second] = guids(&feed)[..] else {
        panic!()
    };
    assert_eq!(second, "g");
    assert!(first.starts_with("g~") && first.len() == 10, "{first}");
    assert_eq!(
        feed.warnings,
        ["1 items share their guid with another one; both were kept"]
    );
    // In another order, and beside others, each has the guid it had.
    let turned = parse(&rss(&format!("{}{old}{new}", dated(3, "newest"))));
    assert_eq!(guids(&turned)[1..], ["g", first]);
    // The same item twice is one.
    let twice = parse(&rss(&format!("{new}{new}")));
    assert_eq!(guids(&twice), ["g"]);
    assert_eq!(
        twice.warnings,
        ["1 items occur twice; the first of each was kept"]
    );
}

#[test]
fn case_043_guids_are_trimmed_and_case_counts() {
    let items = [
        item("a", "https://e.com/1.mp3"),
        item("A", "https://e.com/2.mp3"),
        item(" a\n", "https://e.com/1.mp3"),
    ];
    assert_eq!(guids(&parse(&rss(&items.concat()))), ["a", "A"]);
}

#[test]
fn case_044_of_several_enclosures_the_first_audio_is_taken_and_the_rest_recorded() {
    let feed = parse(&rss(
        r#"<item><guid>1</guid><enclosure url="https://e.com/1.pdf" type="application/pdf"/>
        <enclosure url="https://e.com/1.mp3" type="audio/mpeg"/><enclosure url="https://e.com/1.m4a" type="audio/mp4" length="3"/></item>"#,
    ));
    assert_eq!(urls(&feed), ["https://e.com/1.mp3"]);
    let alternates: Vec<_> = feed.episodes[0]
        .alternates
        .iter()
        .map(|file| file.url.as_str())
        .collect();
    assert_eq!(alternates, ["https://e.com/1.m4a"]);
}

#[test]
fn case_045_without_an_enclosure_other_links_to_media_count_in_order() {
    let feed = parse(&rss(
        r#"<item><guid>1</guid><link>https://e.com/page</link><media:group><media:title>M</media:title>
            <media:content url="https://e.com/1.jpg" medium="image"/><media:content url="https://e.com/1.mp3" type="audio/mpeg" fileSize="7"/></media:group></item>
        <item><guid>2</guid><link>https://e.com/2.mp3</link></item>
        <item><guid>3</guid><link>https://e.com/3</link></item>
        <item><guid>4</guid><media:content url="https://e.com/other.mp3"/><enclosure url="https://e.com/4.mp3"/></item>"#,
    ));
    assert_eq!(
        urls(&feed),
        [
            "https://e.com/1.mp3",
            "https://e.com/2.mp3",
            "https://e.com/4.mp3"
        ]
    );
    assert_eq!(
        (
            feed.episodes[0].title.as_str(),
            feed.episodes[0].enclosure.length
        ),
        ("M", Some(7))
    );
    assert_eq!(
        feed.warnings,
        [
            "1 items without an audio or video file were skipped",
            "2 items have no enclosure; another link to a media file was taken"
        ]
    );
}

#[test]
fn case_047_types_are_hints() {
    for kind in [
        "mp3",
        "audio/x-mpeg",
        "image/jpeg",
        "file",
        "",
        ";charset",
        "AUDIO/MPEG; x=y",
    ] {
        let feed = parse(&rss(&format!(
            r#"<item><guid>1</guid><enclosure url="https://e.com/1.mp3" type="{kind}"/></item>"#
        )));
        assert_eq!(urls(&feed), ["https://e.com/1.mp3"], "{kind}");
    }
}

#[test]
fn case_048_urls_are_resolved() {
    for (written, expected) in [
        ("/a/1.mp3", "https://feeds.example.com/a/1.mp3"),
        ("1.mp3", "https://feeds.example.com/show/1.mp3"),
        ("//e.com/1.mp3", "https://e.com/1.mp3"),
        ("https://e.com/a b.mp3", "https://e.com/a%20b.mp3"),
        ("https://e.com/é.mp3", "https://e.com/%C3%A9.mp3"),
        ("https://bücher.de/1.mp3", "https://xn--bcher-kva.de/1.mp3"),
        ("\n https://e.com/1.mp3\n", "https://e.com/1.mp3"),
        ("https://e.com/1.mp3#t=5", "https://e.com/1.mp3"),
    ] {
        assert_eq!(
            urls(&parse(&rss(&item("1", written)))),
            [expected],
            "{written:?}"
        );
    }
}

#[test]
fn case_050_a_playlist_is_no_episode() {
    let kinds = [
        "audio/x-mpegurl",
        "application/vnd.apple.mpegurl",
        "audio/mpegurl",
    ];
    for kind in kinds {
        let text = format!(
            r#"<item><guid>1</guid><enclosure url="https://e.com/1.mp3" type="{kind}"/></item>"#
        );
        assert_eq!(
            fail(&rss(&text)),
            ParseError::NoMedia {
                items: 1,
                next_page: None
            }
        );
    }
    assert_eq!(
        fail(&rss(&item("1", "https://e.com/1.m3u8"))),
        ParseError::NoMedia {
            items: 1,
            next_page: None
        }
    );
}

#[test]
fn case_051_what_is_neither_audio_nor_video_is_left_out() {
    let of = |name: &str| item(name, &format!("https://e.com/{name}"));
    let all = ["1.mp4", "2.pdf", "3.torrent", "4.pls", "5.mp3"]
        .map(of)
        .concat();
    assert_eq!(guids(&parse(&rss(&all))), ["1.mp4", "5.mp3"]);
}

#[test]
fn case_055_a_hostile_title_is_one_clean_line() {
    let evil = format!("a\u{202e}b&#27;[31m\u{9b}c\n{}", "x".repeat(10_000));
    let feed = parse(&rss(&ITEM.replace("<title>T", &format!("<title>{evil}"))));
    let title = &feed.episodes[0].title;
    assert!(title.starts_with("ab [31m c xxx"), "{title}");
    assert_eq!(title.chars().count(), 1000);
    assert!(!title.contains(char::is_control));
}

#[test]
fn a_tag_with_a_missing_quote_costs_its_item_at_most() {
    let good = item("2", "https://e.com/2.mp3");
    for broken in [
        r#"<item><guid>1</guid><enclosure url="https://e.com/1.mp3 length="5"/></item>"#,
        r#"<item><guid isPermaLink="false>1</guid><enclosure url="https://e.com/1.mp3"/></item>"#,
        "<item><title>I <3 you & <that></title><guid>1</guid><enclosure url='https://e.com/1.mp3'/></item>",
        "<item><title>no end<guid>1</guid><enclosure url='https://e.com/1.mp3'/></item>",
        "<item><guid>1<enclosure url='https://e.com/1.mp3'/></item>",
        "<item><guid>1</guid><enclosure url='https://e.com/1.mp3'>",
        "</item></x><item><guid>1</guid><![CDATA[<item>]]><description><p><b>text</p></description><enclosure url='https://e.com/1.mp3'/></item>",
        "<item><guid>1</guid><!-- a -- b --><enclosure url='https://e.com/1.mp3'/></item>",
    ] {
        let feed = parse(&rss(&format!("{broken}{good}")));
        assert_eq!(guids(&feed).last(), Some(&"2"), "{broken}");
        assert_eq!(guids(&feed)[0], "1", "{broken}");
    }
}

#[test]
fn an_element_of_the_channel_without_an_end_costs_no_item() {
    for open in [
        "<image><url>u</url>",
        "<itunes:owner>",
        "<cloud>",
        "<podcast:liveItem>",
        "<author>",
        "<x>",
    ] {
        let feed = parse(&rss(&format!(
            "{open}{ITEM}{}",
            item("2", "https://e.com/2.mp3")
        )));
        assert_eq!(guids(&feed), ["1", "2"], "{open}");
        assert!(feed.repairs.count(Repair::UnclosedElement) > 0);
    }
    let many = "<x>".repeat(300);
    assert_eq!(guids(&parse(&rss(&format!("{many}{ITEM}")))), ["1"]);
}

#[test]
fn marks_within_the_text_move_nothing() {
    let text = format!(
        "<rss><channel><\u{feff}>中< >{ITEM}<title>\u{feff}a\u{feff}b</title></channel></rss>"
    );
    assert_eq!(guids(&parse(&text)), ["1"]);
}

#[test]
fn only_an_items_own_id_is_its_guid() {
    let atom = parse(
        r#"<feed><entry><category><id>5</id></category><source><id>6</id></source><id>real</id>
        <link rel="enclosure" href="https://e.com/1.mp3"/></entry></feed>"#,
    );
    assert_eq!(guids(&atom), ["real"]);
}

#[test]
fn text_of_one_field_never_runs_into_another() {
    let feed = parse(&rss(
        "<item><title>A <b>bold</b> title<description>long text</description><guid>1</guid>
         <enclosure url='https://e.com/1.mp3'/><image><title>wrong</title></image></item>",
    ));
    assert_eq!(feed.episodes[0].title, "A bold title");
    let channel = parse(&format!(
        "<rss><channel><image><title>Image</title></image><title>Show</title>{ITEM}</channel></rss>"
    ));
    assert_eq!(channel.title, "Show");
}

#[test]
fn broken_tags_without_end_take_no_time() {
    for piece in [
        "<a '</",
        "<item ",
        "<![CDATA[",
        "<!--",
        "<a \"",
        "<guid '<item>",
        "<?",
        "<!DOCTYPE [",
        "&",
        "</a",
        "<>",
    ] {
        let text = rss(&format!("{ITEM}{}>", piece.repeat(300_000)));
        assert_eq!(guids(&parse(&text))[0], "1", "{piece}");
    }
}
