use super::super::engine::Decoded;
use super::super::scripted::{ScriptedCalls, ScriptedEngine, decoded_for_test, window_for_test};
use super::super::tokenizer::tokenizer_for_test;
use super::*;

/// Silence of a given length that remembers where windows were taken.
pub(super) struct Silence {
    frames: u64,
    pub(super) seeks: Vec<u64>,
    fails_at: Option<u64>,
}

impl Silence {
    pub(super) fn seconds(seconds: u64) -> Self {
        Self {
            frames: seconds * 100,
            seeks: Vec::new(),
            fails_at: None,
        }
    }
}

impl WindowSource for Silence {
    type Error = std::io::Error;

    fn content_frames(&self) -> u64 {
        self.frames
    }

    fn window(&mut self, seek: u64) -> Result<Arc<MelWindow>, std::io::Error> {
        assert!(seek < self.frames && self.seeks.iter().all(|&before| before <= seek));
        if self.fails_at.is_some_and(|at| seek >= at) {
            return Err(std::io::Error::other("the file ends early"));
        }
        self.seeks.push(seek);
        Ok(window_for_test(
            usize::try_from(self.frames - seek)
                .unwrap()
                .min(MelWindow::FRAMES),
        ))
    }
}

/// Tokens of `"0.0| one|2.0"`: what parses as a number is a timestamp.
fn tokens(parts: &str) -> Vec<u32> {
    let tokenizer = tokenizer_for_test();
    let mut tokens = Vec::new();
    for part in parts.split('|') {
        match part.parse::<f64>() {
            Ok(time) => tokens.push(tokenizer.timestamp_begin() + (time * 50.0).round() as u32),
            Err(_) => tokens.extend(tokenizer.encode(part).unwrap()),
        }
    }
    tokens
}

pub(super) fn said(parts: &str) -> Decoded {
    decoded_for_test(&tokens(parts))
}

fn run(
    engine: ScriptedEngine,
    source: &mut Silence,
    options: &TranscribeOptions,
) -> Result<(Transcription, ScriptedCalls), TranscribeError> {
    let mut engine = engine;
    let calls = engine.calls();
    let tokenizer = tokenizer_for_test();
    let transcription = transcribe(&mut engine, &tokenizer, source, options, &mut ())?;
    Ok((transcription, calls))
}

fn transcribe_all(seconds: u64, answers: Vec<Decoded>) -> (Transcription, Vec<u64>) {
    let mut source = Silence::seconds(seconds);
    let options = TranscribeOptions {
        language: Some("es".to_owned()),
        ..TranscribeOptions::default()
    };
    let engine = ScriptedEngine::with_answers(answers);
    let (transcription, _) = run(engine, &mut source, &options).unwrap();
    (transcription, source.seeks)
}

fn prompts(calls: &ScriptedCalls) -> Vec<Vec<u32>> {
    let asked = calls.asked().into_iter();
    asked.map(|call| call.request.prompt).collect()
}

#[test]
fn windows_go_on_behind_the_last_finished_segment() {
    let (heard, seeks) = transcribe_all(
        40,
        vec![
            said("0.0| one.|12.0|12.5| two.|21.0|21.0| thr"),
            said("0.0| three.|10.0|10.0"),
            said("0.5| four.|8.0"),
        ],
    );
    assert_eq!(seeks, [0, 2100, 3100]);
    let rows: Vec<_> = heard
        .segments
        .iter()
        .map(|s| (s.id, s.seek, s.start, s.end, s.text.as_str()))
        .collect();
    assert_eq!(
        rows,
        [
            (0, 0, 0.0, 12.0, " one."),
            (1, 0, 12.5, 21.0, " two."),
            (2, 2100, 21.0, 31.0, " three."),
            // One timestamp at the end of a window without a pair: the window is the segment.
            (3, 3100, 31.0, 39.0, " four."),
        ]
    );
    let transcript = heard.into_transcript(40.0);
    assert_eq!(transcript.text, " one. two. three. four.");
    assert_eq!(
        (
            transcript.language.as_str(),
            transcript.language_probability
        ),
        ("es", 1.0)
    );
}

#[test]
fn a_silent_window_is_left_out() {
    let silence = Decoded {
        no_speech_prob: 0.8,
        score: -3.0,
        ..said("0.0| you|2.0")
    };
    let (heard, seeks) = transcribe_all(60, vec![silence, said("0.0| one|2.0")]);
    assert_eq!(seeks, [0, 3000]);
    assert_eq!(heard.segments.len(), 1);
    assert_eq!(heard.segments[0].start, 30.0);
    let counts = WindowCounts {
        total: 2,
        silent: 1,
        ..WindowCounts::default()
    };
    assert_eq!(heard.windows, counts);
}

#[test]
fn segments_without_text_or_length_are_dropped() {
    let (heard, _) = transcribe_all(30, vec![said("0.0| one|2.0|2.0|3.0| |4.0|4.0| two|5.0")]);
    let texts: Vec<_> = heard.segments.iter().map(|s| s.text.as_str()).collect();
    assert_eq!(texts, [" one", " two"]);
    assert_eq!(heard.segments[1].id, 1);
}

