use super::*;

fn list(outlines: &[(&str, &str)]) -> Opml {
    Opml {
        outlines: outlines
            .iter()
            .map(|(title, address)| Outline {
                title: (*title).to_owned(),
                address: (*address).to_owned(),
            })
            .collect(),
        warnings: Vec::new(),
    }
}

fn slugs(import: &Import) -> Vec<&str> {
    import.new.iter().map(|feed| feed.slug.as_str()).collect()
}

#[test]
fn slugs_come_from_titles_in_any_script_and_stay_apart() {
    let long = "A very long title of a show that goes on and on and on and never ends";
    let import = Import::plan(
        &list(&[
            ("Planet Money", "https://e.com/1"),
            ("Dan Carlin's Hardcore History: Addendum", "https://e.com/2"),
            ("Über Größe", "https://e.com/3"),
            ("Подлодка", "https://e.com/4"),
            ("planet  money!", "https://e.com/5"),
            ("", "https://feeds.e.com/6"),
            ("🎙", "https://e.com/7"),
            (long, "https://e.com/8"),
            ("../../etc", "https://e.com/9"),
            (&"x".repeat(100), "https://e.com/10"),
        ]),
        [],
    );
    assert_eq!(
        slugs(&import),
        [
            "planet-money",
            "dan-carlins-hardcore-history-addendum",
            "uber-grosse",
            "podlodka",
            "planet-money-2",
            "feeds-e-com",
            slugs(&import)[6],
            "a-very-long-title-of-a-show-that-goes-on-and-on",
            "etc",
            &"x".repeat(MAX_MADE),
        ]
    );
}

#[test]
fn what_is_known_repeated_or_no_address_is_counted_and_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tier1_feeds.yaml");
    fs::write(&path, "feeds:\n- {slug: show, url: https://e.com/a}\n").unwrap();
    let known = Catalog::read_file(&path).unwrap();
    let import = Import::plan(
        &list(&[
            ("Show", "http://e.com/a/"),
            ("Show", "feed://e.com/b"),
            ("Again", "https://e.com/b#top"),
            ("Local", "file:///etc/passwd"),
            ("Private", "https://me:hunter2@e.com/c"),
        ]),
        known.entries(),
    );
    assert_eq!(slugs(&import), ["show-2"]);
    assert_eq!((import.known, import.repeated), (1, 1));
    let refused: Vec<_> = import
        .refused
        .iter()
        .map(|feed| feed.title.as_str())
        .collect();
    assert_eq!(refused, ["Local", "Private"]);
    assert!(!format!("{import:?}").contains("hunter2"));
}

fn feeds(outlines: &[(&str, &str)]) -> Vec<NewFeed> {
    Import::plan(&list(outlines), []).new
}

const ODD: &[(&str, &str)] = &[
    ("true", "https://e.com/1"),
    ("123", "https://e.com/2?a=1&b=#: {}[]*&!|>%@"),
    ("null", "https://e.com/3"),
    (
        "\"quotes\" \\ 'n \u{85}\u{2028} - : # &a *a",
        "https://e.com/4",
    ),
    ("1e5", "https://e.com/5"),
];

#[test]
fn a_file_that_is_made_reads_back_whatever_the_titles_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tier7_feeds.yaml");
    let new = feeds(ODD);
    add_to_tier_file(&path, &new).unwrap();
    let catalog = Catalog::read(folder.path()).unwrap();
    for (entry, feed) in catalog.entries().iter().zip(&new) {
        assert_eq!(
            (&entry.slug, entry.url.as_str()),
            (&feed.slug, feed.url.as_str())
        );
        assert_eq!(entry.title.as_deref(), Some(feed.title.as_str()));
        assert_eq!(entry.tier, 7);
    }
    assert_eq!(catalog.entries().len(), ODD.len());
}

#[test]
fn a_file_that_exists_is_added_to_and_keeps_its_comments() {
    for old in [
        "# mine\nfeeds:\n  # first\n  - slug: a\n    url: https://e.com/a   # here\n",
        "feeds:\n- {slug: a, url: https://e.com/a}",
        "feeds:\n      - url: https://e.com/a\n        slug: a\n        max_episodes: 3\n\n# end\n",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tier1_feeds.yaml");
        fs::write(&path, old).unwrap();
        add_to_tier_file(&path, &feeds(ODD)).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(old), "{text}");
        assert_eq!(
            Catalog::read(folder.path()).unwrap().entries().len(),
            1 + ODD.len()
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

#[test]
fn a_file_that_cannot_be_added_to_stays_as_it_is() {
    let dup = "feeds:\n- {slug: etc, url: https://e.com/x}\n";
    let flow = "feeds: [{slug: a, url: https://e.com/x}]\n";
    for (old, problem) in [
        (flow, "not written with one"),
        (dup, "not written with one"),
        ("feeds: {}\n", "a file is a list"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tier1_feeds.yaml");
        fs::write(&path, old).unwrap();
        let error = add_to_tier_file(&path, &feeds(&[("etc", "https://e.com/n")])).unwrap_err();
        assert!(error.to_string().contains(problem), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), old);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

#[test]
fn two_imports_at_once_do_not_lose_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tier1_feeds.yaml");
    fs::write(partial_path(&path), "").unwrap();
    let error = add_to_tier_file(&path, &feeds(ODD)).unwrap_err();
    assert!(matches!(error, ImportError::Busy { .. }), "{error}");
    assert!(!path.exists());
}

#[test]
fn a_file_does_not_outgrow_what_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tier1_feeds.yaml");
    let many: Vec<_> = (0..12_000)
        .map(|n| {
            (
                format!("Show {n}"),
                format!("https://e.com/{}{n}", "x".repeat(60)),
            )
        })
        .collect();
    let many: Vec<_> = many.iter().map(|(t, u)| (t.as_str(), u.as_str())).collect();
    let error = add_to_tier_file(&path, &feeds(&many)).unwrap_err();
    assert!(matches!(error, ImportError::TooLarge(_)), "{error}");
}
