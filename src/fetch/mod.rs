//! Downloading one episode politely and safely.

pub mod config;
pub mod download;
mod measure;
mod metered;
mod mpeg;
pub mod progress;
pub mod sniff;
pub mod stage;

pub use config::FetchConfig;
pub use download::{AudioSink, Download, DownloadError, Downloader};
pub use progress::Progress;
pub use stage::FetchStage;
