use super::super::engine::{Decoded, MelWindow};
use super::super::scripted::{ScriptedCall, ScriptedCalls, ScriptedEngine, decoded_for_test};
use super::super::tokenizer::tokenizer_for_test;
use super::super::vad::SpeechSpan;
use super::decode::Decoder;
use super::packing::SpeechWindow;
use super::text::WindowText;
use super::timeline::Timeline;
use super::voice::Voice;
use super::*;

/// A window of so many seconds of speech, at a place of its own in the audio.
fn window(index: u64, seconds: u64) -> SpeechWindow {
    let frames = seconds as usize * 100;
    let start = index * 60 * 16_000;
    let mut timeline = Timeline::default();
    timeline.push(SpeechSpan {
        start,
        end: start + seconds * 16_000,
    });
    SpeechWindow {
        mel: Arc::new(MelWindow {
            features: vec![index as f32; 80 * MelWindow::FRAMES],
            n_mels: 80,
            frames,
        }),
        speech: vec![0.9; frames].into(),
        timeline,
    }
}

/// Which window a call is about.
fn index(call: &ScriptedCall) -> u64 {
    call.request.window.features[0] as u64
}

fn said(text: &str) -> Decoded {
    decoded_for_test(&tokenizer_for_test().encode(text).unwrap())
}

fn english() -> Voice {
    Voice {
        language: Some("en".to_owned()),
        probability: 1.0,
    }
}

fn decode(
    mut engine: ScriptedEngine,
    windows: &[SpeechWindow],
    voices: &[Voice],
) -> (Vec<WindowText>, Vec<ScriptedCall>) {
    let calls: ScriptedCalls = engine.calls();
    let decoder = Decoder {
        tokenizer: Arc::new(tokenizer_for_test()),
        options: Arc::new(TranscribeOptions::default()),
        abandoned: CancellationToken::new(),
    };
    let texts = decoder
        .decode(&mut engine, windows, voices, &mut Timings::default())
        .unwrap();
    (texts, calls.asked())
}

fn text(window: &WindowText) -> String {
    window.words.iter().map(|word| word.text.as_str()).collect()
}

#[test]
fn only_windows_that_fail_are_decoded_again() {
    let windows = [window(0, 2), window(1, 2), window(2, 2)];
    let voices = [english(), english(), english()];
    let engine = ScriptedEngine::answering(|call| {
        Ok(match (index(call), call.index) {
            (0, _) => said(" hello there"),
            // Once round and round, and then an answer.
            (1, 1) => said(&" and then we go".repeat(20)),
            (1, _) => said(" and then we go"),
            // Speech, and no words at first.
            (_, 2) => decoded_for_test(&[]),
            _ => said(" one two"),
        })
    });
    let (texts, asked) = decode(engine, &windows, &voices);
    let heard: Vec<String> = texts.iter().map(text).collect();
    assert_eq!(heard, [" hello there", " and then we go", " one two"]);
    let order: Vec<u64> = asked.iter().map(index).collect();
    assert_eq!(order, [0, 1, 2, 1, 2]);
    assert_eq!(
        texts.iter().map(|text| text.tries).collect::<Vec<_>>(),
        [1, 2, 2]
    );
    assert!(texts.iter().all(|text| !text.is_doubtful));
    // The second time with timestamps.
    let tokenizer = tokenizer_for_test();
    let ends_plain = |call: &ScriptedCall| {
        call.request.prompt.last() == Some(&tokenizer.special().no_timestamps)
    };
    assert_eq!(
        asked.iter().map(ends_plain).collect::<Vec<_>>(),
        [true, true, true, false, false]
    );
}

#[test]
fn a_window_that_never_passes_keeps_its_best_answer_and_says_so() {
    let engine = ScriptedEngine::answering(|call| {
        Ok(match call.index {
            0 => said(&" and then we go".repeat(20)),
            // Not likely, but no loop.
            1 => Decoded {
                score: -4.0,
                ..said(" one two three")
            },
            _ => said(&" round and round".repeat(20)),
        })
    });
    let (texts, asked) = decode(engine, &[window(0, 2)], &[english()]);
    assert_eq!(text(&texts[0]), " one two three");
    assert!(texts[0].is_doubtful);
    assert_eq!((asked.len(), texts[0].tries), (3, 3));
    assert!(
        asked[2].options.no_repeat_ngram_size > 0,
        "the last way forbids loops"
    );
}

#[test]
fn silence_has_no_words_and_is_not_asked_again() {
    let engine = ScriptedEngine::answering(|_| {
        Ok(Decoded {
            score: -4.0,
            no_speech_prob: 0.9,
            ..said(" thank you")
        })
    });
    let (texts, asked) = decode(engine, &[window(0, 5)], &[english()]);
    assert!(texts[0].words.is_empty() && texts[0].is_silent);
    assert_eq!(asked.len(), 1);
}

#[test]
fn each_window_is_decoded_in_its_language() {
    let spanish = Voice {
        language: Some("es".to_owned()),
        probability: 0.9,
    };
    let engine = ScriptedEngine::answering(|_| Ok(said(" one two")));
    let (texts, asked) = decode(engine, &[window(0, 1), window(1, 1)], &[english(), spanish]);
    let tokenizer = tokenizer_for_test();
    for (call, language) in asked.iter().zip(["en", "es"]) {
        let token = tokenizer.language(language).unwrap();
        assert!(call.request.prompt.contains(&token));
    }
    assert_eq!(texts[1].language.as_deref(), Some("es"));
}

#[test]
fn words_lie_where_the_windows_speech_was() {
    let engine = ScriptedEngine::answering(|_| Ok(said(" one two three")));
    let windows = [window(0, 1), window(1, 1)];
    let (texts, _) = decode(engine, &windows, &[english(), english()]);
    for (window, from) in texts.iter().zip([0.0, 60.0]) {
        let mut reached = from;
        assert_eq!(window.words.len(), 3);
        for word in &window.words {
            assert!(reached <= word.start && word.start <= word.end && word.end <= from + 1.0);
            reached = word.end;
        }
    }
    let once: Vec<_> = texts.iter().flat_map(|text| &text.words).collect();
    assert!(once.iter().all(|word| word.probability > 0.0));
}
