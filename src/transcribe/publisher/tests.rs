use std::sync::Arc;

use bytes::Bytes;
use chrono::DateTime;

use super::*;
use crate::domain::{AudioContainer, EpisodeId, FeedSlug, Guid};
use crate::runtime::blob::MemoryBlobStore;

const VTT: &str = "\u{feff}WEBVTT Kind: captions\n\nNOTE\nmade --> by hand\n\nSTYLE\n::cue {}\n\n\
    1\n00:01.000 --> 00:04.500 align:start\n<v Ann>Hello &amp; <i>welcome</i>\nback.\n\n\
    00:05.000 --> 01:00:06.000\n5 < 6\n\n\
    nonsense --> 00:07.000\nx\n";

const SRT: &str = "1\r\n00:00:01,000 --> 00:00:04,500\r\nHello\r\n\r\n2\r\n00:00:05,000 --> 00:00:59,000\r\n{\\an8}there\r\n";

fn converted(format: TranscriptFormat, text: &str, duration: f64) -> Result<Transcript, Unusable> {
    convert(
        format,
        text.as_bytes(),
        Some("en".to_owned()),
        Some(duration),
    )
}

fn spoken(transcript: &Transcript) -> Vec<(f64, f64, &str)> {
    let segments = transcript.segments.iter();
    segments
        .map(|s| (s.start, s.end, s.text.as_str()))
        .collect()
}

#[test]
fn cues_become_segments() {
    let vtt = converted(TranscriptFormat::Vtt, VTT, 3700.0).unwrap();
    assert_eq!(
        spoken(&vtt),
        [
            (1.0, 4.5, " Hello & welcome back."),
            (5.0, 3606.0, " 5 < 6")
        ]
    );
    assert_eq!(vtt.text, " Hello & welcome back. 5 < 6");
    assert_eq!((vtt.duration, vtt.language.as_str()), (3700.0, "en"));
    let srt = converted(TranscriptFormat::Srt, SRT, 60.0).unwrap();
    assert_eq!(spoken(&srt)[1], (5.0, 59.0, " {\\an8}there"));
    let json = r#"{"version": "1.0.0", "segments": [
        {"speaker": "B", "startTime": 5.5, "endTime": 9, "body": "there"},
        {"startTime": 0.5, "body": "Hello"}]}"#;
    let json = converted(TranscriptFormat::Json, json, 10.0).unwrap();
    assert_eq!(spoken(&json), [(0.5, 0.5, " Hello"), (5.5, 9.0, " there")]);
}

#[test]
fn what_is_no_whole_transcript_is_left_to_the_model() {
    use TranscriptFormat as T;
    assert_eq!(converted(T::Txt, "Hello", 5.0), Err(Unusable::NoTimes));
    assert_eq!(converted(T::Vtt, "WEBVTT\n\n", 5.0), Err(Unusable::NoTimes));
    let excerpt = converted(T::Srt, SRT, 600.0);
    let expected = Unusable::OtherLength {
        end: 59,
        duration: 600,
    };
    assert_eq!(excerpt, Err(expected));
    // An hour of words for a minute and a half of audio: another file's, or another unit's.
    let long = converted(T::Vtt, VTT, 90.0);
    assert!(matches!(long, Err(Unusable::OtherLength { end: 3606, .. })));
    assert_eq!(converted(T::Srt, SRT, 50.0).unwrap().duration, 50.0);
    let broken = converted(T::Json, r#"{"segments": [{"body": 1}]}"#, 5.0);
    assert!(matches!(broken, Err(Unusable::Unreadable(_))));
}

#[test]
fn languages_are_primary_subtags() {
    assert_eq!(primary_subtag(Some("en-US")).as_deref(), Some("en"));
    assert_eq!(primary_subtag(Some("PT_br")).as_deref(), Some("pt"));
    for none in [None, Some(""), Some("english"), Some("1")] {
        assert_eq!(primary_subtag(none), None);
    }
}

#[test]
fn brackets_that_close_nowhere_are_text_and_cost_no_time() {
    let brackets = "<".repeat(1 << 20);
    let vtt = format!("WEBVTT\n\n00:01.000 --> 00:02.000\n<b>a</b>{brackets}\n");
    let vtt = converted(TranscriptFormat::Vtt, &vtt, 2.0).unwrap();
    assert_eq!(vtt.text, format!(" a{brackets}"));
}

fn meta(text: &str) -> EpisodeMeta {
    let json = json!({
        "schema_version": 1, "feed_slug": "show", "guid": "g", "title": "", "published": null,
        "duration_s": 60, "transcript_key": null,
        "audio": {
            "key": "show/g/audio/episode.mp3", "bytes": 1,
            "sha256": ContentDigest::of(b"x"), "container": AudioContainer::Mp3,
            "content_type": null, "etag": null, "last_modified": null,
            "fetched_at": DateTime::UNIX_EPOCH,
        },
        "publisher_transcript": {
            "key": "show/g/transcripts/publisher.srt", "format": "srt", "bytes": text.len(),
            "sha256": ContentDigest::of(text.as_bytes()), "language": "en-GB",
            "url": "https://a.example/t.srt", "fetched_at": DateTime::UNIX_EPOCH,
        },
        "enclosure": {"url": "https://a.example/e.mp3", "media_type": null, "length": null},
        "redirects": [], "tool_version": "0", "attempts": 1,
    });
    serde_json::from_value(json).unwrap()
}

async fn stored(text: &'static str) -> RawStore {
    let raw = RawStore::new(Arc::new(MemoryBlobStore::new()));
    let episode = EpisodeId {
        feed_slug: FeedSlug::try_new("show").unwrap(),
        guid: Guid::try_new("g").unwrap(),
    };
    let bytes = Bytes::from_static(text.as_bytes());
    let put = raw.put_publisher_transcript(&episode, TranscriptFormat::Srt, bytes);
    assert_eq!(put.await.unwrap(), "show/g/transcripts/publisher.srt");
    raw
}

#[tokio::test]
async fn a_stored_transcript_is_taken_with_its_origin() {
    let reused = reuse(&stored(SRT).await, &meta(SRT), None).await.unwrap();
    assert_eq!(reused.transcript.language, "en");
    assert_eq!(reused.made_by.model, "publisher");
    assert_eq!(reused.options["source"], "publisher");
    assert_eq!(reused.options["times_may_shift"], false);
}

#[tokio::test]
async fn another_file_under_the_same_name_is_not_taken() {
    assert_eq!(reuse(&stored("1\n").await, &meta(SRT), None).await, None);
    let nothing = RawStore::new(Arc::new(MemoryBlobStore::new()));
    assert_eq!(reuse(&nothing, &meta(SRT), None).await, None);
}
