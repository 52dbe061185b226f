use std::sync::LazyLock;

use chrono::TimeZone;
use serde_json::json;

use super::super::formats::test_support::{episode, transcript};
use super::*;

fn engine() -> EngineInfo {
    EngineInfo {
        model: "tiny".to_owned(),
        model_digest: None,
        n_mels: 80,
        is_multilingual: true,
        compute_type: "int8".to_owned(),
        device: "cpu".to_owned(),
    }
}

fn windows(total: u64, silent: u64) -> WindowCounts {
    WindowCounts {
        total,
        silent,
        ..WindowCounts::default()
    }
}

fn kpis_of(transcript: &Transcript, windows: WindowCounts) -> Kpis {
    let mut timings = Timings {
        total: Duration::from_millis(1500),
        ..Timings::default()
    };
    timings.add(TimedStage::Generate, Duration::from_millis(600));
    timings.add(TimedStage::Generate, Duration::from_millis(400));
    Kpis::new(measured(transcript, windows, &timings, &engine()))
}

fn measured<'a>(
    transcript: &'a Transcript,
    windows: WindowCounts,
    timings: &'a Timings,
    engine: &'a EngineInfo,
) -> Measured<'a> {
    static EPISODE: LazyLock<EpisodeId> = LazyLock::new(|| episode("g"));
    Measured {
        episode: &EPISODE,
        transcript,
        windows,
        timings,
        engine,
        options: json!({"beam_size": 1}),
        damaged: false,
        speech_seconds: None,
        uncovered_speech_seconds: None,
        peak_rss_bytes: Some(1024),
        podrun_version: "0.1.0",
        created_at: Utc.timestamp_opt(1_773_057_600, 123_456_789).unwrap(),
        is_resumed: false,
    }
}

#[test]
fn the_file_is_one_line_with_every_key() {
    let mut heard = transcript(&[(0.0, 20.0, " One two three."), (19.0, 50.0, " Four.")]);
    heard.segments[1].avg_logprob = -0.5;
    let kpis = kpis_of(&heard, windows(3, 1));
    let expected = concat!(
        r#"{"schema_version":1,"feed_slug":"20vc","guid":"g","audio_seconds":60.0,"#,
        r#""speech_seconds":null,"segments":2,"words":4,"words_per_minute":4.0,"language":"en","#,
        r#""language_probability":0.99,"windows":{"total":3,"silent":1,"retried":0,"doubtful":0},"#,
        r#""mean_avg_logprob":-0.406,"min_avg_logprob":-0.5,"max_compression_ratio":1.25,"#,
        r#""mean_word_probability":null,"p10_word_probability":null,"low_confidence_share":null,"#,
        r#""repeated_trigram_share":0.0,"flagged_phrases":0,"covered_seconds":50.0,"#,
        r#""uncovered_speech_seconds":null,"last_end_share":0.833,"#,
        r#""suspicious":false,"damaged":false,"stage_seconds":{"generate":1.0},"#,
        r#""stage_rtfx":{"generate":60.0},"total_seconds":1.5,"rtfx":40.0,"resumed":false,"#,
        r#""peak_rss_bytes":1024,"model":{"name":"tiny","digest":null,"#,
        r#""compute_type":"int8","device":"cpu"},"batch_size":null,"seed":null,"#,
        r#""options":{"beam_size":1},"podrun_version":"0.1.0","ctranslate2_version":"4.8.4","#,
        r#""created_at":"2026-03-09T12:00:00Z"}"#,
        "\n"
    );
    assert_eq!(kpis.render(), expected);
    assert_eq!(serde_json::from_str::<Kpis>(&kpis.render()).unwrap(), kpis);
}

#[test]
fn what_cannot_be_computed_is_null() {
    let mut heard = transcript(&[(0.0, 1.0, " a")]);
    heard.duration = 0.0;
    heard.language_probability = f32::NAN;
    heard.segments[0].avg_logprob = f32::NEG_INFINITY;
    heard.segments[0].compression_ratio = f32::NAN;
    let line = kpis_of(&heard, windows(0, 0)).render();
    let read: serde_json::Value = serde_json::from_str(&line).unwrap();
    for key in [
        "words_per_minute",
        "language_probability",
        "mean_avg_logprob",
        "min_avg_logprob",
        "max_compression_ratio",
        "repeated_trigram_share",
        "last_end_share",
    ] {
        assert!(read[key].is_null(), "{key} is {}", read[key]);
    }
    assert_eq!(read["suspicious"], false);
}

#[test]
fn one_unknown_score_does_not_hide_the_others() {
    let mut heard = transcript(&[(0.0, 1.0, " a"), (1.0, 2.0, " b")]);
    heard.segments[0].avg_logprob = f32::NAN;
    heard.segments[1].avg_logprob = -1.5;
    let kpis = kpis_of(&heard, windows(1, 0));
    assert_eq!(kpis.mean_avg_logprob, Some(-1.5));
    assert_eq!(kpis.min_avg_logprob, Some(-1.5));
}

#[test]
fn a_text_that_ends_early_is_suspicious_unless_the_rest_is_no_speech() {
    let early = transcript(&[(0.0, 14.0, " Hello.")]);
    let late = transcript(&[(0.0, 16.0, " Hello.")]);
    let nothing = transcript(&[]);
    assert!(kpis_of(&early, windows(4, 0)).suspicious);
    assert!(kpis_of(&nothing, windows(4, 0)).suspicious);
    assert!(!kpis_of(&late, windows(4, 0)).suspicious);
    assert!(!kpis_of(&early, windows(4, 3)).suspicious);
    assert!(!kpis_of(&nothing, windows(4, 4)).suspicious);
}

#[test]
fn who_listened_for_speech_decides_what_is_suspicious() {
    let transcript = transcript(&[]);
    let speech = |seconds| {
        let timings = Timings::default();
        Kpis::new(Measured {
            speech_seconds: Some(seconds),
            uncovered_speech_seconds: Some(seconds),
            ..measured(&transcript, windows(4, 0), &timings, &engine())
        })
    };
    let music = speech(5.0);
    assert_eq!((music.suspicious, music.speech_seconds), (false, Some(5.0)));
    assert!(speech(30.0).suspicious);
}

#[test]
fn a_batch_has_a_size_only_where_there_are_batches() {
    assert_eq!(
        batch_size(&json!({"mode": "batched", "batch_size": 16})),
        Some(16)
    );
    assert_eq!(
        batch_size(&json!({"mode": "sequential", "batch_size": 16})),
        None
    );
    assert_eq!(batch_size(&json!({"source": "publisher"})), None);
}

#[test]
fn overlapping_segments_cover_once() {
    let heard = transcript(&[(0.0, 10.0, "a"), (5.0, 8.0, "b"), (9.0, 12.0, "c")]);
    assert_eq!(covered_seconds(&heard.segments), 12.0);
}
