//! Whisper's input, window by window, over a file of any length in bounded memory.
//!
//! The features are normalised by the loudest value of the *whole* file; a maximum per window would
//! lift the noise of quiet passages to the level of speech and depart from what peers give. Holding
//! the file's features would cost 115 MB an hour, so the file is read twice: [`scan`] finds the
//! maximum and the length, then [`FeatureStream`] gives windows. Decoding is deterministic and far
//! cheaper than the model.

use tokio_util::sync::CancellationToken;

use super::decode::{DecodeError, MediaFormat, PcmStream};
use super::engine::MelWindow;
use super::mel::{self, LogMel};
use super::source::OpenMedia;
use super::speech::SpeechStream;

/// What the first pass over a file found.
#[derive(Debug, Clone, PartialEq)]
pub struct FileSummary {
    /// Content frames of 10 ms.
    pub frames: u64,
    /// Length of the decoded audio.
    pub duration_s: f64,
    /// Mel bands the maximum was taken over.
    pub n_mels: usize,
    /// Loudest log-mel value, before normalisation.
    pub max_log_mel: f32,
    /// Container and codec.
    pub format: MediaFormat,
    /// What is wrong with the file, if anything; the audio that could be decoded is used.
    pub damage: Option<String>,
}

/// Features cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeatureError {
    /// The file could not be read or decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The work was cancelled.
    #[error("reading the media file was cancelled")]
    Cancelled,
    /// A window was asked for that begins before one given already.
    #[error("frame {asked} was given up already, the first still held is {first}")]
    Backwards {
        /// The frame asked for.
        asked: u64,
        /// The first frame still held.
        first: u64,
    },
    /// The second pass found less than the first.
    #[error("the media file changed while it was read: it ends at frame {found} of {expected}")]
    Changed {
        /// Content frames of the first pass.
        expected: u64,
        /// Content frames of the second.
        found: u64,
    },
}

/// Decodes the whole file once, in constant memory.
///
/// # Errors
/// [`FeatureError::Decode`] and [`FeatureError::Cancelled`].
pub fn scan(
    open: &OpenMedia<'_>,
    n_mels: usize,
    cancel: &CancellationToken,
) -> Result<FileSummary, FeatureError> {
    let mut frames = FrameReader::open(open, n_mels)?;
    let mut max_log_mel = f32::MIN;
    let mut block = Vec::new();
    while frames.read(&mut block, cancel)? {
        max_log_mel = block.drain(..).fold(max_log_mel, f32::max);
    }
    let samples = frames.speech.samples();
    Ok(FileSummary {
        frames: mel::content_frames(samples),
        duration_s: samples as f64 / f64::from(mel::SAMPLE_RATE),
        n_mels,
        max_log_mel,
        format: frames.speech.format().clone(),
        damage: frames.speech.damage(),
    })
}

/// Windows of a scanned file, forward only.
///
/// It holds the frames from the last window's first on: at most one window and a block.
#[derive(Debug)]
pub struct FeatureStream {
    reader: FrameReader,
    summary: FileSummary,
    cancel: CancellationToken,
    /// Frames held, one after the other, `n_mels` values each.
    held: Vec<f32>,
    /// Index of the first frame held.
    first: u64,
}

impl FeatureStream {
    /// Opens the file that `summary` describes for a second time.
    ///
    /// # Errors
    /// [`FeatureError::Decode`].
    pub fn open(
        open: &OpenMedia<'_>,
        summary: FileSummary,
        cancel: CancellationToken,
    ) -> Result<Self, FeatureError> {
        Ok(Self {
            reader: FrameReader::open(open, summary.n_mels)?,
            summary,
            cancel,
            held: Vec::new(),
            first: 0,
        })
    }

    /// Frames of 10 ms in the file.
    pub fn content_frames(&self) -> u64 {
        self.summary.frames
    }

    /// What the first pass found.
    pub fn summary(&self) -> &FileSummary {
        &self.summary
    }

    /// The window from frame `seek` on: 30 s, or less at the file's end, where the columns behind
    /// the audio are zero. Earlier frames are given up.
    ///
    /// # Errors
    /// [`FeatureError::Backwards`] for a `seek` before the last one, and what reading meets.
    pub fn window(&mut self, seek: u64) -> Result<MelWindow, FeatureError> {
        self.window_up_to(seek, MelWindow::FRAMES)
    }

