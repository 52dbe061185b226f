//! What a detector finds and what it takes for speech, by time.

use std::error::Error;
use std::fs::File;
use std::path::Path;

use podrun::transcribe::decode::PcmStream;
use podrun::transcribe::speech::SpeechStream;
use podrun::transcribe::vad::{SpeechDetector, SpeechSpan, SpeechSpans, VadOptions};
use serde::Deserialize;

/// A sentence of `tools/speech/make_speech.py`, in seconds.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Sentence {
    pub(crate) start: f64,
    pub(crate) end: f64,
}

/// The samples of a media file.
pub(crate) fn read_samples(file: &Path) -> Result<Vec<f32>, Box<dyn Error>> {
    let mut speech = SpeechStream::new(PcmStream::open(Box::new(File::open(file)?))?);
    let mut samples = Vec::new();
    while let Some(block) = speech.next_block()? {
        samples.extend_from_slice(block);
    }
    Ok(samples)
}

/// The sentences in the file that `make_speech.py` writes beside the audio.
pub(crate) fn read_truth(audio: &Path) -> Result<Vec<Sentence>, Box<dyn Error>> {
    let truth = audio.with_extension("truth.json");
    Ok(serde_json::from_reader(File::open(truth)?)?)
}

/// Spans of speech, in blocks as a decoder gives them.
pub(crate) fn spans(samples: &[f32], options: &VadOptions) -> Vec<SpeechSpan> {
    let mut detector = SpeechDetector::new();
    let mut probabilities = Vec::new();
    for block in samples.chunks(1152) {
        detector.push(block, &mut probabilities);
    }
    detector.finish(&mut probabilities);
    let mut spans = SpeechSpans::new(options);
    let mut found: Vec<_> = probabilities
        .iter()
        .filter_map(|&probability| spans.push(probability))
        .collect();
    found.extend(spans.finish(samples.len() as u64));
    found
}

/// Seconds that lie in the spans.
pub(crate) fn seconds(spans: &[SpeechSpan]) -> f64 {
    spans
        .iter()
        .map(|span| (span.end - span.start) as f64 / 16_000.0)
        .sum()
}

/// Seconds of the sentences, and how many of them lie in the spans.
pub(crate) fn found(spans: &[SpeechSpan], sentences: &[Sentence]) -> (f64, f64) {
    let total = sentences
        .iter()
        .map(|sentence| sentence.end - sentence.start);
    let overlap = |sentence: &Sentence, span: &SpeechSpan| {
        let end = (span.end as f64 / 16_000.0).min(sentence.end);
        (end - (span.start as f64 / 16_000.0).max(sentence.start)).max(0.0)
    };
    let found = sentences
        .iter()
        .flat_map(|sentence| spans.iter().map(move |span| overlap(sentence, span)));
    (total.sum(), found.sum())
}
