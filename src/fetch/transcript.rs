//! The publisher's own transcript, fetched beside the audio.
//!
//! It is an extra: whatever is wrong with it is a warning and never the episode's failure. It goes
//! through the same client and the same gate as everything else, under a cap of size and of time.

use std::time::Duration;

use bytes::Bytes;
use serde::de::IgnoredAny;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::domain::{Failure, FailureClass, TranscriptFormat, TranscriptLink};
use crate::runtime::http::{Get, HopGate, HttpClient, SafeUrl, follow, read_to_vec};

/// Most links of one episode that are tried.
const MAX_TRIES: usize = 4;

/// Longest time for one of them. A transcript has some hundred kilobytes.
const LONGEST: Duration = Duration::from_secs(120);

const ACCEPT: &str =
    "text/vtt, application/x-subrip, application/json;q=0.9, text/html;q=0.5, */*;q=0.3";

/// Fetches transcripts.
#[derive(Debug, Clone, Copy)]
pub(super) struct TranscriptFetcher<'a> {
    pub(super) client: &'a HttpClient,
    pub(super) gate: &'a dyn HopGate,
    pub(super) max_bytes: usize,
    pub(super) cancel: &'a CancellationToken,
}

/// A transcript that was found good.
#[derive(Debug)]
pub(super) struct Fetched<'a> {
    pub(super) link: &'a TranscriptLink,
    pub(super) format: TranscriptFormat,
    pub(super) bytes: Bytes,
}

