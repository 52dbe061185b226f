//! From audio to text: decode, resample, log-mel, speech engine, transcript files.

pub mod decode;
pub mod engine;
pub mod features;
pub mod mel;
mod mirror;
pub mod resample;
pub mod source;
pub mod speech;
