use std::sync::LazyLock;

use proptest::prelude::*;

use super::super::super::engine::{AlignRequest, Alignment, DecodeOptions, Decoded, LanguageScore};
use super::super::super::engine::{EngineInfo, WindowRequest};
use super::super::super::scripted::{ScriptedEngine, decoded_for_test};
use super::super::super::tokenizer::tokenizer_for_test;
use super::super::tests::{Silence, said};
use super::super::*;

/// Making one takes longer than a case does.
static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(tokenizer_for_test);

/// A scripted engine whose alignments are scripted as well, one a window, over and over.
#[derive(Debug)]
struct AlignedEngine {
    inner: ScriptedEngine,
    alignments: Vec<Alignment>,
    aligned: Vec<(Vec<u32>, AlignRequest)>,
}

impl AlignedEngine {
    fn new(answers: Vec<Decoded>, alignments: Vec<Alignment>) -> Self {
        Self {
            inner: ScriptedEngine::answering(move |call| {
                Ok(answers[call.index % answers.len()].clone())
            }),
            alignments,
            aligned: Vec::new(),
        }
    }
}

impl SpeechEngine for AlignedEngine {
    fn encode(&mut self, _: &[Arc<MelWindow>]) -> Result<(), EngineError> {
        Ok(())
    }

    fn describe(&self) -> EngineInfo {
        self.inner.describe()
    }

    fn detect_language(
        &mut self,
        windows: &[Arc<MelWindow>],
    ) -> Result<Vec<Vec<LanguageScore>>, EngineError> {
        self.inner.detect_language(windows)
    }

    fn generate(
        &mut self,
        requests: &[WindowRequest],
        options: &DecodeOptions,
    ) -> Result<Vec<Decoded>, EngineError> {
        self.inner.generate(requests, options)
    }

    fn align(
        &mut self,
        start: &[u32],
        requests: &[AlignRequest],
    ) -> Result<Vec<Alignment>, EngineError> {
        let index = self.aligned.len() % self.alignments.len();
        self.aligned.push((start.to_vec(), requests[0].clone()));
        Ok(vec![self.alignments[index].clone()])
    }
}

/// One token after the other, from `start` on and every `step` seconds.
fn paced(tokens: u32, start: f64, step: f64) -> Alignment {
    let position = |token: u32| ((start + step * f64::from(token)) * 50.0).round() as u32;
    Alignment {
        path: (0..=tokens).map(|token| (token, position(token))).collect(),
        probabilities: vec![0.9; tokens as usize],
    }
}

fn with_words() -> TranscribeOptions {
    TranscribeOptions {
        word_timestamps: true,
        language: Some("en".to_owned()),
        ..TranscribeOptions::default()
    }
}

fn hear(
    engine: &mut AlignedEngine,
    seconds: u64,
    options: &TranscribeOptions,
) -> (Transcription, Vec<u64>) {
    let mut source = Silence::seconds(seconds);
    let heard = transcribe(engine, &TOKENIZER, &mut source, options, &mut ()).unwrap();
    assert_words(&heard, seconds as f64);
    (heard, source.seeks)
}

/// What holds for every transcription with words, whatever the model says.
fn assert_words(heard: &Transcription, duration: f64) {
    let mut latest = 0.0;
    for segment in &heard.segments {
        let words = &segment.words;
        let joined: String = words.iter().map(|word| word.word.as_str()).collect();
        assert_eq!(joined, segment.text);
        assert_eq!(segment.start, words[0].start);
        assert_eq!(segment.end, words[words.len() - 1].end);
        for word in words {
            assert!(
                latest <= word.start && word.start <= word.end,
                "{latest} {segment:?}"
            );
            latest = word.end;
        }
    }
    assert!(latest <= duration + 1e-9, "{latest} of {duration}");
}

fn rows(heard: &Transcription) -> Vec<(f64, f64, &str)> {
    let segments = heard.segments.iter();
    segments
        .map(|s| (s.start, s.end, s.text.as_str()))
        .collect()
}

#[test]
fn segments_begin_and_end_with_their_words() {
    // Eleven and seven bytes, a tenth of a second each.
    let answer = said("0.0| hello one.|1.4|1.4| bye.");
    let mut engine = AlignedEngine::new(vec![answer], vec![paced(11, 0.2, 0.1)]);
    let (heard, seeks) = hear(&mut engine, 20, &with_words());
    assert_eq!(rows(&heard)[0], (0.2, 1.2, " hello one."));
    let words = heard.segments[0].words.iter();
    let words: Vec<_> = words.map(|w| (w.word.as_str(), w.start, w.end)).collect();
    // The mark is joined to its word and does not lengthen it.
    assert_eq!(words, [(" hello", 0.2, 0.8), (" one.", 0.8, 1.2)]);
    // The next window begins behind the last word, not at the timestamp.
    assert_eq!(seeks[1], 120);
    let (start, request) = &engine.aligned[0];
    let tokenizer = &*TOKENIZER;
    let special = tokenizer.special();
    let english = tokenizer.language("en").unwrap();
    assert_eq!(
        *start,
        [special.start_of_transcript, english, special.transcribe]
    );
    assert_eq!(request.text, tokenizer.encode(" hello one.").unwrap());
}

