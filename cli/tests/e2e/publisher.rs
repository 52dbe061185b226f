//! What publishers offer and what they change: transcripts of their own, and feeds with other guids.

use std::fs;

use serde_json::Value;

use crate::context::{Context, fixture_model};
use crate::pipeline::{audio_key, guid};
use crate::speech;
use crate::web::{Nginx, rss};

const WORDS: &str = "These are the publisher's own words.";

#[test]
fn a_publishers_transcript_takes_the_models_place_where_that_is_asked_for() {
    let root = tempfile::tempdir().unwrap();
    let web = Nginx::serve(root.path(), None);
    fs::write(root.path().join("feed.xml"), feed(&web, root.path())).unwrap();
    let vtt = format!("WEBVTT\n\n00:00.000 --> 00:18.500\n{WORDS}\n");
    fs::write(root.path().join("0.vtt"), vtt).unwrap();

    let context = Context::new();
    context.catalog(&[("show", &web.url("feed.xml"))]);
    let fetched = context.podrun(&["fetch", "--json"]).expect_code(0);
    assert_eq!(fetched.json()["done"], 2, "{fetched:#?}");
    let raw = context.files("podrun-data/raw");
    let stored: Vec<_> = raw
        .keys()
        .filter(|key| key.contains("/transcripts/"))
        .collect();
    assert_eq!(
        stored,
        [&format!("show/{}/transcripts/publisher.vtt", guid(0))]
    );

    let model = fixture_model();
    let run = context
        .podrun(&[
            "transcribe",
            "--model",
            &model,
            "--reuse-transcripts",
            "--json",
        ])
        .expect_code(0);
    assert_eq!(run.json()["done"], 2, "{run:#?}");
    let transcript = |number: usize| -> Value {
        let key = format!(
            "podrun-data/stage/show/{}/transcripts/transcript.json",
            guid(number)
        );
        serde_json::from_str(&context.read(&key)).unwrap()
    };
    assert_eq!(transcript(0)["text"].as_str().unwrap().trim(), WORDS);
    // The second one's address leads nowhere: the model heard it.
    let heard = transcript(1)["text"].as_str().unwrap().to_owned();
    assert!(heard.len() > 50 && !heard.contains("publisher"), "{heard}");
}

#[test]
fn case_041_a_feed_with_other_guids_and_trackers_is_not_fetched_twice() {
    let root = tempfile::tempdir().unwrap();
    let web = Nginx::serve(root.path(), None);
    let before = feed(&web, root.path());
    fs::write(root.path().join("feed.xml"), &before).unwrap();
    let context = Context::new();
    context.catalog(&[("show", &web.url("feed.xml"))]);
    context.podrun(&["fetch", "--json"]).expect_code(0);

    let after = before
        .replace("guid-", "rewritten-")
        .replace(".mp3\"", ".mp3?updated=2\"");
    assert_ne!(before, after);
    fs::write(root.path().join("feed.xml"), after).unwrap();
    let again = context
        .podrun(&["fetch", "--refresh", "--json"])
        .expect_code(0)
        .json();
    assert_eq!(
        (&again["done"], &again["present"]),
        (&0.into(), &2.into()),
        "{again:#}"
    );
    let raw = context.files("podrun-data/raw");
    let audio: Vec<_> = raw.keys().filter(|key| key.ends_with(".mp3")).collect();
    assert_eq!(audio, [&audio_key(0), &audio_key(1)]);
}

/// Two spoken episodes of twenty seconds; each names a transcript.
fn feed(web: &Nginx, root: &std::path::Path) -> String {
    let items: Vec<_> = (0..2)
        .map(|number| {
            let name = format!("{number}.mp3");
            let size = fs::copy(&speech::fifty()[number].audio, root.join(&name)).unwrap();
            (
                guid(number),
                format!("Episode {number}"),
                web.url(&name),
                size,
            )
        })
        .collect();
    let mut text = rss(&items);
    for number in (0..2).rev() {
        let end = text.match_indices("</item>").nth(number).unwrap().0;
        let url = web.url(&format!("{number}.vtt"));
        let link = format!("<podcast:transcript url=\"{url}\" type=\"text/vtt\" language=\"en\"/>");
        text.insert_str(end, &link);
    }
    text
}
