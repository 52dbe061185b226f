//! `kpis.json`: how an episode went, in figures. Only what was measured stands in it; a figure that
//! does not exist (a rate over no audio, the mean of no segments) is `null`.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};

use super::ct2_config::CTRANSLATE2_VERSION;
use super::engine::EngineInfo;
use super::formats::clean::rounded;
use super::sequential::WindowCounts;
use crate::domain::{EpisodeId, FeedSlug, Guid, Segment, Transcript};

mod memory;
mod phrases;
mod words;

pub use memory::peak_rss_bytes;

/// Version of the file's shape; raise it when a field changes its meaning.
pub const SCHEMA_VERSION: u32 = 1;

/// A text that ends before this share of the audio, while more than this share of the windows was
/// taken for speech, is suspicious.
const EARLY_END_SHARE: f64 = 0.25;

/// The content of `kpis.json`. Keys are lower-case and the file is one line, as Athena wants it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kpis {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The feed.
    pub feed_slug: FeedSlug,
    /// The episode, as the publisher names it.
    pub guid: Guid,
    /// Length of the audio as decoded.
    pub audio_seconds: Option<f64>,
    /// Audio that sounded like speech; `null` where nothing listened for that.
    pub speech_seconds: Option<f64>,
    /// Segments in the transcript.
    pub segments: usize,
    /// Words in the transcript; `null` for languages that put no spaces between them.
    pub words: Option<usize>,
    /// Words over the minutes of audio, pauses included.
    pub words_per_minute: Option<f64>,
    /// The language, as Whisper names it.
    pub language: String,
    /// How sure its detection was; 1 where it was given.
    pub language_probability: Option<f64>,
    /// What the decoder looked at.
    pub windows: WindowCounts,
    /// Mean over the segments.
    pub mean_avg_logprob: Option<f64>,
    /// The least sure segment.
    pub min_avg_logprob: Option<f64>,
    /// The most repetitive segment; above 2.4 it is probably a loop.
    pub max_compression_ratio: Option<f64>,
    /// Mean probability of the words, 0 to 1; `null`, as the next two, where words were not looked for.
    pub mean_word_probability: Option<f64>,
    /// A tenth of the words has a lower one.
    pub p10_word_probability: Option<f64>,
    /// Share of words with a probability below one half.
    pub low_confidence_share: Option<f64>,
    /// Share of three-word sequences that occurred before in the episode; near 1 in a loop.
    pub repeated_trigram_share: Option<f64>,
    /// Segments with a sentence that Whisper is known to invent where nobody speaks. They stay.
    #[serde(default)]
    pub flagged_phrases: usize,
    /// Audio under a segment.
    pub covered_seconds: f64,
    /// Audio that sounded like speech and has no words; `null` where nothing listened for that.
    pub uncovered_speech_seconds: Option<f64>,
    /// Where the last segment ends, as a share of the audio.
    pub last_end_share: Option<f64>,
    /// The text ends in the first quarter although more of the audio sounded like speech: look at it.
    pub suspicious: bool,
    /// The audio was damaged and is transcribed as far as it could be decoded.
    pub damaged: bool,
    /// Wall seconds by stage; stages that were not measured are left out.
    pub stage_seconds: BTreeMap<TimedStage, f64>,
    /// Seconds of audio a second of each stage.
    #[serde(default)]
    pub stage_rtfx: BTreeMap<TimedStage, f64>,
    /// Wall seconds of the whole episode.
    pub total_seconds: f64,
    /// Seconds of audio a second of wall time.
    pub rtfx: Option<f64>,
    /// Whether an earlier run did a part of it: the seconds are of the last run alone then, and rates
    /// are not given.
    #[serde(default)]
    pub resumed: bool,
    /// Most memory that the process held until then, earlier episodes included; `null` where the
    /// system does not tell.
    pub peak_rss_bytes: Option<u64>,
    /// What transcribed.
    pub model: ModelFacts,
    /// Windows decoded at a time; `null` where they follow one another.
    pub batch_size: Option<u64>,
    /// What sampling above temperature 0 began with; `null`: the engine takes no seed.
    pub seed: Option<u64>,
    /// The options it ran with.
    pub options: serde_json::Value,
    /// The program's version.
    pub podrun_version: String,
    /// CTranslate2's version; `null` where it did not run.
    pub ctranslate2_version: Option<String>,
    /// When it was finished, to the second.
    pub created_at: DateTime<Utc>,
}

