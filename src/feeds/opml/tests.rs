use super::*;

fn read(text: impl AsRef<[u8]>) -> Opml {
    read_opml(text.as_ref()).unwrap()
}

fn addresses(opml: &Opml) -> Vec<&str> {
    opml.outlines.iter().map(|o| o.address.as_str()).collect()
}

const NESTED: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<opml version="2.0"><head><title>Mine</title></head><body>
  <outline text="Folder"><outline text="Deeper">
    <outline type="rss" text="One" title="The One" xmlUrl="https://e.com/1?a=1&amp;b=2"/>
  </outline></outline>
  <!-- <outline xmlUrl="https://e.com/commented"/> -->
  <OUTLINE TYPE="rss" TEXT="Two &#233;" XMLURL=" https://e.com/2 "></OUTLINE>
</body></opml>"#;

#[test]
fn nested_outlines_come_in_file_order() {
    let opml = read(NESTED);
    assert_eq!(
        addresses(&opml),
        ["https://e.com/1?a=1&b=2", "https://e.com/2"]
    );
    let titles: Vec<_> = opml.outlines.iter().map(|o| o.title.as_str()).collect();
    assert_eq!(titles, ["The One", "Two é"]);
    assert!(opml.warnings.is_empty(), "{:?}", opml.warnings);
}

#[test]
fn case_124_neither_body_nor_mark_nor_lone_ampersands_matter() {
    let no_body = "<opml><outline xmlUrl='https://e.com/1' text='a & b &nbsp; c'/></opml>";
    assert_eq!(read(no_body).outlines[0].title, "a & b c");
    let with_mark = [b"\xef\xbb\xbf", NESTED.as_bytes()].concat();
    assert_eq!(read(with_mark), read(NESTED));
    let wide: Vec<u8> = std::iter::once(0xfeff)
        .chain(NESTED.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    assert_eq!(addresses(&read(wide)), addresses(&read(NESTED)));
    let address = read("<opml><outline xmlUrl='https://e.com/?a=1&b=2'/></opml>");
    assert_eq!(addresses(&address), ["https://e.com/?a=1&b=2"]);
}

#[test]
fn case_124_entities_are_never_expanded() {
    let opml = read(
        r#"<?xml version="1.0"?><!DOCTYPE opml [<!ENTITY xxe SYSTEM "file:///etc/passwd">
        <!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
        <opml><body><outline text="&xxe;&b;" xmlUrl="https://e.com/&xxe;"/></body></opml>"#,
    );
    assert_eq!(addresses(&opml), ["https://e.com/&xxe;"]);
    assert_eq!(opml.outlines[0].title, "&xxe;&b;");
}

#[test]
fn case_124_a_line_of_ten_megabytes_is_read_in_bounds() {
    let filler = "x".repeat(10 << 20);
    let long_value = format!("<opml><outline text='{filler}' xmlUrl='https://e.com/1'/></opml>");
    let opml = read(&long_value);
    assert_eq!(opml.outlines[0].title.len(), 200);
    let many = "<outline xmlUrl='https://e.com/1'/>".repeat(300_000);
    let opml = read(format!("<opml>{many}</opml>"));
    assert_eq!(opml.outlines.len(), MAX_OUTLINES);
    assert!(
        opml.warnings[0].contains("only the first 20000"),
        "{:?}",
        opml.warnings
    );
    let attributes = format!(
        "<outline {} xmlUrl='https://e.com/1'>",
        "a=1 ".repeat(2_000_000)
    );
    assert_eq!(read(attributes).outlines.len(), 1);
    let deep = format!(
        "{}<outline xmlUrl='https://e.com/1'/>",
        "<outline>".repeat(500_000)
    );
    assert_eq!(read(deep).outlines.len(), 1);
    assert_eq!(
        read_opml(&vec![b' '; MAX_OPML_BYTES + 1]),
        Err(OpmlError::TooLarge)
    );
}

#[test]
fn case_124_what_is_no_xml_is_searched_for_addresses() {
    let broken = r#"<opml><body><outline text="One" xmlUrl="https://e.com/1"/>
        <outline text="quote never closed xmlUrl="https://e.com/2">
        <outline text="Three"xmlUrl='https://e.com/3'/>
        <outline text="a <b> c" xmlUrl="https://e.com/4"
        <outline text="Five" xmlUrl="https://e.com/5"/></bo"#;
    let opml = read(broken);
    let found = addresses(&opml);
    for number in [1, 3, 4, 5] {
        let address = format!("https://e.com/{number}");
        assert!(
            found.contains(&address.as_str()),
            "{address} not in {found:?}"
        );
    }
    assert_eq!(opml.outlines[0].title, "One");
    let fragment = "<outline xmlUrl='https://e.com/1'> <outline xmlUrl='https://e.com/2'";
    assert_eq!(
        addresses(&read(fragment)),
        ["https://e.com/1", "https://e.com/2"]
    );
}

#[test]
fn case_124_a_file_without_feeds_is_refused() {
    for text in [
        "",
        " ",
        "<opml><body/></opml>",
        "<html>",
        "{}",
        "\0\u{1}",
        "<!--",
        "xmlUrl",
        "<outline xmlUrl=''/>",
    ] {
        assert_eq!(
            read_opml(text.as_bytes()),
            Err(OpmlError::NoFeeds),
            "{text}"
        );
    }
}
