//! From audio to text: decode, resample, log-mel, speech engine, transcript files.

pub mod decode;
pub mod engine;
pub mod formats;
pub mod kpis;
pub mod features;
pub mod mel;
pub mod resample;
pub mod source;
