//! Models from the hub, downloaded once into its cache folder, which other programs share.
//!
//! A file grows under the name of its content's hash with `.part` behind it, is renamed when it
//! is whole, and is then linked from the snapshot of its commit; a broken download goes on where
//! it stopped. The weights come last, so a snapshot that has them is complete.
//!
//! The client underneath has no time-out, so it runs on a thread of its own and is given up when
//! it says nothing for [`HubConfig::stall`].

use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use hf_hub::api::Progress;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError};
use hf_hub::{Cache, Repo};
use sha2::{Digest, Sha256};

use super::hub_failure::{Failure, status};
use super::model::{MODEL, ModelError, ModelFiles, missing};
use crate::runtime::retry::RetryPolicy;
use crate::runtime::telemetry::{Event, Observer};

/// Which hub, as whom, and where to keep what it gives.
#[derive(Clone)]
pub struct HubConfig {
    /// Base URL of the hub; `None` is the public one.
    pub endpoint: Option<String>,
    /// The cache folder, `~/.cache/huggingface/hub` by custom.
    pub cache: PathBuf,
    /// Token for private models; `None` takes the one that a login left beside the cache.
    pub token: Option<String>,
    /// Longest silence of the hub within a download.
    pub stall: Duration,
}

impl HubConfig {
    /// The public hub, anonymously.
    pub fn new(cache: PathBuf) -> Self {
        Self {
            endpoint: None,
            cache,
            token: None,
            stall: Duration::from_secs(60),
        }
    }

    fn api(&self) -> Result<Api, ApiError> {
        let mut builder = ApiBuilder::from_cache(self.cache())
            .with_progress(false)
            .with_user_agent("podrun", env!("CARGO_PKG_VERSION"));
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
        }
        if self.token.is_some() {
            builder = builder.with_token(self.token.clone());
        }
        builder.build()
    }

    fn cache(&self) -> Cache {
        Cache::new(self.cache.clone())
    }
}

/// Without the token, and without the endpoint, which may hold a password.
impl std::fmt::Debug for HubConfig {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("HubConfig")
            .field("cache", &self.cache)
            .field("stall", &self.stall)
            .finish_non_exhaustive()
    }
}

/// The model's files, from the cache if they are all there, without a word to the hub.
pub(super) fn fetch(
    repository: &str,
    config: &HubConfig,
    observer: &dyn Observer,
) -> Result<ModelFiles, ModelError> {
    if let Some(files) = cached(repository, config) {
        return Ok(files);
    }
    let download = Download {
        repository,
        config,
        observer,
    };
    let snapshot = download.snapshot()?;
    ModelFiles::in_directory(&snapshot, repository)
}

fn cached(repository: &str, config: &HubConfig) -> Option<ModelFiles> {
    let model = config.cache().model(repository.to_owned()).get(MODEL)?;
    ModelFiles::in_directory(model.parent()?, repository).ok()
}

struct Download<'a> {
    repository: &'a str,
    config: &'a HubConfig,
    observer: &'a dyn Observer,
}

/// What the thread that talks to the hub tells the one that waits.
enum News<T> {
    Progress { file: String, done: u64, total: u64 },
    End(Result<T, ApiError>),
}

