use super::*;

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn read(files: &[(&str, &str)]) -> Result<Catalog, CatalogError> {
    Catalog::read(folder(files).path())
}

/// The message about one file, with the folder cut off.
fn message(text: &str) -> String {
    let error = read(&[("tier1_feeds.yaml", text)]).unwrap_err().to_string();
    let (_, message) = error.split_once("tier1_feeds.yaml").unwrap();
    message.to_owned()
}

fn one(slug: &str, url: &str) -> String {
    format!("feeds:\n  - slug: {slug}\n    url: {url}\n")
}

#[test]
fn tiers_come_in_numeric_order_and_entries_in_file_order() {
    let catalog = read(&[
        ("tier10_feeds.yaml", &one("z", "https://e.com/z")),
        ("tier2_feeds.yml", &one("a", "https://e.com/a")),
        ("tier1_feeds.yaml", "feeds:\n  - slug: m\n    url: https://e.com/m\n    max_episodes: 3\n  - {slug: b, url: 'http://e.com/b', title: Bee}\n"),
        ("notes.yaml", "anything: [goes"),
    ])
    .unwrap();
    let order: Vec<_> = catalog
        .entries()
        .iter()
        .map(|e| (e.tier, e.slug.as_str()))
        .collect();
    assert_eq!(order, [(1, "m"), (1, "b"), (2, "a"), (10, "z")]);
    assert_eq!(catalog.entries()[0].max_episodes, NonZeroU32::new(3));
    assert_eq!(catalog.entries()[1].title.as_deref(), Some("Bee"));
}

#[test]
fn a_selection_keeps_the_order_and_refuses_unknown_names() {
    let text = "feeds:\n- {slug: b, url: https://e.com/b}\n- {slug: a, url: https://e.com/a}\n";
    let catalog = read(&[("tier1_feeds.yaml", text)]).unwrap();
    let slug = |text: &str| FeedSlug::try_new(text).unwrap();
    let selected = catalog.select(&[slug("a"), slug("b")]).unwrap();
    assert_eq!(selected, catalog);
    assert_eq!(catalog.select(&[slug("a"), slug("c")]), Err(slug("c")));
}

#[test]
fn mistakes_name_their_line() {
    let good = "feeds:\n  - slug: a\n    url: https://e.com/a\n";
    for (text, line, word) in [
        (format!("{good}    colour: red\n"), 4, "colour"),
        (format!("{good}    max_episodes: 0\n"), 4, "nonzero"),
        (
            format!("{good}  - slug: a\n    url: https://e.com/b\n"),
            4,
            "already taken",
        ),
        (
            format!("{good}  - slug: b\n    url: http://e.com/a/#x\n"),
            5,
            "also that of a",
        ),
        (one("../x", "https://e.com"), 2, "slug"),
        (one("a", "ftp://e.com/x"), 3, "ftp:"),
        (one("a", "e.com/x"), 3, "https://"),
        (one("a", "https://user:hunter2@e.com/x"), 3, "password"),
        ("feeds: []\n".to_owned(), 1, "empty"),
        ("# nothing\n".to_owned(), 2, "end of input"),
        ("feeds:\n  - slug: a\n".to_owned(), 2, "url"),
        ("feeds:\n  - [\n".to_owned(), 0, ""),
    ] {
        let message = message(&text);
        assert!(message.contains(word), "{text:?} -> {message}");
        assert!(!message.contains("hunter2"), "{message}");
        if line > 0 {
            assert!(
                message.starts_with(&format!(":{line}: ")),
                "{text:?} -> {message}"
            );
        }
    }
}

#[test]
fn case_123_a_slug_is_unique_across_files_and_both_places_are_named() {
    let error = read(&[
        ("tier1_feeds.yaml", &one("a", "https://e.com/a")),
        ("tier2_feeds.yaml", &one("a", "https://e.com/b")),
    ])
    .unwrap_err()
    .to_string();
    assert!(
        error.contains("tier2_feeds.yaml:2: slug a is already taken at "),
        "{error}"
    );
    assert!(error.contains("tier1_feeds.yaml:2;"), "{error}");
}

#[test]
fn case_123_bombs_are_refused() {
    let bomb = "feeds:\n- &a {slug: a, url: https://e.com/a}\n- *a\n";
    assert!(message(bomb).contains("anchor"), "{}", message(bomb));
    let deep = format!("feeds: {}", "[".repeat(5_000));
    assert!(read(&[("tier1_feeds.yaml", &deep)]).is_err());
    let large = "#".repeat(1024 * 1024 + 1);
    let error = read(&[("tier1_feeds.yaml", &large)]).unwrap_err();
    assert!(matches!(error, CatalogError::TooLarge(_)));
}

#[test]
fn case_123_a_slug_that_leaves_its_folder_is_refused() {
    for slug in ["../x", "..", ".", "a/b", "/etc", "a\\b", "A"] {
        let text = one(&format!("'{slug}'"), "https://e.com/f");
        let message = message(&text);
        assert!(message.starts_with(":2: feed slug"), "{slug} -> {message}");
    }
}

#[test]
fn case_037_addresses_are_taken_as_podcast_programs_write_them() {
    let text =
        "feeds:\n- {slug: a, url: 'feed://e.com/a'}\n- {slug: b, url: 'pcast:https://e.com/b'}\n";
    let catalog = read(&[("tier1_feeds.yaml", text)]).unwrap();
    let urls: Vec<_> = catalog.entries().iter().map(|e| e.url.as_str()).collect();
    assert_eq!(urls, ["https://e.com/a", "https://e.com/b"]);
    for scheme in ["data:text/xml,x", "file:///etc/passwd", "ftp://e.com/x"] {
        let message = message(&one("a", scheme));
        assert!(
            message.starts_with(":3: the url of a begins with"),
            "{message}"
        );
        assert!(message.contains("only http: and https:"), "{message}");
    }
    let twice = "feeds:\n- {slug: a, url: 'itpc://e.com/a'}\n- {slug: b, url: 'http://e.com/a'}\n";
    assert!(message(twice).contains("also that of a"));
}

#[test]
fn a_folder_without_catalog_is_told_apart_from_none() {
    assert!(matches!(read(&[]), Err(CatalogError::NoTierFile(_))));
    let missing = Path::new("/no/such/folder");
    assert!(matches!(
        Catalog::read(missing),
        Err(CatalogError::NoDirectory(_))
    ));
    for name in ["tier_feeds.yaml", "tier0_feeds.yaml", "tier1b_feeds.yaml"] {
        let error = read(&[(name, "feeds: []")]).unwrap_err();
        assert!(
            matches!(error, CatalogError::FileName(_)),
            "{name}: {error}"
        );
    }
    let twice = read(&[("tier1_feeds.yaml", ""), ("tier1_feeds.yml", "")]).unwrap_err();
    assert!(matches!(twice, CatalogError::FileName(_)));
}

#[test]
fn the_catalog_of_the_project_is_valid() {
    let catalog = Catalog::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/feeds"))).unwrap();
    assert!(catalog.entries().len() >= 20);
    let hosts: std::collections::HashSet<_> = catalog
        .entries()
        .iter()
        .map(|entry| {
            url::Url::parse(&entry.url)
                .unwrap()
                .host_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert!(
        hosts.len() >= 10,
        "a run should spread over hosts: {hosts:?}"
    );
}
