//! The publisher's own transcript in place of one by the model.
//!
//! People wrote or corrected it, and it costs nothing. It is used where it has times, reaches at least
//! half way through the audio (the end may be music, or advertisements) and not far beyond it, and is
//! what was fetched; otherwise the model listens. What it does not have
//! (probabilities, tokens) is left unknown, and the model's name in every file says whose words these
//! are.

mod cues;

use serde_json::{Value, json};

use super::compression::compression_ratio;
use super::engine::EngineInfo;
use crate::domain::{ContentDigest, PublisherTranscript, Segment, Transcript, TranscriptFormat};
use crate::raw::{EpisodeMeta, RawStore};
use crate::runtime::blob::read_all;

/// What stands in place of a model's name.
pub const PUBLISHER: &str = "publisher";

/// Largest transcript that is read.
const LIMIT: usize = 64 << 20;

/// A transcript that ends before this share of the audio is an excerpt.
const LEAST_SHARE: f64 = 0.5;

/// A transcript that ends after this many times the audio and [`MOST_OVER_S`] more is of something else.
const MOST_SHARE: f64 = 1.5;

/// Seconds that make no difference: short audio is off by a jingle.
const MOST_OVER_S: f64 = 60.0;

/// A publisher's transcript as ours.
#[derive(Debug, Clone, PartialEq)]
pub struct Reused {
    /// The text, with times.
    pub transcript: Transcript,
    /// Who made it, as reports name a model.
    pub made_by: EngineInfo,
    /// Where it came from, in place of a model's options.
    pub options: Value,
}

/// Why a publisher's transcript is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Text without times.
    #[error("it has no times")]
    NoTimes,
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// It ends long before the audio does, or long after.
    #[error("it ends after {end} of {duration} seconds")]
    OtherLength {
        /// Its last second.
        end: u64,
        /// The audio's.
        duration: u64,
    },
}

/// The publisher's transcript of the episode of `meta`, or `None` where there is none or it is not
/// used. Not being able to use it is a warning: the model can do it. `language` is what the operator
/// says is spoken.
pub async fn reuse(raw: &RawStore, meta: &EpisodeMeta, language: Option<&str>) -> Option<Reused> {
    let kept = meta.publisher_transcript.clone()?;
    let read = read_all(raw.blobs().as_ref(), &kept.key, LIMIT).await;
    let bytes = match read {
        Ok(bytes) if ContentDigest::of(&bytes) == kept.sha256 => bytes,
        Ok(_) => {
            tracing::warn!(key = kept.key, "not the transcript that was fetched");
            return None;
        }
        Err(error) => {
            tracing::warn!(%error, "the publisher's transcript cannot be read");
            return None;
        }
    };
    let rendition = meta.rendition.as_ref();
    let duration = rendition.and_then(|rendition| rendition.duration_est_s);
    let duration = duration.or(meta.duration_s.map(f64::from));
    let may_shift = rendition.is_some_and(|rendition| rendition.dai);
    let language = language.map(str::to_owned);
    // A long transcript takes a while to take apart.
    let converted = tokio::task::spawn_blocking(move || {
        let language = language.or_else(|| primary_subtag(kept.language.as_deref()));
        convert(kept.format, &bytes, language, duration)
            .map(|transcript| reused(transcript, &kept, may_shift))
    });
    match converted.await {
        Ok(Ok(reused)) => Some(reused),
        Ok(Err(unusable)) => {
            tracing::info!(episode = %meta.episode(), %unusable, "the model transcribes it");
            None
        }
        Err(error) => {
            tracing::warn!(%error, "the publisher's transcript cannot be taken apart");
            None
        }
    }
}

fn reused(transcript: Transcript, kept: &PublisherTranscript, may_shift: bool) -> Reused {
    Reused {
        transcript,
        made_by: EngineInfo {
            model: PUBLISHER.to_owned(),
            model_digest: Some(kept.sha256.as_str().to_owned()),
            n_mels: 0,
            is_multilingual: true,
            compute_type: "none".to_owned(),
            device: "none".to_owned(),
        },
        options: json!({
            "source": PUBLISHER,
            "format": kept.format,
            "url": kept.url,
            // Advertisements that a host inserts move everything behind them.
            "times_may_shift": may_shift,
        }),
    }
}

/// `en` of `en-US`; Whisper's names are primary subtags.
fn primary_subtag(tag: Option<&str>) -> Option<String> {
    let subtag = tag?.split(['-', '_']).next()?.trim().to_ascii_lowercase();
    let is_subtag =
        (2..=3).contains(&subtag.len()) && subtag.bytes().all(|b| b.is_ascii_lowercase());
    is_subtag.then_some(subtag)
}

/// Takes a transcript apart. Without a language it is `und`, the tag for that.
fn convert(
    format: TranscriptFormat,
    bytes: &[u8],
    language: Option<String>,
    duration: Option<f64>,
) -> Result<Transcript, Unusable> {
    let text = String::from_utf8_lossy(bytes);
    let cues = match format {
        TranscriptFormat::Vtt | TranscriptFormat::Srt => cues::from_blocks(&text),
        TranscriptFormat::Json => cues::from_json(bytes).map_err(Unusable::Unreadable)?,
        TranscriptFormat::Html | TranscriptFormat::Txt => return Err(Unusable::NoTimes),
    };
    let end = cues.iter().map(|cue| cue.end).fold(0.0, f64::max);
    let duration = duration.unwrap_or(end);
    if cues.is_empty() {
        return Err(Unusable::NoTimes);
    }
    if end < duration * LEAST_SHARE || end > duration * MOST_SHARE + MOST_OVER_S {
        return Err(Unusable::OtherLength {
            end: end as u64,
            duration: duration as u64,
        });
    }
    let segments: Vec<_> = cues.into_iter().enumerate().map(segment).collect();
    Ok(Transcript {
        text: segments
            .iter()
            .map(|segment| segment.text.as_str())
            .collect(),
        segments,
        language: language.unwrap_or_else(|| "und".to_owned()),
        language_probability: 1.0,
        duration,
    })
}

fn segment((index, cue): (usize, cues::Cue)) -> Segment {
    Segment {
        id: u32::try_from(index).unwrap_or(u32::MAX),
        seek: (cue.start * 100.0) as u64,
        start: cue.start,
        end: cue.end,
        compression_ratio: compression_ratio(&cue.text),
        text: format!(" {}", cue.text),
        tokens: Vec::new(),
        temperature: 0.0,
        // Nobody knows; written as unknown.
        avg_logprob: f32::NAN,
        no_speech_prob: 0.0,
        words: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