#[test]
fn an_english_model_is_aligned_without_language_and_task() {
    let mut engine = AlignedEngine::new(Vec::new(), vec![paced(6, 0.0, 0.1)]);
    engine.inner = ScriptedEngine::answering(|_| Ok(said("0.0| hello|1.0"))).english_only();
    let (heard, _) = hear(&mut engine, 10, &with_words());
    assert_eq!(rows(&heard), [(0.0, 0.6, " hello")]);
    let special = *TOKENIZER.special();
    assert_eq!(engine.aligned[0].0, [special.start_of_transcript]);
}

#[test]
fn a_finished_window_is_left_as_a_whole() {
    let answer = said("0.0| hello|3.0|3.0| you|5.0");
    let mut engine = AlignedEngine::new(vec![answer], vec![paced(10, 1.0, 0.2)]);
    let (heard, seeks) = hear(&mut engine, 40, &with_words());
    assert_eq!(seeks, [0, 3000]);
    assert_eq!(
        rows(&heard)[..2],
        [(1.0, 2.2, " hello"), (2.2, 3.0, " you")]
    );
}

#[test]
fn a_timestamp_far_from_its_word_is_believed() {
    let answer = said("1.2| hello|1.4|1.4");
    // The word is stretched beyond both.
    let mut engine = AlignedEngine::new(vec![answer], vec![paced(6, 0.0, 1.0 / 3.0)]);
    let (heard, _) = hear(&mut engine, 10, &with_words());
    // It keeps the length that words have.
    assert_eq!(rows(&heard)[0], (1.2, 1.9, " hello"));
}

#[test]
fn words_and_marks_stay_in_their_segments() {
    let answer = said("0.0| one \"|1.0|1.0|two| three.|2.0|2.0|. four|3.0");
    let mut engine = AlignedEngine::new(vec![answer], vec![paced(23, 0.0, 0.1)]);
    let (heard, _) = hear(&mut engine, 30, &with_words());
    let words: Vec<Vec<&str>> = heard
        .segments
        .iter()
        .map(|segment| segment.words.iter().map(|w| w.word.as_str()).collect())
        .collect();
    assert_eq!(words[0], [" one", " \""]);
    assert_eq!(words[1], ["two", " three."]);
    assert_eq!(words[2], [".", " four"]);
}

#[test]
fn a_window_without_text_is_not_aligned() {
    let mut engine = AlignedEngine::new(vec![said("0.0|2.0")], vec![paced(1, 0.0, 1.0)]);
    let (heard, seeks) = hear(&mut engine, 60, &with_words());
    assert_eq!(heard.segments, []);
    assert_eq!(seeks, [0, 3000]);
    assert_eq!(engine.aligned, []);
}

#[test]
fn strange_words_behind_silence_are_heard_anew_from_where_they_stand() {
    let options = TranscribeOptions {
        hallucination_silence_threshold: Some(2.0),
        ..with_words()
    };
    let strange = Alignment {
        probabilities: vec![0.01; 4],
        ..paced(4, 10.0, 0.1)
    };
    let answers = vec![said("10.0| you|11.0|11.0|"), said("0.0| you|1.0")];
    let mut engine = AlignedEngine::new(answers, vec![strange, paced(4, 0.0, 0.1)]);
    let (heard, seeks) = hear(&mut engine, 40, &options);
    assert_eq!(seeks[..2], [0, 1000]);
    assert_eq!(rows(&heard), [(10.0, 10.4, " you")]);
}

/// Tokens of a model that mostly follows the rules, and sometimes does not.
fn any_answer() -> impl Strategy<Value = Decoded> {
    let begin = TOKENIZER.timestamp_begin();
    let text = (0..256_u32).prop_map(|token| vec![token]);
    let word = Just(TOKENIZER.encode(" word").unwrap());
    let stop = Just(TOKENIZER.encode(".").unwrap());
    let stamp = (0..=1500_u32).prop_map(move |step| vec![begin + step]);
    let pair = (0..=1500_u32).prop_map(move |step| vec![begin + step, begin + step]);
    let piece = prop_oneof![1 => text, 6 => word, 2 => stop, 2 => stamp, 3 => pair];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| decoded_for_test(&pieces.concat()))
}

fn any_alignment() -> impl Strategy<Value = Alignment> {
    let broken = prop::collection::vec((0..60_u32, 0..3000_u32), 0..40);
    let broken = (broken, prop::collection::vec(any::<f32>(), 0..60));
    let broken = broken.prop_map(|(path, probabilities)| Alignment {
        path,
        probabilities,
    });
    let plain = (0.0..20.0_f64, 0.0..0.5_f64).prop_map(|(start, step)| paced(60, start, step));
    prop_oneof![1 => broken, 3 => plain]
}

proptest! {
    // Windows of a broken model may advance by a frame each.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn words_are_in_order_whatever_the_model_says(
        answers in prop::collection::vec(any_answer(), 1..5),
        alignments in prop::collection::vec(any_alignment(), 1..5),
        threshold in prop::option::of(0.0..5.0_f64),
        seconds in 1..40_u64,
    ) {
        let options = TranscribeOptions {
            hallucination_silence_threshold: threshold,
            ..with_words()
        };
        let mut engine = AlignedEngine::new(answers, alignments);
        hear(&mut engine, seconds, &options);
    }
}