    /// As [`window`](Self::window), of at most `limit` frames: a clip's end.
    ///
    /// # Errors
    /// As [`window`](Self::window).
    pub fn window_up_to(&mut self, seek: u64, limit: usize) -> Result<MelWindow, FeatureError> {
        if seek < self.first {
            return Err(FeatureError::Backwards {
                asked: seek,
                first: self.first,
            });
        }
        let rest = self.summary.frames.saturating_sub(seek);
        let frames = rest.min(limit.min(MelWindow::FRAMES) as u64) as usize;
        self.give_up_before(seek);
        while frames > 0 && self.end() < seek + frames as u64 {
            if !self.reader.read(&mut self.held, &self.cancel)? {
                return Err(self.changed());
            }
            self.give_up_before(seek);
        }
        Ok(self.normalised(frames))
    }

    /// One behind the last frame held.
    fn end(&self) -> u64 {
        self.first + (self.held.len() / self.summary.n_mels) as u64
    }

    fn give_up_before(&mut self, seek: u64) {
        let count = self.end().min(seek).saturating_sub(self.first);
        self.held.drain(..count as usize * self.summary.n_mels);
        self.first += count;
    }

    fn changed(&self) -> FeatureError {
        FeatureError::Changed {
            expected: self.summary.frames,
            found: mel::content_frames(self.reader.speech.samples()),
        }
    }

    /// The first `frames` held, band by band.
    fn normalised(&self, frames: usize) -> MelWindow {
        let n_mels = self.summary.n_mels;
        let mut features = vec![0.0; n_mels * MelWindow::FRAMES];
        for (column, frame) in self.held.chunks_exact(n_mels).take(frames).enumerate() {
            for (band, &value) in frame.iter().enumerate() {
                features[band * MelWindow::FRAMES + column] =
                    mel::normalise(value, self.summary.max_log_mel);
            }
        }
        MelWindow {
            features,
            n_mels,
            frames,
        }
    }
}

/// Decoder, resampler and log-mel in one.
#[derive(Debug)]
struct FrameReader {
    speech: SpeechStream,
    /// `None` once the audio has ended.
    mel: Option<LogMel>,
}

impl FrameReader {
    fn open(open: &OpenMedia<'_>, n_mels: usize) -> Result<Self, DecodeError> {
        let bytes = open().map_err(DecodeError::Read)?;
        Ok(Self {
            speech: SpeechStream::new(PcmStream::open(bytes)?),
            mel: Some(LogMel::new(n_mels)),
        })
    }

