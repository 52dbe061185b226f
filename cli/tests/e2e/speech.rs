//! Spoken episodes with known words, made once a build and shared by the tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

/// One spoken episode.
pub(crate) struct Spoken {
    pub(crate) audio: PathBuf,
    /// What is said, sentence after sentence.
    pub(crate) words: String,
}

/// Fifty episodes of about twenty seconds.
pub(crate) fn fifty() -> &'static [Spoken] {
    static EPISODES: LazyLock<Vec<Spoken>> = LazyLock::new(|| make(50));
    &EPISODES
}

fn make(count: usize) -> Vec<Spoken> {
    let speaker = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/speech/make_speech.py");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("speech");
    fs::create_dir_all(&folder).unwrap();
    // Tests are processes; the first one speaks, the others wait.
    let lock = fs::File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let done = folder.join("done");
    let stamp = fs::read_to_string(&speaker).unwrap();
    if fs::read_to_string(&done).ok().as_deref() != Some(&stamp) {
        let status = Command::new("python3")
            .arg(&speaker)
            .arg(&folder)
            .args([
                "--count",
                &count.to_string(),
                "--minutes",
                "0.33",
                "--seed",
                "11",
            ])
            .status()
            .expect("python3 is installed; tools/test installs it");
        assert!(status.success(), "{} failed", speaker.display());
        fs::write(&done, stamp).unwrap();
    }
    (1..=count).map(|number| read(&folder, number)).collect()
}

fn read(folder: &Path, number: usize) -> Spoken {
    let stem = folder.join(format!("episode-{number:03}"));
    let truth = fs::read_to_string(stem.with_extension("truth.json")).unwrap();
    let truth: Value = serde_json::from_str(&truth).unwrap();
    let sentences = truth.as_array().unwrap().iter();
    let words: Vec<_> = sentences.map(|s| s["text"].as_str().unwrap()).collect();
    Spoken {
        audio: stem.with_extension("mp3"),
        words: words.join(" "),
    }
}
