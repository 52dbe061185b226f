//! Audio as odd as it comes, and what is written down about it.

use std::sync::Arc;

use podrun::domain::{AdSign, AudioContainer, FailureClass, Suspicion};
use podrun::fetch::FetchConfig;

use crate::bench::{Bench, class_of};
use crate::guard::FakeLookup;
use crate::server::{RawServer, Step, answer, chunked, mp3};
use crate::stage::{self, Bench as StageBench};

fn id3(size: usize, content: &[u8]) -> Vec<u8> {
    let size = [21, 14, 7, 0].map(|shift| (size >> shift) as u8 & 0x7f);
    [&b"ID3\x04\x00\x00"[..], &size, content].concat()
}

fn cover(length: usize) -> Vec<u8> {
    let content = [&b"APIC\x00\x4f\x00\x00\x00\x00"[..], &vec![0xd8; length]].concat();
    id3(content.len(), &content)
}

async fn stored(file: Vec<u8>) -> podrun::fetch::Download {
    let server = RawServer::start(move |_, _| answer("200 OK", "", &file)).await;
    Bench::new().download(&server.url("/e.mp3")).await.unwrap()
}

#[tokio::test]
async fn a_body_that_only_its_connection_ends_is_said_to_be_one() {
    let bare = [
        &b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"[..],
        &mp3(500),
    ]
    .concat();
    for (answer, is_open_ended) in [
        (vec![Step::Send(bare)], true),
        (chunked(&mp3(500), true), false),
        (answer("200 OK", "", &mp3(500)), false),
    ] {
        let server = RawServer::start(move |_, _| answer.clone()).await;
        let download = Bench::new().download(&server.url("/e.mp3")).await.unwrap();
        assert_eq!(download.is_open_ended, is_open_ended);
    }
}

#[tokio::test]
async fn case_106_a_cover_of_megabytes_hides_no_audio() {
    let download = stored([cover(5_000_000), mp3(500)].concat()).await;
    assert_eq!(download.container, AudioContainer::Mp3);
    let seconds = download.content.duration_s.unwrap();
    assert!((seconds - 13.06).abs() < 0.1, "{seconds}");
}

#[tokio::test]
async fn case_106_a_cover_of_megabytes_without_audio_is_no_audio() {
    let page = [cover(200_000), b"<html>".repeat(20_000)].concat();
    assert_eq!(
        class_of(answer("200 OK", "", &page)).await,
        FailureClass::NotAudio
    );
}

#[tokio::test]
async fn case_107_a_tag_that_lies_about_its_size_is_seen_through() {
    let title = b"TIT2\x00\x00\x00\x02\x00\x00\x00x";
    for size in [12, 20, 4_000_000] {
        let download = stored([id3(size, title), mp3(500)].concat()).await;
        assert_eq!(download.container, AudioContainer::Mp3);
        let seconds = download.content.duration_s.unwrap();
        assert!((seconds - 13.06).abs() < 0.1, "{size}: {seconds}");
    }
}

#[tokio::test]
async fn case_108_the_first_bytes_name_the_container_and_the_key() {
    use AudioContainer as C;
    for (head, container, name) in [
        (
            &b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom\0\0\0\0"[..],
            C::Mp4,
            "audio.m4a",
        ),
        (
            b"OggS\0\x02\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\x01\x13OpusHead",
            C::Ogg,
            "audio.ogg",
        ),
        (b"fLaC\0\0\0\x22", C::Flac, "audio.flac"),
        (b"RIFF\x24\0\0\0WAVEfmt ", C::Wav, "audio.wav"),
    ] {
        let file = [head, &[1; 3000]].concat();
        let server =
            RawServer::start(move |_, _| answer("200 OK", "Content-Type: audio/mpeg\r\n", &file))
                .await;
        let bench = Bench::new();
        let download = bench.download(&server.url("/episode.mp3")).await.unwrap();
        assert_eq!(download.container, container);
        assert_eq!(bench.visible().await, [name]);
    }
}

/// What `meta.json` says of an episode with this body, of which the feed claims so many seconds.
async fn described(file: Vec<u8>, claimed_s: u32) -> podrun::domain::Rendition {
    let bench = StageBench::new(move |_, _| answer("200 OK", "ETag: \"v\"\r\n", &file)).await;
    let mut episode = stage::episode(&bench.url());
    episode.duration_s = Some(claimed_s);
    bench.run_episode(episode, FetchConfig::default()).await;
    bench.meta().await.rendition.expect("a rendition")
}

