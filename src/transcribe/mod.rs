//! From audio to text: decode, resample, log-mel, speech engine, transcript files.

pub mod batched;
pub mod compression;
#[cfg(feature = "whisper")]
pub mod ct2;
pub mod ct2_config;
pub mod decode;
pub mod engine;
pub mod fallback;
pub mod features;
pub mod formats;
pub mod hub;
mod hub_failure;
pub mod kpis;
pub mod languages;
pub mod mel;
mod mirror;
pub mod model;
#[cfg(any(test, feature = "whisper"))]
mod model_file;
pub mod options;
mod prompt;
pub mod publisher;
pub mod resample;
#[cfg(any(test, feature = "testkit"))]
pub mod scripted;
pub mod segmenting;
pub mod self_test;
pub mod sequential;
pub mod source;
pub mod speech;
pub mod stage;
mod stage_shelf;
pub mod thread;
pub mod tokenizer;
pub mod transcriber;
pub mod vad;
mod vectors;
pub mod words;
