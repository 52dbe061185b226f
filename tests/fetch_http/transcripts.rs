//! The publisher's own transcripts.

use podrun::domain::{ContentDigest, TranscriptFormat, TranscriptLink};
use podrun::fetch::FetchConfig;
use podrun::runtime::worker::StageOutcome;

use crate::server::{Step, announced, answer, mp3};
use crate::stage::{self, Bench};

const VTT: &[u8] = b"WEBVTT\n\n00:01.000 --> 00:02.000\nHello\n";
const SRT: &[u8] = b"1\n00:00:01,000 --> 00:00:02,000\nHello\n";

fn serve(path: &str, _: usize) -> Vec<Step> {
    match path {
        "/good.vtt?token=secret" => answer("200 OK", "Content-Type: text/vtt\r\n", VTT),
        "/good.srt" => answer("200 OK", "", SRT),
        "/page.vtt" => answer(
            "200 OK",
            "Content-Type: text/vtt\r\n",
            b"<!doctype html>log in",
        ),
        "/huge.vtt" => announced("200 OK", "", 80 << 20, VTT),
        "/endless.vtt" => answer("200 OK", "", &[VTT, &vec![b'x'; 200_000]].concat()),
        "/cut.vtt" => announced("200 OK", "", 5000, VTT),
        "/slow.vtt" => answer("429 Slow Down", "Retry-After: 100\r\n", b""),
        path if path.starts_with("/e.mp3") => answer("200 OK", "", &mp3(100)),
        _ => answer("404 Not Found", "", b"no"),
    }
}

/// Fetches an episode that offers these, as (path, type).
async fn fetched(offers: &[(&str, &str)]) -> Bench {
    let bench = Bench::new(serve).await;
    let mut episode = stage::episode(&bench.url());
    episode.transcripts = offers
        .iter()
        .map(|(path, media_type)| TranscriptLink {
            url: bench.server.url(path),
            media_type: Some((*media_type).to_owned()),
            language: Some("en".to_owned()),
        })
        .collect();
    let config = FetchConfig {
        max_transcript_bytes: 100_000,
        ..FetchConfig::default()
    };
    let outcome = bench.run_episode(episode, config).await;
    assert_eq!(outcome, StageOutcome::Done { amount: 41_700 });
    bench
}

#[tokio::test]
async fn the_best_transcript_is_kept_beside_the_audio() {
    let offers = [
        ("/x.html", "text/html"),
        ("/good.srt", "application/x-subrip"),
        ("/good.vtt?token=secret", "text/vtt"),
    ];
    let bench = fetched(&offers).await;
    let kept = bench
        .meta()
        .await
        .publisher_transcript
        .expect("a transcript");
    assert_eq!(kept.key, "show/g1/transcripts/publisher.vtt");
    assert_eq!(kept.format, TranscriptFormat::Vtt);
    assert_eq!(kept.sha256, ContentDigest::of(VTT));
    assert_eq!(kept.language.as_deref(), Some("en"));
    assert!(!kept.url.contains("secret"), "{}", kept.url);
    assert_eq!(bench.read(&kept.key).await, VTT);
    let asked = bench.server.requests();
    assert_eq!(
        asked.len(),
        2,
        "one request for the audio, one for the best: {asked:?}"
    );
}

#[tokio::test]
async fn case_054_a_bad_transcript_is_no_failure() {
    for bad in [
        "/missing.vtt",
        "/page.vtt",
        "/huge.vtt",
        "/endless.vtt",
        "/cut.vtt",
        "/slow.vtt",
    ] {
        let bench = fetched(&[(bad, "text/vtt")]).await;
        assert_eq!(bench.meta().await.publisher_transcript, None, "{bad}");
        assert_eq!(bench.keys().await.len(), 2, "{bad}");
    }
}

#[tokio::test]
async fn case_054_the_next_best_takes_the_place_of_a_bad_one() {
    let offers = [("/page.vtt", "text/vtt"), ("/good.srt", "application/srt")];
    let kept = fetched(&offers)
        .await
        .meta()
        .await
        .publisher_transcript
        .unwrap();
    assert_eq!(kept.format, TranscriptFormat::Srt);
}