/// The model, as far as a reader needs it to tell two transcripts apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// Hub repository or folder name.
    pub name: String,
    /// SHA-256 of `model.bin`.
    pub digest: Option<String>,
    /// Arithmetic, as CTranslate2 names it.
    pub compute_type: String,
    /// `cpu` or `cuda`.
    pub device: String,
}

/// A part of the work whose time is worth knowing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimedStage {
    /// The first pass over the audio: its length and loudest mel value.
    Scan,
    /// Decoding and resampling.
    Decode,
    /// Looking for speech.
    Vad,
    /// Log-mel features.
    Mel,
    /// Language detection.
    Detect,
    /// The speech engine's encoder, where it is measured apart.
    Encode,
    /// The speech engine: generating, and encoding where that is not measured apart.
    Generate,
    /// Finding words in time.
    Align,
    /// Making the files.
    Write,
}

/// Wall time by stage, gathered while an episode is worked on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timings {
    stages: BTreeMap<TimedStage, Duration>,
    /// From the first byte read to the last segment; stages may overlap in it.
    pub total: Duration,
}

impl Timings {
    /// Adds `elapsed` to what `stage` took so far.
    pub fn add(&mut self, stage: TimedStage, elapsed: Duration) {
        *self.stages.entry(stage).or_default() += elapsed;
    }

    /// Adds what `other` measured, its total left out.
    pub fn merge(&mut self, other: &Self) {
        for (&stage, &elapsed) in &other.stages {
            self.add(stage, elapsed);
        }
    }

    /// What `stage` took so far; `None` where it was never measured.
    pub fn of(&self, stage: TimedStage) -> Option<Duration> {
        self.stages.get(&stage).copied()
    }
}

/// Everything that [`Kpis`] are computed from.
#[derive(Debug, Clone)]
pub struct Measured<'a> {
    /// Whose figures.
    pub episode: &'a EpisodeId,
    /// What was heard.
    pub transcript: &'a Transcript,
    /// What the decoder looked at.
    pub windows: WindowCounts,
    /// How long it took.
    pub timings: &'a Timings,
    /// What transcribed.
    pub engine: &'a EngineInfo,
    /// The options it ran with, as an object with lower-case keys.
    pub options: serde_json::Value,
    /// Whether the audio was damaged.
    pub damaged: bool,
    /// Audio that sounded like speech, where something listened for that.
    pub speech_seconds: Option<f64>,
    /// Of that, what has no words.
    pub uncovered_speech_seconds: Option<f64>,
    /// What [`peak_rss_bytes`] says.
    pub peak_rss_bytes: Option<u64>,
    /// The program's version.
    pub podrun_version: &'a str,
    /// Now.
    pub created_at: DateTime<Utc>,
    /// Whether an earlier run did a part of it.
    pub is_resumed: bool,
}

impl Kpis {
    /// Computes the figures.
    pub fn new(measured: Measured<'_>) -> Self {
        let transcript = measured.transcript;
        let audio_seconds = finite(transcript.duration);
        let words = words::count(&transcript.text, &transcript.language);
        let last_end_share = last_end_share(transcript);
        let total_seconds = measured.timings.total.as_secs_f64();
        let confidence = words::confidence(&transcript.segments);
        Self {
            schema_version: SCHEMA_VERSION,
            feed_slug: measured.episode.feed_slug.clone(),
            guid: measured.episode.guid.clone(),
            audio_seconds,
            speech_seconds: measured.speech_seconds.and_then(finite),
            segments: transcript.segments.len(),
            words,
            words_per_minute: words.and_then(|n| ratio(n as f64 * 60.0, transcript.duration)),
            language: transcript.language.clone(),
            language_probability: finite(transcript.language_probability.into()),
            windows: measured.windows,
            mean_avg_logprob: mean(scores(transcript, |segment| segment.avg_logprob)),
            min_avg_logprob: scores(transcript, |segment| segment.avg_logprob).reduce(f64::min),
            max_compression_ratio: scores(transcript, |segment| segment.compression_ratio)
                .reduce(f64::max),
            mean_word_probability: confidence.mean,
            p10_word_probability: confidence.p10,
            low_confidence_share: confidence.low_share,
            repeated_trigram_share: words::repeated_trigram_share(
                &transcript.text,
                &transcript.language,
            ),
            flagged_phrases: phrases::count(&transcript.segments),
            covered_seconds: covered_seconds(&transcript.segments),
            uncovered_speech_seconds: measured.uncovered_speech_seconds.and_then(finite),
            last_end_share,
            suspicious: is_suspicious(last_end_share, speech_share(&measured)),
            damaged: measured.damaged,
            stage_seconds: by_stage(measured.timings, |seconds| Some(rounded(seconds))),
            stage_rtfx: by_stage(measured.timings, |seconds| {
                ratio(transcript.duration, seconds).filter(|_| !measured.is_resumed)
            }),
            total_seconds: rounded(total_seconds),
            rtfx: ratio(transcript.duration, total_seconds).filter(|_| !measured.is_resumed),
            resumed: measured.is_resumed,
            model: ModelFacts {
                name: measured.engine.model.clone(),
                digest: measured.engine.model_digest.clone(),
                compute_type: measured.engine.compute_type.clone(),
                device: measured.engine.device.clone(),
            },
            peak_rss_bytes: measured.peak_rss_bytes,
            batch_size: batch_size(&measured.options),
            seed: None,
            options: measured.options,
            podrun_version: measured.podrun_version.to_owned(),
            // A publisher's own transcript was made on no device.
            ctranslate2_version: (measured.engine.device != "none")
                .then(|| CTRANSLATE2_VERSION.to_owned()),
            created_at: measured.created_at.trunc_subsecs(0),
        }
    }

