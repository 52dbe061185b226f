//! Decoding one window, again and with more chance while the answer looks wrong.
//!
//! An answer that repeats itself or that the model itself doubts is sampled anew at the next
//! temperature (openai's `decode_with_fallback`, as faster-whisper 1.2 computes it).

use std::slice;

use super::compression::compression_ratio;
use super::engine::{DecodeOptions, Decoded, SpeechEngine, WindowRequest};
use super::options::TranscribeOptions;
use super::sequential::TranscribeError;
use super::tokenizer::Tokenizer;

/// An answer and what its guards say of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// The answer.
    pub decoded: Decoded,
    /// Temperature it was decoded with; the last one tried where none was good enough.
    pub temperature: f32,
    /// Mean log-probability of its tokens, end-of-text included.
    pub avg_logprob: f64,
    /// Of its text; see [`compression_ratio`].
    pub compression_ratio: f32,
    /// Decodings it took.
    pub tries: usize,
    /// Whether none was good enough.
    pub is_doubtful: bool,
}

impl Attempt {
    /// Whether the window holds no speech: the model thinks so, and is unsure of what it said.
    pub fn is_silent(&self, options: &TranscribeOptions) -> bool {
        let no_speech = f64::from(self.decoded.no_speech_prob);
        let is_sure = options
            .log_prob_threshold
            .is_some_and(|threshold| self.avg_logprob > threshold);
        options
            .no_speech_threshold
            .is_some_and(|threshold| no_speech > threshold)
            && !is_sure
    }

    pub(super) fn is_repetitive(&self, options: &TranscribeOptions) -> bool {
        options
            .compression_ratio_threshold
            .is_some_and(|threshold| f64::from(self.compression_ratio) > threshold)
    }

    fn is_unlikely(&self, options: &TranscribeOptions) -> bool {
        options
            .log_prob_threshold
            .is_some_and(|threshold| self.avg_logprob < threshold)
    }

    /// A silent window is not decoded again: no temperature finds words in it.
    pub(super) fn needs_another_try(&self, options: &TranscribeOptions) -> bool {
        let no_speech = f64::from(self.decoded.no_speech_prob);
        let is_unlikely = self.is_unlikely(options);
        let is_silence = is_unlikely
            && options
                .no_speech_threshold
                .is_some_and(|threshold| no_speech > threshold);
        (is_unlikely || self.is_repetitive(options)) && !is_silence
    }
}

/// Decodes one window at the first of `temperatures` whose answer passes the guards; where none
/// does, takes the likeliest answer that does not repeat itself, or else the likeliest.
///
/// No temperature at all means 0.
pub fn decode_window(
    engine: &mut dyn SpeechEngine,
    tokenizer: &Tokenizer,
    request: &WindowRequest,
    temperatures: &[f32],
    options: &TranscribeOptions,
) -> Result<Attempt, TranscribeError> {
    let first = temperatures.first().copied().unwrap_or(0.0);
    let mut best = attempt(engine, tokenizer, request, first, options)?;
    let mut is_good = !best.needs_another_try(options);
    let mut last = &first;
    let mut tries = 1;
    for temperature in temperatures.iter().skip(1) {
        if is_good {
            break;
        }
        let next = attempt(engine, tokenizer, request, *temperature, options)?;
        is_good = !next.needs_another_try(options);
        last = temperature;
        tries += 1;
        if is_good || is_better(&next, &best, options) {
            best = next;
        }
    }
    Ok(Attempt {
        temperature: *last,
        tries,
        is_doubtful: !is_good,
        ..best
    })
}

/// Not repeating oneself outweighs being likely.
pub(super) fn is_better(next: &Attempt, best: &Attempt, options: &TranscribeOptions) -> bool {
    match (next.is_repetitive(options), best.is_repetitive(options)) {
        (false, true) => true,
        (true, false) => false,
        _ => next.avg_logprob > best.avg_logprob,
    }
}

fn attempt(
    engine: &mut dyn SpeechEngine,
    tokenizer: &Tokenizer,
    request: &WindowRequest,
    temperature: f32,
    options: &TranscribeOptions,
) -> Result<Attempt, TranscribeError> {
    let decode = decode_options(tokenizer, temperature, options);
    let mut answers = engine.generate(slice::from_ref(request), &decode)?;
    let decoded = answers.pop().ok_or(TranscribeError::NoAnswer)?;
    judge(tokenizer, decoded, temperature, options)
}

/// What the guards say of an answer.
pub(super) fn judge(
    tokenizer: &Tokenizer,
    decoded: Decoded,
    temperature: f32,
    options: &TranscribeOptions,
) -> Result<Attempt, TranscribeError> {
    let text = tokenizer.decode(&decoded.tokens)?;
    Ok(Attempt {
        avg_logprob: average_log_probability(&decoded, options.length_penalty),
        compression_ratio: compression_ratio(text.trim()),
        decoded,
        temperature,
        tries: 1,
        is_doubtful: false,
    })
}

pub(super) fn decode_options(
    tokenizer: &Tokenizer,
    temperature: f32,
    options: &TranscribeOptions,
) -> DecodeOptions {
    let step = Tokenizer::TIME_PRECISION;
    DecodeOptions {
        beam_size: options.beam_size,
        patience: options.patience,
        length_penalty: options.length_penalty,
        temperature,
        best_of: options.best_of,
        repetition_penalty: options.repetition_penalty,
        no_repeat_ngram_size: options.no_repeat_ngram_size,
        suppress_blank: options.suppress_blank,
        suppress_tokens: tokenizer.suppressed_with(&options.suppress_tokens),
        max_initial_timestamp_index: (options.max_initial_timestamp / step).round() as usize,
        ..DecodeOptions::default()
    }
}

