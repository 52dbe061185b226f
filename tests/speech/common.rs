//! The fixture model, the spoken fixtures, and what holds for every transcript.

use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use podrun::domain::Segment;
use podrun::transcribe::features::{FeatureStream, scan};
use podrun::transcribe::model::ModelFiles;
use podrun::transcribe::source::MediaBytes;
use podrun::transcribe::tokenizer::Tokenizer;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub(crate) const ENGLISH: &str = "cli/assets/demo/1-a-strange-planet";
pub(crate) const GARDEN: &str = "cli/assets/demo/2-a-small-garden";
pub(crate) const SPANISH: &str = "cli/assets/demo/3-viajes-y-cocina";
pub(crate) const THREE_WINDOWS: &str = "tests/fixtures/speech/three-windows";

/// Spoken, without their extension: `.mp3` is the audio, `.truth.json` what is said in it.
pub(crate) const EPISODES: [&str; 4] = [ENGLISH, GARDEN, SPANISH, THREE_WINDOWS];

/// The folder of the fixture model.
pub(crate) const MODEL: &str = "cli/assets/whisper-fixture";

pub(crate) fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

pub(crate) fn read_json(relative: &str) -> Value {
    serde_json::from_slice(&std::fs::read(path(relative)).unwrap()).unwrap()
}

/// What faster-whisper heard in an episode.
pub(crate) fn peer(episode: &str) -> Value {
    let name = episode.rsplit('/').next().unwrap();
    read_json(&format!("tests/fixtures/faster-whisper/{name}.json"))
}

pub(crate) fn files() -> ModelFiles {
    ModelFiles::in_directory(&path(MODEL), "fixture").unwrap()
}

pub(crate) fn tokenizer() -> Tokenizer {
    Tokenizer::from_file(&files().tokenizer()).unwrap()
}

/// The features of whatever `open` opens.
pub(crate) fn stream<R: MediaBytes + 'static>(
    open: impl Fn() -> io::Result<R> + Send + Sync,
) -> FeatureStream {
    let open = || Ok::<_, io::Error>(Box::new(open()?) as Box<dyn MediaBytes>);
    let cancel = CancellationToken::new();
    let summary = scan(&open, 80, &cancel).unwrap();
    FeatureStream::open(&open, summary, cancel).unwrap()
}

/// The features of an episode.
pub(crate) fn features(episode: &str) -> FeatureStream {
    let file = path(&format!("{episode}.mp3"));
    stream(move || Ok(BufReader::new(std::fs::File::open(&file)?)))
}

/// Words without case and marks.
pub(crate) fn words(text: &str) -> Vec<String> {
    let is_in_word = |c: char| c.is_alphanumeric() || c.is_whitespace();
    let plain: String = text
        .to_lowercase()
        .chars()
        .filter(|&c| is_in_word(c))
        .collect();
    plain.split_whitespace().map(str::to_owned).collect()
}

/// A WAV file of silence: 16 kHz, 16 bits, mono.
pub(crate) fn silence(samples: u32) -> Vec<u8> {
    let mut file = b"RIFF".to_vec();
    file.extend((36 + samples * 2).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data");
    file.extend((samples * 2).to_le_bytes());
    file.resize(file.len() + samples as usize * 2, 0);
    file
}

/// Texts are their words, segments begin and end with them, and all are in order and within the audio.
pub(crate) fn assert_words(segments: &[Segment], duration: f64) {
    let mut latest = 0.0;
    for segment in segments {
        let joined: String = segment
            .words
            .iter()
            .map(|word| word.word.as_str())
            .collect();
        assert_eq!(joined, segment.text);
        assert_eq!(segment.start, segment.words.first().unwrap().start);
        assert_eq!(segment.end, segment.words.last().unwrap().end);
        for word in &segment.words {
            assert!(latest <= word.start && word.start <= word.end, "{word:?}");
            assert!((0.0..=1.0).contains(&word.probability));
            latest = word.end;
        }
    }
    assert!(latest <= duration, "{latest}");
}