impl Download<'_> {
    /// Downloads what is missing of the newest commit; the folder it is in.
    fn snapshot(&self) -> Result<PathBuf, ModelError> {
        let (commit, files) = self.listing()?;
        let repo = self.config.cache().model(self.repository.to_owned());
        let snapshot = repo.pointer_path(&commit);
        let mut folder = snapshot.clone();
        for file in files {
            let path = snapshot.join(&file);
            let path = if path.exists() {
                path
            } else {
                self.file(&file)?
            };
            if let Some(parent) = path.parent() {
                folder = parent.to_owned();
            }
        }
        Ok(folder)
    }

    /// The newest commit and the files of the model in it, the weights last.
    fn listing(&self) -> Result<(String, Vec<String>), ModelError> {
        let info = self.retrying(|| {
            let repository = self.repository.to_owned();
            self.watched(move |api, _| api.model(repository).info())
        })?;
        let all: Vec<String> = info
            .siblings
            .into_iter()
            .map(|file| file.rfilename)
            .collect();
        let missing = missing(|file| all.iter().any(|name| name == file));
        if !missing.is_empty() {
            return Err(ModelError::NotConverted {
                repository: self.repository.to_owned(),
                missing,
            });
        }
        let mut files: Vec<String> = all.into_iter().filter(|name| is_needed(name)).collect();
        files.sort_by_key(|name| name == MODEL);
        Ok((info.sha, files))
    }

    /// Downloads one file and checks it; the path of its link.
    fn file(&self, file: &str) -> Result<PathBuf, ModelError> {
        let path = self.retrying(|| {
            let (repository, name) = (self.repository.to_owned(), file.to_owned());
            let outcome = self.watched(move |api, news| {
                let reporter = Reporter::new(news);
                api.model(repository)
                    .download_with_progress(&name, reporter)
            });
            if let Err(Failure::Api(error)) = &outcome {
                self.drop_useless_part(file, error);
            }
            outcome
        })?;
        self.check(file, &path)?;
        Ok(path)
    }

    /// Tries again after a broken connection; the download goes on where it stopped.
    fn retrying<T>(&self, attempt: impl Fn() -> Result<T, Failure>) -> Result<T, ModelError> {
        let mut failures = 0;
        loop {
            let failure = match attempt() {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            failures += 1;
            match RetryPolicy::TRANSFER.jittered(failures) {
                Some(delay) if failure.is_transient() => std::thread::sleep(delay),
                _ => return Err(failure.into_error(self.repository, &self.config.cache)),
            }
        }
    }

    /// Runs `work` on a thread and passes its progress on.
    fn watched<T: Send + 'static>(
        &self,
        work: impl FnOnce(Api, SyncSender<News<T>>) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, Failure> {
        let api = self.config.api().map_err(Failure::Api)?;
        let (news, inbox) = sync_channel(16);
        let end = news.clone();
        std::thread::Builder::new()
            .name("model-download".to_owned())
            .spawn(move || {
                // Nobody listens where the download was given up for stalling.
                if end.send(News::End(work(api, news))).is_err() {
                    tracing::debug!("a stalled model download ended after it was given up");
                }
            })
            .map_err(|error| Failure::Api(ApiError::IoError(error)))?;
        loop {
            match inbox.recv_timeout(self.config.stall) {
                Ok(News::Progress { file, done, total }) => {
                    self.observer
                        .event(&Event::ModelDownload { file, done, total });
                }
                Ok(News::End(outcome)) => return outcome.map_err(Failure::Api),
                Err(RecvTimeoutError::Timeout) => return Err(Failure::Stalled(self.config.stall)),
                Err(RecvTimeoutError::Disconnected) => return Err(Failure::Panicked),
            }
        }
    }

    /// A part as long as the file, or longer, can never be finished: the hub refuses its range.
    fn drop_useless_part(&self, file: &str, error: &ApiError) {
        let is_useless = matches!(error, ApiError::InvalidResume) || status(error) == Some(416);
        if !is_useless {
            return;
        }
        let removed = self
            .part(file)
            .and_then(|part| std::fs::remove_file(part).ok());
        if removed.is_none() {
            tracing::warn!(file, "a useless partial download could not be removed");
        }
    }

    fn part(&self, file: &str) -> Option<PathBuf> {
        let api = self.config.api().ok()?;
        let model = self.repository.to_owned();
        let metadata = api.metadata(&api.model(model.clone()).url(file)).ok()?;
        let blob = self
            .config
            .cache()
            .repo(Repo::model(model))
            .blob_path(metadata.etag());
        Some(blob.with_extension("part"))
    }

    /// Large files are named by their SHA-256 in the cache; one that has another is removed.
    fn check(&self, file: &str, link: &Path) -> Result<(), ModelError> {
        let cache_error = |error: std::io::Error| ModelError::Cache {
            path: self.config.cache.display().to_string(),
            problem: error.to_string(),
        };
        let blob = link.canonicalize().map_err(cache_error)?;
        let Some(expected) = digest_in_name(&blob) else {
            return Ok(());
        };
        let digest = sha256(&blob).map_err(cache_error)?;
        if digest == expected {
            return Ok(());
        }
        std::fs::remove_file(link).map_err(cache_error)?;
        std::fs::remove_file(&blob).map_err(cache_error)?;
        Err(ModelError::Damaged {
            repository: self.repository.to_owned(),
            file: file.to_owned(),
            problem: format!("its SHA-256 is {digest} instead of {expected}"),
        })
    }
}

fn is_needed(file: &str) -> bool {
    matches!(
        file,
        "config.json" | "preprocessor_config.json" | "tokenizer.json" | MODEL
    ) || (file.starts_with("vocabulary.") && !file.contains('/'))
}

/// The SHA-256 that a cached file's name claims, in lower-case hex.
pub(super) fn digest_in_name(blob: &Path) -> Option<String> {
    let in_blobs = blob.parent()?.file_name()? == "blobs";
    let name = blob.file_name()?.to_str()?;
    let is_digest = name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit());
    (in_blobs && is_digest).then(|| name.to_ascii_lowercase())
}

/// SHA-256 of a file in lower-case hex.
pub(super) fn sha256(path: &Path) -> std::io::Result<String> {
    let mut hasher = HashWriter(Sha256::new());
    std::io::copy(&mut std::fs::File::open(path)?, &mut hasher)?;
    let digest = hasher.0.finalize();
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

struct HashWriter(Sha256);

impl std::io::Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Sends the state of a download, ten times a second at most.
struct Reporter<T> {
    news: SyncSender<News<T>>,
    file: String,
    done: u64,
    total: u64,
    sent: Instant,
}

impl<T> Reporter<T> {
    const PAUSE: Duration = Duration::from_millis(100);

    fn new(news: SyncSender<News<T>>) -> Self {
        Self {
            news,
            file: String::new(),
            done: 0,
            total: 0,
            sent: Instant::now(),
        }
    }

    fn send(&mut self) {
        self.sent = Instant::now();
        let (file, done, total) = (self.file.clone(), self.done, self.total);
        if self
            .news
            .send(News::Progress { file, done, total })
            .is_err()
        {
            tracing::trace!("progress of a download that was given up");
        }
    }
}

impl<T> Progress for Reporter<T> {
    fn init(&mut self, size: usize, file: &str) {
        (self.file, self.done, self.total) = (file.to_owned(), 0, size as u64);
        self.send();
    }

    fn update(&mut self, size: usize) {
        self.done += size as u64;
        if self.sent.elapsed() >= Self::PAUSE {
            self.send();
        }
    }

    fn finish(&mut self) {
        self.send();
    }
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
