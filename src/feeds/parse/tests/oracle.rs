//! The reader beside feed-rs, on feeds that both can read.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
struct Item {
    guid: String,
    title: String,
    path: String,
    cdata: bool,
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn document(items: &[Item]) -> String {
    let item = |item: &Item| {
        let title = match item.cdata {
            true => format!("<![CDATA[{}]]>", item.title.replace("]]>", "")),
            false => escaped(&item.title),
        };
        format!(
            "<item><!-- {} --><title>{title}</title><description><p>{0}</p></description>\
             <enclosure url=\"https://e.com/{}.mp3?a=1&amp;b=2\" length=\"5\" type=\"audio/mpeg\"/>\
             <guid isPermaLink=\"false\">{}</guid></item>",
            item.path.replace('-', ""),
            item.path,
            escaped(&item.guid)
        )
    };
    rss(&items.iter().map(item).collect::<String>())
}

fn any_item() -> impl Strategy<Value = Item> {
    // No references in titles: they are resolved once more here, on purpose.
    (
        "[a-z0-9 <>\"é中-]{1,12}x",
        "[A-Za-z0-9 .,<>\"é中'-]{0,20}",
        "[a-z0-9-]{1,12}",
        any::<bool>(),
    )
        .prop_map(|(guid, title, path, cdata)| Item {
            guid,
            title,
            path,
            cdata,
        })
}

proptest! {
    #[test]
    fn well_formed_rss_is_read_as_feed_rs_reads_it(mut items in prop::collection::vec(any_item(), 1..8)) {
        for (at, item) in items.iter_mut().enumerate() {
            item.guid = format!("{at} {}", item.guid);
        }
        let text = document(&items);
        let ours = parse(&text);
        prop_assert!(ours.repairs.is_empty(), "{:?}", ours.repairs);
        let theirs = feed_rs::parser::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(ours.episodes.len(), theirs.entries.len());
        for (ours, theirs) in ours.episodes.iter().zip(&theirs.entries) {
            prop_assert_eq!(ours.id.guid.as_str(), theirs.id.trim());
            let title = theirs.title.as_ref().map_or("", |title| &title.content);
            prop_assert_eq!(&ours.title, &crate::feeds::episodes::clean_title(title));
            let file = &theirs.media[0].content[0];
            prop_assert_eq!(&ours.enclosure.url, file.url.as_ref().unwrap().as_str());
            prop_assert_eq!(ours.enclosure.length, file.size);
        }
    }

    #[test]
    fn no_text_breaks_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse_as(&bytes, None);
    }

    /// Pieces of feeds in any order, cut anywhere.
    #[test]
    fn no_shuffled_feed_breaks_the_reader(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "<rss>", "</rss>", "<channel>", "</channel>", "<item>", "</item>", "<title>", "</title>", "text", "<![CDATA[",
            "]]>", "<guid>", "</guid>", "<enclosure url=\"https://e.com/1.mp3\"/>", "<enclosure url='", "&amp;", "&", "<", ">", "<!--",
            "-->", "\u{feff}", "<image>", "<?x", "?>", "<!DOCTYPE [", "<a b=\"", "'", "é", "<itunes:title>", "</itunes:title>", "<podcast:liveItem>", "<entry>",
        ]), 0..60),
        cut in 0_usize..400,
    ) {
        let text = pieces.concat();
        let mut end = cut.min(text.len());
        while !text.is_char_boundary(end) {
            end += 1;
        }
        let _ = parse_as(&text.as_bytes()[..end], None);
    }

    /// Whatever stands behind an item's end, the item is there.
    #[test]
    fn an_item_survives_any_rubbish_behind_it(rubbish in "[<>a-z/\"'=&;! -]{0,60}") {
        let item = "<item><guid>first</guid><enclosure url=\"https://e.com/1.mp3\"/></item>";
        let feed = parse(&rss(&format!("{item}{rubbish}")));
        prop_assert_eq!(guids(&feed)[0], "first");
    }
}