#[test]
fn answers_that_stand_still_end_all_the_same() {
    let stuck = || said("0.0|0.0| again");
    let (heard, seeks) = transcribe_all(65, vec![stuck(), stuck(), stuck()]);
    assert_eq!(seeks, [0, 3000, 6000]);
    assert_eq!(heard.segments, []);
}

#[test]
fn a_short_advance_reaches_the_end() {
    let engine = ScriptedEngine::answering(|_| Ok(said("0.0| a|0.02|0.02")));
    let mut source = Silence::seconds(1);
    let options = TranscribeOptions::default();
    let (heard, _) = run(engine, &mut source, &options).unwrap();
    assert_eq!(heard.windows.total, 50);
}

#[test]
fn an_audio_without_a_frame_has_no_segments() {
    let mut source = Silence::seconds(0);
    let options = TranscribeOptions::default();
    let (heard, calls) = run(ScriptedEngine::with_answers([]), &mut source, &options).unwrap();
    assert_eq!(heard.segments, []);
    assert_eq!(heard.language_probability, 0.0);
    assert_eq!(calls.started(), 0);
}

#[test]
fn the_language_is_heard_from_the_first_window() {
    let engine =
        ScriptedEngine::with_answers([said("0.0| hola|2.0")]).hearing([("es", 0.7), ("en", 0.3)]);
    let mut source = Silence::seconds(10);
    let options = TranscribeOptions::default();
    let (heard, calls) = run(engine, &mut source, &options).unwrap();
    assert_eq!(
        (heard.language.as_str(), heard.language_probability),
        ("es", 0.7)
    );
    let tokenizer = tokenizer_for_test();
    let special = tokenizer.special();
    assert_eq!(
        prompts(&calls),
        [[
            special.start_of_transcript,
            tokenizer.language("es").unwrap(),
            special.transcribe
        ]]
    );
}

#[test]
fn an_english_model_gets_neither_language_nor_task() {
    let engine = ScriptedEngine::with_answers([said("0.0| one|2.0")]).english_only();
    let mut source = Silence::seconds(10);
    let options = TranscribeOptions {
        language: Some("es".to_owned()),
        without_timestamps: true,
        ..TranscribeOptions::default()
    };
    let (heard, calls) = run(engine, &mut source, &options).unwrap();
    assert_eq!(heard.language, "en");
    let tokenizer = tokenizer_for_test();
    let special = tokenizer.special();
    let expected = [[special.start_of_transcript, special.no_timestamps]];
    assert_eq!(prompts(&calls), expected);
}

#[test]
fn windows_are_independent_unless_asked_for() {
    let answers = || [said("0.0| one|30.0|30.0"), said("0.0| two|30.0|30.0")];
    let conditioned = TranscribeOptions {
        condition_on_previous_text: true,
        ..TranscribeOptions::default()
    };
    let mut source = Silence::seconds(60);
    let engine = ScriptedEngine::with_answers(answers());
    let (_, calls) = run(engine, &mut source, &conditioned).unwrap();
    let start_of_previous = tokenizer_for_test().special().start_of_previous;
    let mut previous = vec![start_of_previous];
    previous.extend(tokens("0.0| one|30.0"));
    assert!(prompts(&calls)[1].starts_with(&previous));

    let mut source = Silence::seconds(60);
    let engine = ScriptedEngine::with_answers(answers());
    let options = TranscribeOptions::default();
    let (_, calls) = run(engine, &mut source, &options).unwrap();
    assert!(!prompts(&calls)[1].contains(&start_of_previous));
}

#[test]
fn chance_makes_the_text_before_forgotten() {
    let options = TranscribeOptions {
        condition_on_previous_text: true,
        temperatures: vec![0.8],
        ..TranscribeOptions::default()
    };
    let mut source = Silence::seconds(60);
    let engine = ScriptedEngine::answering(|_| Ok(said("0.0| one|30.0|30.0")));
    let (_, calls) = run(engine, &mut source, &options).unwrap();
    assert_eq!(prompts(&calls)[1].len(), 3);
}

#[test]
fn previous_text_leaves_room_for_the_answer() {
    let options = TranscribeOptions {
        condition_on_previous_text: true,
        initial_prompt: Some("  A garden show.  ".to_owned()),
        ..TranscribeOptions::default()
    };
    let mut source = Silence::seconds(60);
    let long = format!("0.0| {}|30.0|30.0", "word ".repeat(100));
    let engine = ScriptedEngine::answering(move |_| Ok(said(&long)));
    let (_, calls) = run(engine, &mut source, &options).unwrap();
    let prompts = prompts(&calls);
    assert_eq!(prompts[0].len(), 1 + " A garden show.".len() + 3);
    assert_eq!(prompts[1].len(), 1 + 223 + 3);
    // The end of the text, its closing timestamp last, is what stays.
    assert_eq!(prompts[1][223], tokens("30.0")[0]);
}

