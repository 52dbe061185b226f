//! The batched mode.

use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use podrun::domain::{Failure, FailureClass, Transcript};
use podrun::transcribe::batched::{FinishedPart, NoShelf, Shelf};
use podrun::transcribe::ct2::Ct2Engine;
use podrun::transcribe::ct2_config::{Ct2Config, Device};
use podrun::transcribe::engine::{
    AlignRequest, Alignment, DecodeOptions, Decoded, EngineError, EngineInfo, LanguageScore,
    MelWindow, SpeechEngine, WindowRequest,
};
use podrun::transcribe::options::TranscribeOptions;
use podrun::transcribe::sequential::Watch;
use podrun::transcribe::source::MediaBytes;
use podrun::transcribe::thread::EngineThreads;
use podrun::transcribe::transcriber::{HearError, Heard, Transcriber};
use tokio_util::sync::CancellationToken;

use crate::common::{
    ENGLISH, SPANISH, THREE_WINDOWS, assert_words, files, path, read_json, silence, tokenizer,
    words,
};

fn audio(episodes: &[&str]) -> Vec<u8> {
    let bytes = |episode: &&str| std::fs::read(path(&format!("{episode}.mp3"))).unwrap();
    episodes.iter().flat_map(bytes).collect()
}

/// Sentences, and when they begin.
fn truth(episode: &str) -> Vec<(String, f64)> {
    let sentences = read_json(&format!("{episode}.truth.json"));
    let sentence = |s: &serde_json::Value| {
        (
            s["text"].as_str().unwrap().to_owned(),
            s["start"].as_f64().unwrap(),
        )
    };
    sentences.as_array().unwrap().iter().map(sentence).collect()
}

/// Fewest words to insert, delete or replace.
fn word_errors(spoken: &[String], said: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=said.len()).collect();
    for (i, word) in spoken.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in said.iter().enumerate() {
            let replaced = diagonal + usize::from(word != other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[said.len()]
}

/// The model, and how many windows it was asked to decode.
struct Counted {
    engine: Ct2Engine,
    windows: Arc<AtomicUsize>,
}

impl SpeechEngine for Counted {
    fn describe(&self) -> EngineInfo {
        self.engine.describe()
    }

    fn encode(&mut self, windows: &[Arc<MelWindow>]) -> Result<(), EngineError> {
        self.engine.encode(windows)
    }

    fn detect_language(
        &mut self,
        windows: &[Arc<MelWindow>],
    ) -> Result<Vec<Vec<LanguageScore>>, EngineError> {
        self.engine.detect_language(windows)
    }

    fn generate(
        &mut self,
        requests: &[WindowRequest],
        options: &DecodeOptions,
    ) -> Result<Vec<Decoded>, EngineError> {
        self.windows.fetch_add(requests.len(), Ordering::SeqCst);
        self.engine.generate(requests, options)
    }

    fn align(
        &mut self,
        start: &[u32],
        requests: &[AlignRequest],
    ) -> Result<Vec<Alignment>, EngineError> {
        self.engine.align(start, requests)
    }
}

impl std::fmt::Debug for Counted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.engine.fmt(formatter)
    }
}

struct Model {
    threads: EngineThreads,
    windows: Arc<AtomicUsize>,
}

impl Model {
    /// The fixture model, `replicas` times.
    fn load(replicas: usize) -> Self {
        let windows = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&windows);
        let load = move || {
            let config = Ct2Config {
                device: Device::Cpu,
                threads: replicas,
                replicas,
                ..Ct2Config::default()
            };
            let engines = Ct2Engine::load_replicas(&files(), &config)?;
            let counted = |engine| Counted {
                engine,
                windows: Arc::clone(&counter),
            };
            Ok(engines.into_iter().map(counted).collect())
        };
        Self {
            threads: EngineThreads::start(load).unwrap(),
            windows,
        }
    }

    fn hear(
        &self,
        file: &[u8],
        batch_size: usize,
        watch: &mut dyn Watch,
        shelf: &mut dyn Shelf,
    ) -> Result<Heard, HearError> {
        let transcriber = Transcriber {
            engine: self.threads.handle(),
            tokenizer: Arc::new(tokenizer()),
            options: TranscribeOptions {
                batch_size,
                beam_size: 1,
                ..TranscribeOptions::default()
            },
        };
        let open =
            || -> io::Result<Box<dyn MediaBytes>> { Ok(Box::new(Cursor::new(file.to_vec()))) };
        transcriber.hear_on(&open, watch, shelf, &CancellationToken::new())
    }
}

