//! Audio files of any common kind to mono PCM, block by block.
//!
//! The container is recognised by its content; names and media types lie too often. What podcasts
//! do to files in practice shapes the rest:
//!
//! * Hosts splice advertisements into an MP3 by joining files, so that the header of the first
//!   speaks for its own part only, and rate or channels change at a joint. The declared length is
//!   therefore never a reason to stop (`trim`), and the decoder is made anew where the frames
//!   change (`mpeg`).
//! * Cover pictures of many megabytes stand before the audio. They are skipped, not read (`open`).
//! * Downloads break off (`mp4`, `matroska`). What was decodable counts, and [`PcmStream::damage`] tells.

mod matroska;
mod mp4;
mod mpeg;
mod open;
mod opus;
mod stream;
mod track;
mod trim;

#[cfg(test)]
mod tests;

pub use stream::{DecodeError, MediaFormat, PcmBlock, PcmStream};