/// Undoes the engine's division by `length^length_penalty`, then divides by the tokens that went
/// into the sum, end-of-text among them.
///
/// Without tokens the engine's score is a division by zero; there is nothing to doubt then, so
/// the average is 0.
fn average_log_probability(decoded: &Decoded, length_penalty: f32) -> f64 {
    let length = decoded.tokens.len() as f64;
    if length == 0.0 {
        return 0.0;
    }
    f64::from(decoded.score) * length.powf(length_penalty.into()) / (length + 1.0)
}

#[cfg(test)]
mod tests {
    use super::super::scripted::{ScriptedEngine, decoded_for_test, window_for_test};
    use super::super::tokenizer::tokenizer_for_test;
    use super::*;

    const LADDER: [f32; 3] = [0.0, 0.2, 0.4];

    /// An answer of `text` whose average log-probability is `average`.
    fn said(text: &str, average: f64) -> Decoded {
        let tokens = tokenizer_for_test().encode(text).unwrap();
        let length = tokens.len() as f64;
        Decoded {
            score: (average * (length + 1.0) / length) as f32,
            ..decoded_for_test(&tokens)
        }
    }

    fn decode(answers: Vec<Decoded>) -> (Attempt, Vec<DecodeOptions>) {
        let mut engine = ScriptedEngine::with_answers(answers);
        let calls = engine.calls();
        let request = WindowRequest {
            window: window_for_test(3000),
            prompt: vec![1],
        };
        let options = TranscribeOptions::default();
        let tokenizer = tokenizer_for_test();
        let attempt = decode_window(&mut engine, &tokenizer, &request, &LADDER, &options).unwrap();
        let asked = calls.asked().into_iter().map(|call| call.options);
        (attempt, asked.collect())
    }

    #[test]
    fn a_good_answer_is_taken_at_once() {
        let (attempt, asked) = decode(vec![said(" hello there", -0.5)]);
        assert!((attempt.avg_logprob + 0.5).abs() < 1e-6);
        assert_eq!((attempt.tries, attempt.temperature), (1, 0.0));
        assert!(!attempt.is_doubtful);
        assert_eq!(asked[0].max_initial_timestamp_index, 50);
        assert!(!asked[0].suppress_tokens.contains(&-1));
    }

    #[test]
    fn an_unlikely_answer_is_sampled_anew() {
        let (attempt, asked) = decode(vec![said(" helo", -1.5), said(" hello", -0.5)]);
        assert_eq!((attempt.tries, attempt.temperature), (2, 0.2));
        assert_eq!(asked[1].temperature, 0.2);
        assert_eq!(attempt.decoded, said(" hello", -0.5));
    }

    #[test]
    fn a_loop_is_sampled_anew_however_likely() {
        let looped = said(&" and then we go".repeat(20), -0.01);
        let (attempt, _) = decode(vec![looped, said(" and then we go", -0.5)]);
        assert_eq!(attempt.tries, 2);
        assert!(attempt.compression_ratio < 2.4);
    }

    #[test]
    fn silence_is_not_sampled_anew() {
        let silence = Decoded {
            no_speech_prob: 0.9,
            ..said(" you", -1.5)
        };
        let (attempt, _) = decode(vec![silence]);
        assert_eq!(attempt.tries, 1);
        assert!(attempt.is_silent(&TranscribeOptions::default()));
    }

    #[test]
    fn when_all_fail_the_likeliest_that_does_not_loop_is_taken() {
        let looped = said(&" and then we go".repeat(20), -0.01);
        let answers = vec![said(" one", -1.9), looped, said(" two", -1.5)];
        let (attempt, _) = decode(answers);
        assert_eq!(attempt.decoded, said(" two", -1.5));
        assert_eq!((attempt.tries, attempt.temperature), (3, 0.4));
        assert!(attempt.is_doubtful);
        let answers = vec![said(" one", -1.5), said(" two", -1.9), said(" three", -1.8)];
        let (attempt, _) = decode(answers);
        assert_eq!(attempt.decoded, said(" one", -1.5));
        // The last temperature tried, whichever answer won: it decides on the next prompt.
        assert_eq!(attempt.temperature, 0.4);
    }

    #[test]
    fn a_sure_answer_is_not_silent_whatever_the_no_speech_token_says() {
        let options = TranscribeOptions::default();
        let sure = Decoded {
            no_speech_prob: 0.9,
            ..said(" hello", -0.5)
        };
        let (attempt, _) = decode(vec![sure]);
        assert!(!attempt.is_silent(&options));
        let no_log_prob = TranscribeOptions {
            log_prob_threshold: None,
            ..options.clone()
        };
        assert!(attempt.is_silent(&no_log_prob));
        let no_threshold = TranscribeOptions {
            no_speech_threshold: None,
            ..no_log_prob
        };
        assert!(!attempt.is_silent(&no_threshold));
    }

    #[test]
    fn an_answer_without_tokens_has_a_finite_average() {
        let nothing = Decoded {
            score: f32::NEG_INFINITY,
            ..decoded_for_test(&[])
        };
        let (attempt, _) = decode(vec![nothing]);
        assert_eq!(attempt.avg_logprob, 0.0);
        assert_eq!(attempt.tries, 1);
    }
}