fn hear(file: &[u8]) -> Heard {
    Model::load(1).hear(file, 4, &mut (), &mut NoShelf).unwrap()
}

fn assert_order(transcript: &Transcript) {
    assert_words(&transcript.segments, transcript.duration);
    let text: String = transcript
        .segments
        .iter()
        .map(|s| s.text.as_str())
        .collect();
    assert_eq!(text, transcript.text);
}

#[test]
fn every_word_is_heard_and_every_sentence_begins_where_it_was_said() {
    for (episode, language) in [(ENGLISH, "en"), (SPANISH, "es"), (THREE_WINDOWS, "en")] {
        let heard = hear(&audio(&[episode]));
        let truth = truth(episode);
        let spoken: String = truth.iter().map(|(text, _)| format!(" {text}")).collect();
        let (said, spoken) = (words(&heard.transcript.text), words(&spoken));
        let errors = word_errors(&spoken, &said);
        assert!(
            errors * 50 <= spoken.len(),
            "{episode}: {errors} errors in {said:?}"
        );
        assert_eq!(heard.transcript.language, language);
        assert!(heard.transcript.language_probability > 0.9);
        assert_order(&heard.transcript);
        for (text, start) in truth {
            let starts = heard
                .transcript
                .segments
                .iter()
                .map(|segment| segment.start);
            let nearest = starts.map(|at| (at - start).abs()).fold(f64::MAX, f64::min);
            assert!(
                nearest <= 0.15,
                "{episode}: {text} at {start} is {nearest} away"
            );
        }
    }
}

#[test]
fn two_languages_in_one_file_are_both_heard() {
    let heard = hear(&audio(&[ENGLISH, SPANISH, SPANISH]));
    let said = words(&heard.transcript.text);
    let spoken: Vec<String> = [ENGLISH, SPANISH, SPANISH]
        .into_iter()
        .flat_map(truth)
        .flat_map(|(text, _)| words(&text))
        .collect();
    // The window that both share may lose some.
    let known = said.iter().filter(|word| spoken.contains(word)).count();
    assert!(known * 10 >= said.len() * 9, "{said:?}");
    assert!(
        said.len() * 10 >= spoken.len() * 8,
        "{} of {}",
        said.len(),
        spoken.len()
    );
    assert!(said.iter().any(|word| word == "hablamos") || said.iter().any(|word| word == "viajes"));
    assert_eq!(heard.transcript.language, "es");
    assert_order(&heard.transcript);
}

/// Parts in memory, as they would be stored.
#[derive(Default)]
struct MemoryShelf {
    parts: Mutex<Vec<Vec<u8>>>,
}

impl Shelf for MemoryShelf {
    fn load(&mut self) -> Vec<FinishedPart> {
        let parts = self.parts.lock().unwrap();
        parts
            .iter()
            .map(|part| serde_json::from_slice(part).unwrap())
            .collect()
    }

    fn save(&mut self, part: &FinishedPart) -> Result<(), Failure> {
        self.parts
            .lock()
            .unwrap()
            .push(serde_json::to_vec(part).unwrap());
        Ok(())
    }
}

/// A shelf that never takes anything.
struct FullShelf;

impl Shelf for FullShelf {
    fn load(&mut self) -> Vec<FinishedPart> {
        Vec::new()
    }

    fn save(&mut self, _: &FinishedPart) -> Result<(), Failure> {
        Err(Failure::new(FailureClass::Storage, "no space left"))
    }
}