    /// The whole file: one line.
    pub fn render(&self) -> String {
        let mut line = serde_json::to_string(self)
            .expect("figures are texts, numbers and maps with text keys, all of which JSON has");
        line.push('\n');
        line
    }
}

/// The finite ones of a score.
fn scores(transcript: &Transcript, score: fn(&Segment) -> f32) -> impl Iterator<Item = f64> {
    transcript
        .segments
        .iter()
        .filter_map(move |segment| finite(score(segment).into()))
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    ratio(sum, count.into())
}

/// `None` instead of a division by nothing.
fn ratio(part: f64, whole: f64) -> Option<f64> {
    if whole > 0.0 {
        finite(part / whole)
    } else {
        None
    }
}

fn finite(value: f64) -> Option<f64> {
    Some(rounded(value)).filter(|value| value.is_finite())
}

/// Length of the union of all segments; a stretch under two of them counts once.
fn covered_seconds(segments: &[Segment]) -> f64 {
    let (mut covered, mut reached) = (0.0, 0.0_f64);
    for segment in segments {
        let begin = segment.start.max(reached);
        if segment.end.is_finite() && segment.end > begin {
            covered += segment.end - begin;
            reached = segment.end;
        }
    }
    rounded(covered)
}

/// 0 for a transcript without segments, `None` where the audio has no length.
fn last_end_share(transcript: &Transcript) -> Option<f64> {
    let ends = transcript.segments.iter().map(|segment| segment.end);
    ratio(ends.fold(0.0, f64::max), transcript.duration)
}

/// How much of the audio is speech: as something heard that listened for it, or else by the windows
/// that were not left out as silent.
fn speech_share(measured: &Measured<'_>) -> Option<f64> {
    let windows = measured.windows;
    let heard = windows.total.saturating_sub(windows.silent);
    match measured.speech_seconds {
        Some(seconds) => ratio(seconds, measured.transcript.duration),
        None => ratio(heard as f64, windows.total as f64),
    }
}

/// An engine on a broken GPU returns nothing and no error; so does a decoder that lost its place.
/// Music and silence do too, but they are no speech.
fn is_suspicious(last_end_share: Option<f64>, speech_share: Option<f64>) -> bool {
    let ends_early = last_end_share.is_some_and(|share| share < EARLY_END_SHARE);
    ends_early && speech_share.is_some_and(|share| share > EARLY_END_SHARE)
}

fn batch_size(options: &serde_json::Value) -> Option<u64> {
    let is_batched = options.get("mode")?.as_str() == Some("batched");
    options.get("batch_size")?.as_u64().filter(|_| is_batched)
}

fn by_stage(timings: &Timings, figure: impl Fn(f64) -> Option<f64>) -> BTreeMap<TimedStage, f64> {
    let figure =
        |(stage, elapsed): (&TimedStage, &Duration)| Some((*stage, figure(elapsed.as_secs_f64())?));
    timings.stages.iter().filter_map(figure).collect()
}

#[cfg(test)]
mod tests;
