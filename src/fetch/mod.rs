//! Downloading one episode politely and safely.

pub mod ads;
pub mod config;
mod digest;
pub mod download;
pub mod estimate;
mod measure;
mod metered;
mod mpeg;
pub mod progress;
mod rendition;
mod resume;
pub mod sniff;
pub mod stage;
mod transcript;
mod transfer;

pub use ads::AdHosts;
pub use config::FetchConfig;
pub use digest::Content;
pub use download::{AudioSink, Download, DownloadError, Downloader};
pub use progress::Progress;
pub use stage::FetchStage;