/// Stops after so many batches.
struct StopAfter(usize);

impl Watch for StopAfter {
    fn progress(&mut self, _: f64, _: Option<f64>) {
        self.0 = self.0.saturating_sub(1);
    }

    fn is_cancelled(&self) -> bool {
        self.0 == 0
    }
}

#[test]
fn an_interrupted_run_goes_on_to_the_same_bytes() {
    let file = audio(&[THREE_WINDOWS; 6]);
    let model = Model::load(1);
    let decoded = || model.windows.swap(0, Ordering::SeqCst);
    let whole = model.hear(&file, 2, &mut (), &mut NoShelf).unwrap();
    let all = decoded();
    let mut shelf = MemoryShelf::default();
    for _ in 0..2 {
        let stopped = model.hear(&file, 2, &mut StopAfter(1), &mut shelf);
        assert!(matches!(stopped, Err(HearError::Cancelled)));
    }
    decoded();
    let resumed = model.hear(&file, 2, &mut (), &mut shelf).unwrap();
    assert!(decoded() < all, "what was finished is not decoded again");
    let json = |heard: &Heard| serde_json::to_string(&heard.transcript).unwrap();
    assert_eq!(json(&resumed), json(&whole));
    assert_eq!(resumed.windows, whole.windows);
}

#[test]
fn a_store_that_keeps_nothing_costs_nothing_but_the_work() {
    let model = Model::load(1);
    let file = audio(&[THREE_WINDOWS]);
    let stopped = model.hear(&file, 1, &mut StopAfter(1), &mut FullShelf);
    assert!(matches!(stopped, Err(HearError::Cancelled)));
    assert!(model.hear(&file, 1, &mut (), &mut FullShelf).is_ok());
}

#[test]
fn replicas_change_nothing() {
    let file = audio(&[THREE_WINDOWS; 2]);
    let text = |replicas| {
        let heard = Model::load(replicas).hear(&file, 2, &mut (), &mut NoShelf);
        serde_json::to_string(&heard.unwrap().transcript).unwrap()
    };
    assert_eq!(text(1), text(2));
}

#[test]
fn nothing_is_heard_where_nothing_is_said() {
    for seconds in [60.0, 0.01] {
        let heard = hear(&silence((seconds * 16_000.0) as u32));
        assert!(heard.transcript.segments.is_empty());
        assert_eq!(heard.transcript.duration, seconds);
        assert_eq!((heard.windows.total, heard.speech_seconds), (0, Some(0.0)));
    }
}

/// Fails behind so many bytes.
struct Breaking {
    bytes: Cursor<Vec<u8>>,
    good: u64,
}

impl Read for Breaking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.bytes.position() >= self.good {
            true => Err(io::Error::other("the disk is gone")),
            false => self.bytes.read(buffer),
        }
    }
}

impl Seek for Breaking {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.bytes.seek(to)
    }
}

#[test]
fn a_file_that_cannot_be_read_on_is_a_failure_of_the_store() {
    let model = Model::load(1);
    let file = audio(&[THREE_WINDOWS; 2]);
    let transcriber = Transcriber {
        engine: model.threads.handle(),
        tokenizer: Arc::new(tokenizer()),
        options: TranscribeOptions {
            batch_size: 1,
            beam_size: 1,
            ..TranscribeOptions::default()
        },
    };
    let good = file.len() as u64 / 2;
    let open = || -> io::Result<Box<dyn MediaBytes>> {
        Ok(Box::new(Breaking {
            bytes: Cursor::new(file.clone()),
            good,
        }))
    };
    let heard = transcriber.hear(&open, &mut (), &CancellationToken::new());
    // Either the end of what can be read, or a failure; never a hang, and never a whole file.
    match heard {
        Err(HearError::Failed(failure)) => assert!(!failure.message.is_empty()),
        Ok(heard) => assert!(heard.damage.is_some()),
        Err(other) => panic!("{other}"),
    }
}