    /// Appends the frames of one block, maybe none; `false` once there are no more.
    fn read(
        &mut self,
        frames: &mut Vec<f32>,
        cancel: &CancellationToken,
    ) -> Result<bool, FeatureError> {
        if cancel.is_cancelled() {
            return Err(FeatureError::Cancelled);
        }
        let Some(mut mel) = self.mel.take() else {
            return Ok(false);
        };
        match self.speech.next_block()? {
            Some(samples) => {
                mel.push(samples, frames);
                self.mel = Some(mel);
            }
            None => {
                mel.finish(frames);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Cursor};

    use super::*;
    use crate::transcribe::source::MediaBytes;

    /// A 16 kHz WAV file: loud noise first, then quiet.
    fn noise(samples: usize) -> Vec<u8> {
        let mut file = b"RIFF".to_vec();
        let size = samples as u32 * 2;
        file.extend((36 + size).to_le_bytes());
        file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data");
        file.extend(size.to_le_bytes());
        let mut state = 7_u32;
        for n in 0..samples {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let loud = (state >> 16) as i16;
            let sample = if n < 16_000 { loud } else { loud / 256 };
            file.extend(sample.to_le_bytes());
        }
        file
    }

    fn opener(file: Vec<u8>) -> impl Fn() -> io::Result<Box<dyn MediaBytes>> {
        move || Ok(Box::new(Cursor::new(file.clone())))
    }

    fn stream(file: Vec<u8>) -> FeatureStream {
        let open = opener(file);
        let cancel = CancellationToken::new();
        let summary = scan(&open, 80, &cancel).unwrap();
        FeatureStream::open(&open, summary, cancel).unwrap()
    }

    /// The whole file's frames, normalised by its maximum.
    fn reference(file: Vec<u8>, summary: &FileSummary) -> Vec<f32> {
        let pcm = PcmStream::open(Box::new(Cursor::new(file))).unwrap();
        let mut speech = SpeechStream::new(pcm);
        let mut mel = LogMel::new(80);
        let mut frames = Vec::new();
        while let Some(samples) = speech.next_block().unwrap() {
            mel.push(samples, &mut frames);
        }
        mel.finish(&mut frames);
        let max = frames.iter().copied().fold(f32::MIN, f32::max);
        assert_eq!(max, summary.max_log_mel);
        frames
            .iter()
            .map(|&value| mel::normalise(value, max))
            .collect()
    }

    #[test]
    fn windows_hold_the_files_frames_normalised_by_the_whole_file() {
        let file = noise(16_000 * 40 + 80);
        let mut stream = stream(file.clone());
        assert_eq!(stream.content_frames(), 4000);
        assert_eq!(stream.summary().duration_s, 40.005);
        let frames = reference(file, stream.summary());
        for (seek, expected) in [(0, 3000), (0, 3000), (1234, 2766), (3999, 1), (4000, 0)] {
            let window = stream.window(seek).unwrap();
            assert_eq!(window.frames, expected);
            assert_eq!(window.features.len(), 80 * 3000);
            for (band, row) in window.features.chunks(3000).enumerate() {
                for (column, &value) in row.iter().enumerate() {
                    let frame = seek as usize + column;
                    let inside = column < expected;
                    let truth = if inside {
                        frames[frame * 80 + band]
                    } else {
                        0.0
                    };
                    assert_eq!(value, truth, "seek {seek} band {band} column {column}");
                }
            }
        }
    }

    #[test]
    fn holds_no_more_than_a_window_and_a_block() {
        let mut stream = stream(noise(16_000 * 90));
        for seek in [0, 2500, 6000] {
            stream.window(seek).unwrap();
            let held = stream.held.len() / 80;
            assert!(held <= MelWindow::FRAMES + 20, "{held} frames");
        }
    }

    #[test]
    fn a_clip_ends_where_it_is_told() {
        let mut stream = stream(noise(16_000 * 5));
        let window = stream.window_up_to(100, 50).unwrap();
        assert_eq!(window.frames, 50);
        assert_eq!(window.features[50..3000], [0.0; 2950]);
    }

    #[test]
    fn does_not_go_back() {
        let mut stream = stream(noise(16_000 * 5));
        stream.window(300).unwrap();
        let error = stream.window(299).unwrap_err();
        assert!(matches!(
            error,
            FeatureError::Backwards {
                asked: 299,
                first: 300
            }
        ));
    }

    #[test]
    fn an_empty_recording_has_no_frames() {
        let mut stream = stream(noise(100));
        assert_eq!(stream.content_frames(), 0);
        assert_eq!(stream.window(0).unwrap().frames, 0);
    }

    #[test]
    fn a_file_that_shrank_between_the_passes_is_noticed() {
        let cancel = CancellationToken::new();
        let summary = scan(&opener(noise(16_000 * 5)), 80, &cancel).unwrap();
        let shorter = opener(noise(16_000 * 3));
        let mut stream = FeatureStream::open(&shorter, summary, cancel).unwrap();
        let error = stream.window(0).unwrap_err();
        let [expected, found] = [500, 300];
        assert!(
            matches!(error, FeatureError::Changed { expected: e, found: f } if [e, f] == [expected, found])
        );
    }

    #[test]
    fn stops_when_cancelled() {
        let cancel = CancellationToken::new();
        let open = opener(noise(16_000 * 5));
        let summary = scan(&open, 80, &cancel).unwrap();
        let mut stream = FeatureStream::open(&open, summary, cancel.clone()).unwrap();
        cancel.cancel();
        assert!(matches!(stream.window(0), Err(FeatureError::Cancelled)));
        assert!(matches!(
            scan(&open, 80, &cancel),
            Err(FeatureError::Cancelled)
        ));
    }
}