impl<'a> TranscriptFetcher<'a> {
    /// The best of `links` that can be had, or `None`.
    pub(super) async fn best(&self, links: &'a [TranscriptLink]) -> Option<Fetched<'a>> {
        let mut ranked: Vec<_> = links.iter().map(|link| (claimed(link), link)).collect();
        // Stable: of equals the feed's first. Without a claim last, for it may be anything.
        ranked.sort_by_key(|(claim, _)| claim.map_or(usize::MAX, |format| format as usize));
        for (claim, link) in ranked.into_iter().take(MAX_TRIES) {
            if self.cancel.is_cancelled() {
                return None;
            }
            match self.fetch(link, claim).await {
                Ok((format, bytes)) => {
                    return Some(Fetched {
                        link,
                        format,
                        bytes,
                    });
                }
                Err(failure) => {
                    tracing::warn!(class = %failure.class, reason = %failure, "no transcript of the publisher's");
                }
            }
        }
        None
    }

    async fn fetch(
        &self,
        link: &TranscriptLink,
        claim: Option<TranscriptFormat>,
    ) -> Result<(TranscriptFormat, Bytes), Failure> {
        let shown = SafeUrl::from_text(&link.url);
        let getting = async {
            let request = Get::try_new(&link.url, ACCEPT)?;
            let answer = follow(self.client, request, self.gate, self.cancel).await?;
            read_to_vec(answer, self.max_bytes).await
        };
        let bytes = match timeout(LONGEST, getting).await {
            Ok(bytes) => Bytes::from(bytes?),
            Err(_) => {
                let problem = format!("{shown}: not finished within {LONGEST:?}");
                return Err(Failure::new(FailureClass::Timeout, problem));
            }
        };
        let looked_at = bytes.clone();
        // A large JSON file takes a while to check.
        let recognised = tokio::task::spawn_blocking(move || recognise(&looked_at, claim)).await;
        match recognised {
            Ok(Some(format)) => Ok((format, bytes)),
            _ => {
                let problem = format!("{shown}: is no transcript of the kind that the feed claims");
                Err(Failure::new(FailureClass::Protocol, problem))
            }
        }
    }
}

/// What the feed claims, by type and then by the file's name.
fn claimed(link: &TranscriptLink) -> Option<TranscriptFormat> {
    let essence = link.media_type.as_deref().unwrap_or_default();
    let essence = essence.split(';').next().unwrap_or_default().trim();
    let by_type = match essence.to_ascii_lowercase().as_str() {
        "text/vtt" => Some(TranscriptFormat::Vtt),
        "application/x-subrip" | "application/srt" | "text/srt" | "application/x-srt" => {
            Some(TranscriptFormat::Srt)
        }
        "application/json" => Some(TranscriptFormat::Json),
        "text/html" => Some(TranscriptFormat::Html),
        "text/plain" => Some(TranscriptFormat::Txt),
        _ => None,
    };
    by_type.or_else(|| by_name(&link.url))
}

fn by_name(url: &str) -> Option<TranscriptFormat> {
    let url = Url::parse(url).ok()?;
    let (_, extension) = url.path().rsplit_once('.')?;
    TranscriptFormat::ALL
        .into_iter()
        .find(|format| extension.eq_ignore_ascii_case(format.extension()))
}

/// As much of the start as tells what a text is.
const START: usize = 4096;

/// What the bytes are, if that can be what was claimed. Pages and plain texts are what error messages
/// are made of, so they are taken only where the feed promised one.
fn recognise(bytes: &[u8], claim: Option<TranscriptFormat>) -> Option<TranscriptFormat> {
    let start = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let start = &start[..start.len().min(START)];
    if start.contains(&0) {
        return None;
    }
    let text = String::from_utf8_lossy(start);
    let text = text.trim_start();
    let found = match text.as_bytes() {
        [] => return None,
        vtt if vtt.starts_with(b"WEBVTT") => TranscriptFormat::Vtt,
        [b'<', ..] => TranscriptFormat::Html,
        [b'{' | b'[', ..] if serde_json::from_slice::<IgnoredAny>(bytes.trim_ascii()).is_ok() => {
            TranscriptFormat::Json
        }
        _ if text.lines().take(20).any(is_srt_time) => TranscriptFormat::Srt,
        _ => TranscriptFormat::Txt,
    };
    let needs_claim = matches!(found, TranscriptFormat::Html | TranscriptFormat::Txt);
    (!needs_claim || claim == Some(found)).then_some(found)
}

/// `00:01:02,500 --> 00:01:04,000`
fn is_srt_time(line: &str) -> bool {
    let is_time = |text: &str| {
        let text = text.trim();
        text.matches(':').count() >= 1 && text.starts_with(|first: char| first.is_ascii_digit())
    };
    line.split_once("-->")
        .is_some_and(|(from, to)| is_time(from) && is_time(to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use TranscriptFormat as T;

    #[test]
    fn a_claim_is_read_from_the_type_and_then_from_the_name() {
        let claim = |url: &str, media_type: Option<&str>| {
            claimed(&TranscriptLink {
                url: url.to_owned(),
                media_type: media_type.map(str::to_owned),
                language: None,
            })
        };
        assert_eq!(
            claim("https://a.example/x", Some("TEXT/VTT; charset=utf-8")),
            Some(T::Vtt)
        );
        assert_eq!(
            claim("https://a.example/x.SRT?y=z.json", Some("?")),
            Some(T::Srt)
        );
        assert_eq!(
            claim("https://a.example/x.vtt", Some("text/html")),
            Some(T::Html)
        );
        assert_eq!(claim("https://a.example/x", None), None);
    }

    #[test]
    fn texts_are_known_by_their_start_and_pages_only_where_promised() {
        let srt = "1\r\n00:00:01,000 --> 00:00:02,000\r\nHello\r\n";
        for (bytes, claim, found) in [
            ("\u{feff}WEBVTT\n\n", Some(T::Vtt), Some(T::Vtt)),
            ("WEBVTT", Some(T::Srt), Some(T::Vtt)),
            (srt, None, Some(T::Srt)),
            ("{\"segments\": []}", Some(T::Json), Some(T::Json)),
            ("{\"segments\": [", Some(T::Json), None),
            ("<!doctype html>", Some(T::Vtt), None),
            ("<!doctype html>", Some(T::Html), Some(T::Html)),
            ("Not found", Some(T::Srt), None),
            ("Hello and welcome", Some(T::Txt), Some(T::Txt)),
            ("Hello --> there", None, None),
            (" \n ", Some(T::Txt), None),
            ("ID3\0\0", Some(T::Txt), None),
        ] {
            assert_eq!(recognise(bytes.as_bytes(), claim), found, "{bytes:?}");
        }
    }
}
