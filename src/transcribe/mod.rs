//! From audio to text: decode, resample, log-mel, speech engine, transcript files.

pub mod engine;
pub mod formats;
pub mod kpis;
