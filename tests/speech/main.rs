//! Transcription on a real model and real (synthetic) speech, against the script that was spoken and
//! against what faster-whisper hears with the same weights.
#![cfg(feature = "whisper")]
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers as well"
)]

mod batched;
mod common;
mod sequential;
mod word_times;