#[tokio::test]
async fn case_111_a_clip_in_place_of_an_hour_is_stored_and_suspicious() {
    let clip = described(mp3(1148), 3600).await;
    assert_eq!(clip.suspicious, [Suspicion::Short]);
    assert_eq!(clip.duration_est_s, Some(29.989));
    let trailer = described(mp3(1148), 31).await;
    assert_eq!(trailer.suspicious, []);
}

#[tokio::test]
async fn case_112_silence_of_the_right_length_is_suspicious() {
    let mut frame = [0; 417];
    frame[..4].copy_from_slice(&[0xff, 0xfb, 0x90, 0x00]);
    let silence = described(frame.repeat(6000), 157).await;
    assert_eq!(silence.suspicious, [Suspicion::Silent]);

    let zeros = described([mp3(10), vec![0; 2_500_000]].concat(), 157).await;
    let all = [Suspicion::Short, Suspicion::Silent, Suspicion::Hollow];
    assert_eq!(zeros.suspicious, all);
}

#[tokio::test]
async fn case_112_nothing_but_zeros_is_no_audio() {
    let zeros = answer("200 OK", "", &vec![0; 1_000_000]);
    assert_eq!(class_of(zeros).await, FailureClass::NotAudio);
}

#[tokio::test]
async fn case_113_an_advertisement_at_another_rate_is_part_of_the_episode() {
    let mut other = vec![0x21; 480];
    other[..4].copy_from_slice(&[0xff, 0xfb, 0xa4, 0]);
    let file = [
        mp3(3000),
        id3(100, &[7; 100]),
        other.repeat(1000),
        mp3(3000),
    ]
    .concat();
    let rendition = described(file, 180).await;
    assert_eq!(rendition.suspicious, []);
    let seconds = rendition.duration_est_s.unwrap();
    assert!((seconds - 180.7).abs() < 0.1, "{seconds}");
}

#[tokio::test]
async fn a_rendition_says_whether_the_next_one_may_differ() {
    let file = mp3(5000);
    let bench =
        StageBench::new(move |_, _| answer("200 OK", "Cache-Control: private\r\n", &file)).await;
    let mut episode = stage::episode(&bench.url());
    episode.enclosure.length = Some(1_500_000);
    bench.run_episode(episode, FetchConfig::default()).await;
    let rendition = bench.meta().await.rendition.unwrap();
    assert!(rendition.dai);
    assert_eq!(
        rendition.dai_signs,
        [
            AdSign::LengthDiffers,
            AdSign::NoValidator,
            AdSign::Uncacheable
        ]
    );
    assert_eq!(rendition.bytes, 5000 * 417);
    assert_eq!(rendition.crc64nvme.len(), 12);
}

#[tokio::test]
async fn case_092_a_prefix_that_is_gone_is_left_out_only_where_that_is_wanted() {
    let mut bench = Bench::new();
    bench.lookup = Arc::new(FakeLookup::default().with("media.example.com", &["127.0.0.1"]));
    let url = "http://chtbl.example/track/1/media.example.com/e.mp3";
    let failure = bench.fails(url).await;
    assert_eq!(failure.class, FailureClass::NoSuchHost);

    bench.fetch.unwrap_dead_prefixes = true;
    let failure = bench.fails(url).await;
    // Port 80 of loopback: nothing has to listen there, but it was asked.
    assert_ne!(failure.class, FailureClass::NoSuchHost);
    assert!(
        failure.message.contains("http://media.example.com/e.mp3"),
        "{failure}"
    );
}

#[tokio::test]
async fn case_009_an_address_that_was_escaped_twice_is_tried_once_without() {
    let server = RawServer::start(|path, _| match path {
        "/e.mp3?a=1&b=2" => answer("200 OK", "", &mp3(50)),
        _ => answer("404 Not Found", "", b""),
    })
    .await;
    let bench = Bench::new();
    bench
        .download(&server.url("/e.mp3?a=1&amp;amp;b=2"))
        .await
        .unwrap();
    assert_eq!(server.requests().len(), 2);
    let failure = Bench::new()
        .fails(&server.url("/other.mp3?a=1&amp;b=2"))
        .await;
    assert_eq!(failure.class, FailureClass::NotFound);
    assert_eq!(server.requests().len(), 4);
}
