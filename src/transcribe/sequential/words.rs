//! Word times of a window's segments, and where the next window begins because of them.
//!
//! The rules are those of openai's `add_word_timestamps` as faster-whisper 1.2 has them, with three
//! differences that matter only where alignment and timestamps contradict each other. Words and marks
//! never cross from one segment to the next. Correcting a word only ever shortens it, so
//! that words stay in order. And a segment with words begins with the first and ends with the last of them.

use std::slice;
use std::sync::Arc;

use super::super::engine::{AlignRequest, MelWindow, SpeechEngine};
use super::super::options::TranscribeOptions;
use super::super::segmenting::{Split, TimedTokens, WindowSpan};
use super::super::tokenizer::Tokenizer;
use super::super::words::{
    TokenWord, TypicalDuration, merge_punctuation, shorten_after_pause, shorten_at_sentence_ends,
    words_of_parts,
};
use super::hallucination::{self, Judgement};
use super::{FRAMES_PER_SECOND, TranscribeError};
use crate::domain::Word;

/// How far a segment's timestamp and its word may differ before the timestamp is believed, in
/// seconds.
const TRUST: f64 = 0.5;

/// Times the words of one window after another.
#[derive(Debug)]
pub(super) struct WordTimer<'a> {
    tokenizer: &'a Tokenizer,
    options: &'a TranscribeOptions,
    language: &'a str,
    /// When the last word was said, in seconds.
    last_speech: f64,
    /// Frames of the whole audio.
    content_frames: u64,
}

impl<'a> WordTimer<'a> {
    pub(super) fn new(
        tokenizer: &'a Tokenizer,
        options: &'a TranscribeOptions,
        language: &'a str,
        content_frames: u64,
    ) -> Self {
        Self {
            tokenizer,
            options,
            language,
            last_speech: 0.0,
            content_frames,
        }
    }

    /// Gives the segments of a window their words, moves the next window behind the last of them, and
    /// removes what was likely invented. `start` is as [`SpeechEngine::align`] takes it.
    pub(super) fn apply(
        &mut self,
        engine: &mut dyn SpeechEngine,
        start: &[u32],
        window: &Arc<MelWindow>,
        span: WindowSpan,
        split: &mut Split,
    ) -> Result<Judgement, TranscribeError> {
        self.time(engine, start, window, span, &mut split.segments)?;
        if !split.is_finished {
            split.advance = behind_last_word(&split.segments, span).unwrap_or(split.advance);
        }
        let judgement = match self.options.hallucination_silence_threshold {
            Some(threshold) => {
                let silence = hallucination::Silence {
                    threshold,
                    since: self.last_speech,
                    content_frames: self.content_frames,
                };
                hallucination::judge(&mut split.segments, span, silence)
            }
            None => Judgement::Kept,
        };
        if let Judgement::Cut { advance } = judgement {
            split.advance = advance;
        }
        if !matches!(judgement, Judgement::Skipped { .. }) {
            self.last_speech = last_end(&split.segments).unwrap_or(self.last_speech);
        }
        Ok(judgement)
    }

    fn time(
        &self,
        engine: &mut dyn SpeechEngine,
        start: &[u32],
        window: &Arc<MelWindow>,
        span: WindowSpan,
        segments: &mut [TimedTokens],
    ) -> Result<(), TranscribeError> {
        let parts: Vec<Vec<u32>> = segments.iter().map(|s| self.text(&s.tokens)).collect();
        let request = AlignRequest {
            window: Arc::clone(window),
            text: parts.concat(),
        };
        if request.text.is_empty() {
            return Ok(());
        }
        let mut alignments = engine.align(start, slice::from_ref(&request))?;
        let alignment = alignments.pop().ok_or(TranscribeError::NoAnswer)?;
        let parts = words_of_parts(
            self.tokenizer,
            self.language,
            &parts,
            &alignment,
            span.seconds(),
        )?;
        self.give(parts, span, segments);
        Ok(())
    }

    fn text(&self, tokens: &[u32]) -> Vec<u32> {
        let end = self.tokenizer.special().end_of_text;
        tokens
            .iter()
            .copied()
            .filter(|&token| token < end)
            .collect()
    }

    /// Cleans the words' times, first those of the whole window, then segment by segment.
    fn give(&self, parts: Vec<Vec<TokenWord>>, span: WindowSpan, segments: &mut [TimedTokens]) {
        let counts: Vec<usize> = parts.iter().map(Vec::len).collect();
        let mut words = parts.concat();
        let typical = TypicalDuration::of(&words);
        shorten_at_sentence_ends(&mut words, typical);
        let mut words = words.into_iter();
        let mut silent_since = self.last_speech;
        for (segment, count) in std::iter::zip(segments, counts) {
            let own = words.by_ref().take(count).map(|word| shifted(word, span));
            let mut own = merge_punctuation(
                own.collect(),
                &self.options.prepend_punctuations,
                &self.options.append_punctuations,
            );
            shorten_after_pause(&mut own, typical, silent_since);
            settle(segment, &mut own, typical);
            segment.words = own.into_iter().map(word).collect();
            if !segment.words.is_empty() {
                silent_since = segment.end;
            }
        }
    }
}

/// On the audio's time base.
fn shifted(word: TokenWord, span: WindowSpan) -> TokenWord {
    TokenWord {
        start: rounded(span.start() + word.start),
        end: rounded(span.start() + word.end),
        ..word
    }
}

/// To the frame of 10 ms: windows begin on frames, and the next one may begin where a word ends.
fn rounded(seconds: f64) -> f64 {
    (seconds * FRAMES_PER_SECOND).round() / FRAMES_PER_SECOND
}

/// Brings a segment and its first and last word to agree: the word's time counts, unless it is
/// too far off the segment's timestamp.
fn settle(segment: &mut TimedTokens, words: &mut [TokenWord], typical: TypicalDuration) {
    if let Some(first) = words.first_mut() {
        if segment.start < first.end && segment.start - TRUST > first.start {
            let start = (first.end - typical.median).min(segment.start);
            first.start = rounded(start).max(first.start);
        }
        segment.start = rounded(first.start);
    }
    if let Some(last) = words.last_mut() {
        if segment.end > last.start && segment.end + TRUST < last.end {
            let end = (last.start + typical.median).max(segment.end);
            last.end = rounded(end).min(last.end);
        }
        segment.end = rounded(last.end);
    }
}

fn word(word: TokenWord) -> Word {
    Word {
        start: rounded(word.start),
        end: rounded(word.end),
        word: word.text,
        probability: word.probability,
    }
}

/// When the last word ends, or the last segment where there are no words.
fn last_end(segments: &[TimedTokens]) -> Option<f64> {
    let words = segments.iter().flat_map(|segment| &segment.words);
    let last_word = words.last().map(|word| word.end);
    last_word.or_else(|| segments.last().map(|segment| segment.end))
}

/// Frames up to the end of the last word, if that is behind the window's start.
fn behind_last_word(segments: &[TimedTokens], span: WindowSpan) -> Option<u64> {
    let end = last_end(segments)?;
    let frame = (end * FRAMES_PER_SECOND).round() as u64;
    frame.checked_sub(span.seek).filter(|&advance| advance > 0)
}

#[cfg(test)]
mod tests;