#[test]
fn a_prefix_is_for_the_first_window_and_hotwords_for_the_others() {
    let options = TranscribeOptions {
        hotwords: Some("Alice".to_owned()),
        prefix: Some("Well".to_owned()),
        ..TranscribeOptions::default()
    };
    let mut source = Silence::seconds(60);
    let engine = ScriptedEngine::answering(|_| Ok(said("0.0| Well|30.0|30.0")));
    let (_, calls) = run(engine, &mut source, &options).unwrap();
    let prompts = prompts(&calls);
    assert!(prompts[0].ends_with(&tokens("0.0| Well")));
    assert_eq!(prompts[0].len(), 3 + 1 + 5);
    assert_eq!(prompts[1].len(), 1 + 6 + 3);
}

/// Every option that the engine takes arrives there.
#[test]
fn how_to_decode_reaches_the_engine() {
    let options = TranscribeOptions {
        repetition_penalty: 1.5,
        no_repeat_ngram_size: 3,
        suppress_blank: false,
        suppress_tokens: vec![7],
        max_initial_timestamp: 0.5,
        patience: 2.0,
        ..TranscribeOptions::default()
    };
    let engine = ScriptedEngine::with_answers([said("0.0| one|2.0")]);
    let (_, calls) = run(engine, &mut Silence::seconds(10), &options).unwrap();
    let asked = &calls.asked()[0].options;
    assert_eq!(
        (asked.repetition_penalty, asked.no_repeat_ngram_size),
        (1.5, 3)
    );
    assert!(!asked.suppress_blank && asked.suppress_tokens.contains(&7));
    assert_eq!(
        (asked.max_initial_timestamp_index, asked.patience),
        (25, 2.0)
    );
    assert_eq!(asked.suppress_tokens.len(), 1 + 6);
}

/// A model for 128 mel bands, as large-v3, is given what its source makes.
#[test]
fn windows_of_128_mel_bands_pass_as_they_are() {
    struct Wide(Silence);
    impl WindowSource for Wide {
        type Error = std::io::Error;

        fn content_frames(&self) -> u64 {
            self.0.content_frames()
        }

        fn window(&mut self, seek: u64) -> Result<Arc<MelWindow>, std::io::Error> {
            let frames = self.0.window(seek)?.frames;
            Ok(Arc::new(MelWindow {
                features: vec![0.0; 128 * MelWindow::FRAMES],
                n_mels: 128,
                frames,
            }))
        }
    }
    let mut engine = ScriptedEngine::with_answers([said("0.0| one|2.0")]);
    let calls = engine.calls();
    let mut source = Wide(Silence::seconds(10));
    let options = TranscribeOptions {
        word_timestamps: true,
        ..TranscribeOptions::default()
    };
    let heard = transcribe(
        &mut engine,
        &tokenizer_for_test(),
        &mut source,
        &options,
        &mut (),
    );
    assert_eq!(heard.unwrap().segments.len(), 1);
    assert_eq!(calls.asked()[0].request.window.n_mels, 128);
}

#[test]
fn unknown_languages_and_failures_are_told_apart() {
    let options = TranscribeOptions {
        language: Some("tlh".to_owned()),
        ..TranscribeOptions::default()
    };
    let engine = ScriptedEngine::with_answers([]);
    let error = run(engine, &mut Silence::seconds(10), &options).unwrap_err();
    let unknown = TokenizerError::UnknownLanguage {
        language: "tlh".to_owned(),
        known: "en, es, yue".to_owned(),
    };
    assert_eq!(error.to_string(), unknown.to_string());

    let options = TranscribeOptions::default();
    let mut cut_off = Silence {
        fails_at: Some(3000),
        ..Silence::seconds(60)
    };
    let engine = ScriptedEngine::with_answers([said("0.0| one|30.0|30.0")]);
    let error = run(engine, &mut cut_off, &options).unwrap_err();
    assert!(matches!(&error, TranscribeError::Source(source) if source.is::<std::io::Error>()));

    let engine = ScriptedEngine::with_answers([]);
    let error = run(engine, &mut Silence::seconds(10), &options).unwrap_err();
    assert!(matches!(
        error,
        TranscribeError::Engine(EngineError::Failed(_))
    ));
}

/// Stops after the first window.
#[derive(Default)]
struct Impatient {
    seen: Vec<f64>,
}

impl Watch for Impatient {
    fn progress(&mut self, seconds: f64, _: Option<f64>) {
        self.seen.push(seconds);
    }

    fn is_cancelled(&self) -> bool {
        !self.seen.is_empty()
    }
}

#[test]
fn cancelling_ends_before_the_next_window() {
    let mut engine = ScriptedEngine::answering(|_| Ok(said("0.0| one|20.0|20.0")));
    let calls = engine.calls();
    let mut watch = Impatient::default();
    let outcome = transcribe(
        &mut engine,
        &tokenizer_for_test(),
        &mut Silence::seconds(60),
        &TranscribeOptions::default(),
        &mut watch,
    );
    assert!(matches!(outcome, Err(TranscribeError::Cancelled)));
    assert_eq!(watch.seen, [20.0]);
    assert_eq!(calls.started(), 1);
}
