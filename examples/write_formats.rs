//! Writes every `*.transcript.json` of a folder in every format, beside it: for readers that are not
//! ours. The number that JSON lacks is spelled -999.
//!
//! `cargo run --example write_formats -- DIR`
#![expect(
    clippy::print_stdout,
    reason = "a maintainer's program says what it did"
)]

use std::error::Error;
use std::fs;
use std::path::Path;

use podrun::domain::{EpisodeId, FeedSlug, Guid, Transcript};
use podrun::transcribe::formats::{CueLayout, FinishedTranscript, OutputFormat};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("name a folder")?;
    let mut written = 0;
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some(case) = name.and_then(|name| name.strip_suffix(".transcript.json")) {
            written += write(&path, case)?;
        }
    }
    println!("{written} files");
    Ok(())
}

fn write(path: &Path, case: &str) -> Result<usize, Box<dyn Error>> {
    let mut transcript: Transcript = serde_json::from_slice(&fs::read(path)?)?;
    spoil(&mut transcript);
    let episode = EpisodeId {
        feed_slug: FeedSlug::try_new("feed")?,
        guid: Guid::try_new(case)?,
    };
    let finished = FinishedTranscript {
        episode: &episode,
        transcript: &transcript,
        model: "tiny",
    };
    let followed = CueLayout {
        highlight_words: true,
        ..CueLayout::default()
    };
    for format in OutputFormat::ALL {
        let file = |mark: &str| path.with_file_name(format!("{case}{mark}.{}", format.extension()));
        fs::write(file(""), format.render(&finished, &CueLayout::default()))?;
        fs::write(file(".followed"), format.render(&finished, &followed))?;
    }
    Ok(2 * OutputFormat::ALL.len())
}

/// Puts in the numbers that are none.
fn spoil(transcript: &mut Transcript) {
    const NO_NUMBER: f64 = -999.0;
    let no_number = NO_NUMBER as f32;
    let scores = [&mut transcript.language_probability].into_iter();
    let scores = scores.chain(transcript.segments.iter_mut().flat_map(|segment| {
        let words = segment.words.iter_mut().map(|word| &mut word.probability);
        words.chain([
            &mut segment.temperature,
            &mut segment.avg_logprob,
            &mut segment.compression_ratio,
            &mut segment.no_speech_prob,
        ])
    }));
    for score in scores.filter(|score| **score == no_number) {
        *score = f32::NAN;
    }
    for segment in &mut transcript.segments {
        for time in [&mut segment.start, &mut segment.end] {
            if *time == NO_NUMBER {
                *time = f64::NAN;
            }
        }
    }
}
