//! Downloading one episode politely and safely.

pub mod config;
pub mod download;
mod mpeg;
pub mod progress;
pub mod sniff;

pub use config::FetchConfig;
pub use download::{AudioSink, Download, DownloadError, Downloader};
pub use progress::Progress;
