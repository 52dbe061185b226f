use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::super::model::ModelSource;
use super::*;
use crate::runtime::telemetry::Ignore;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const REPOSITORY: &str = "someone/whisper-test";

/// A hub on loopback: the listing, `resolve` with ranges, and large files by redirect to a
/// second address, as the real one does it.
struct FakeHub {
    address: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    files: Mutex<HashMap<String, Vec<u8>>>,
    log: Mutex<Vec<String>>,
    /// Breaks this many transfers of the weights after a quarter.
    breaks: AtomicUsize,
    /// Says nothing when the weights are asked for.
    is_mute: std::sync::atomic::AtomicBool,
    /// Sends other weights than it announces.
    is_lying: std::sync::atomic::AtomicBool,
}

impl FakeHub {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State::default());
        let weights: Vec<u8> = (0..300_000u32).map(|i| (i * 31 % 251) as u8).collect();
        let files = [
            ("config.json", b"{}".to_vec()),
            ("tokenizer.json", b"{\"t\": 1}".to_vec()),
            ("vocabulary.txt", b"a\nb".to_vec()),
            ("model.bin", weights),
            ("README.md", b"not needed".to_vec()),
        ];
        let named = files.map(|(name, bytes)| (name.to_owned(), bytes));
        state.files.lock().unwrap().extend(named);
        let (served, base) = (Arc::clone(&state), address.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (state, base) = (Arc::clone(&served), base.clone());
                std::thread::spawn(move || state.answer(stream, &base));
            }
        });
        Self { address, state }
    }

    fn config(&self, cache: &Path) -> HubConfig {
        HubConfig {
            endpoint: Some(format!("{}/", self.address)),
            ..HubConfig::new(cache.to_owned())
        }
    }

    fn weights(&self) -> Vec<u8> {
        self.state.files.lock().unwrap()[MODEL].clone()
    }

    /// Ranges in which the weights were asked for, the look at their size left out.
    fn ranges(&self) -> Vec<String> {
        let log = self.state.log.lock().unwrap();
        let of_weights = log.iter().filter_map(|line| {
            let range = line.strip_prefix("/cdn/model.bin ")?;
            (range != "bytes=0-0").then(|| range.to_owned())
        });
        of_weights.collect()
    }
}

impl State {
    fn answer(&self, mut stream: TcpStream, base: &str) {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let request = lines.next().unwrap().unwrap();
        let path = request.split(' ').nth(1).unwrap().to_owned();
        let mut range = String::new();
        for header in lines
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty())
        {
            if let Some((name, value)) = header.split_once(": ")
                && name.eq_ignore_ascii_case("range")
            {
                range = value.to_owned();
            }
        }
        self.log.lock().unwrap().push(format!("{path} {range}"));
        let response = self.route(&path, &range, base);
        if let Some((head, body)) = response {
            // The client hangs up where it has read enough.
            let sent = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(&body));
            drop(sent);
        } else {
            std::thread::sleep(Duration::from_secs(5));
        }
    }

    fn route(&self, path: &str, range: &str, base: &str) -> Option<(String, Vec<u8>)> {
        let files = self.files.lock().unwrap();
        if path == format!("/api/models/{REPOSITORY}/revision/main") {
            let siblings: Vec<_> = files
                .keys()
                .map(|name| serde_json::json!({"rfilename": name}))
                .collect();
            let body = serde_json::json!({"siblings": siblings, "sha": COMMIT}).to_string();
            let head = head("200 OK", body.len(), "Content-Type: application/json\r\n");
            return Some((head, body.into_bytes()));
        }
        let resolve = format!("/{REPOSITORY}/resolve/main/");
        if let Some(name) = path.strip_prefix(&resolve) {
            let bytes = &files[name];
            if name == MODEL {
                let digest = hex(bytes);
                let headers = format!(
                    "X-Repo-Commit: {COMMIT}\r\nX-Linked-Etag: \"{digest}\"\r\nLocation: {base}/cdn/{name}\r\n"
                );
                return Some((head("302 Found", 0, &headers), Vec::new()));
            }
            let headers = format!("X-Repo-Commit: {COMMIT}\r\nETag: \"small-{name}\"\r\n");
            return Some(ranged(bytes, range, &headers, None));
        }
        match path.strip_prefix("/cdn/") {
            Some(name) => self.weights(&files[name], range),
            None => Some((head("401 Unauthorized", 0, ""), Vec::new())),
        }
    }

    fn weights(&self, bytes: &[u8], range: &str) -> Option<(String, Vec<u8>)> {
        if range == "bytes=0-0" {
            return Some(ranged(bytes, range, "", None));
        }
        if self.is_mute.load(Ordering::SeqCst) {
            return None;
        }
        if self.is_lying.load(Ordering::SeqCst) {
            return Some(ranged(&vec![0; bytes.len()], range, "", None));
        }
        let less = |left: usize| left.checked_sub(1);
        let breaks = self
            .breaks
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        Some(ranged(
            bytes,
            range,
            "",
            breaks.is_ok().then_some(bytes.len() / 4),
        ))
    }
}

fn head(status: &str, length: usize, headers: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n")
}

/// The bytes from the range's start, or fewer than announced where the answer is `cut`.
fn ranged(bytes: &[u8], range: &str, headers: &str, cut: Option<usize>) -> (String, Vec<u8>) {
    let (start, end) = range
        .strip_prefix("bytes=")
        .unwrap()
        .split_once('-')
        .unwrap();
    let start: usize = start.parse().unwrap();
    if start >= bytes.len() {
        return (head("416 Range Not Satisfiable", 0, ""), Vec::new());
    }
    let end = end.parse().unwrap_or(bytes.len() - 1);
    let body = &bytes[start..=end];
    let content_range = format!(
        "Content-Range: bytes {start}-{end}/{}\r\n{headers}",
        bytes.len()
    );
    let sent = cut.map_or(body.len(), |cut| cut.min(body.len()));
    (
        head("206 Partial Content", body.len(), &content_range),
        body[..sent].to_vec(),
    )
}

fn hex(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Debug, Default)]
struct Recorder(Mutex<Vec<(String, u64, u64)>>);

impl Observer for Recorder {
    fn event(&self, event: &Event) {
        if let Event::ModelDownload { file, done, total } = event {
            self.0.lock().unwrap().push((file.clone(), *done, *total));
        }
    }
}

fn source() -> ModelSource {
    ModelSource::parse(REPOSITORY).unwrap()
}

#[test]
fn a_model_is_downloaded_once() {
    let (hub, cache) = (FakeHub::start(), tempfile::tempdir().unwrap());
    let recorder = Recorder::default();
    let files = source()
        .fetch(&hub.config(cache.path()), &recorder)
        .unwrap();
    assert_eq!(files.name(), REPOSITORY);
    assert_eq!(std::fs::read(files.model()).unwrap(), hub.weights());
    assert!(files.directory().ends_with(COMMIT));
    assert!(!files.directory().join("README.md").exists());
    let last = recorder.0.lock().unwrap().last().cloned().unwrap();
    assert_eq!(last, (MODEL.to_owned(), 300_000, 300_000));

    let asked = hub.state.log.lock().unwrap().len();
    let again = source().fetch(&hub.config(cache.path()), &Ignore).unwrap();
    assert_eq!(again, files);
    assert_eq!(hub.state.log.lock().unwrap().len(), asked);
}

#[test]
fn a_broken_download_goes_on_where_it_stopped() {
    let (hub, cache) = (FakeHub::start(), tempfile::tempdir().unwrap());
    hub.state.breaks.store(2, Ordering::SeqCst);
    let files = source().fetch(&hub.config(cache.path()), &Ignore).unwrap();
    assert_eq!(std::fs::read(files.model()).unwrap(), hub.weights());
    assert_eq!(hub.ranges(), ["bytes=0-", "bytes=75000-", "bytes=150000-"]);
}

#[test]
fn a_partial_download_is_no_model_and_is_finished_by_the_next_run() {
    let (hub, cache) = (FakeHub::start(), tempfile::tempdir().unwrap());
    let config = hub.config(cache.path());
    hub.state.breaks.store(3, Ordering::SeqCst);
    let error = source().fetch(&config, &Ignore).unwrap_err();
    assert!(matches!(error, ModelError::Network { .. }), "{error}");
    assert_eq!(cached(REPOSITORY, &config), None);
    let files = source().fetch(&config, &Ignore).unwrap();
    assert_eq!(std::fs::read(files.model()).unwrap(), hub.weights());
    assert_eq!(hub.ranges().last().unwrap(), "bytes=225000-");
}

#[test]
fn a_whole_part_that_was_never_renamed_does_not_block() {
    let (hub, cache) = (FakeHub::start(), tempfile::tempdir().unwrap());
    let config = hub.config(cache.path());
    let blob = Cache::new(cache.path().to_owned())
        .model(REPOSITORY.to_owned())
        .blob_path(&hex(&hub.weights()));
    std::fs::create_dir_all(blob.parent().unwrap()).unwrap();
    std::fs::write(blob.with_extension("part"), hub.weights()).unwrap();
    let files = source().fetch(&config, &Ignore).unwrap();
    assert_eq!(std::fs::read(files.model()).unwrap(), hub.weights());
}

#[test]
fn damaged_weights_are_not_kept() {
    let (hub, cache) = (FakeHub::start(), tempfile::tempdir().unwrap());
    let config = hub.config(cache.path());
    hub.state.is_lying.store(true, Ordering::SeqCst);
    let error = source().fetch(&config, &Ignore).unwrap_err();
    assert!(
        matches!(&error, ModelError::Damaged { file, .. } if file == MODEL),
        "{error}"
    );
    assert_eq!(cached(REPOSITORY, &config), None);
    hub.state.is_lying.store(false, Ordering::SeqCst);
    assert!(source().fetch(&config, &Ignore).is_ok());
}

#[test]
fn a_mute_hub_is_given_up() {
    let (hub, cache) = (FakeHub::start(), tempfile::tempdir().unwrap());
    hub.state.is_mute.store(true, Ordering::SeqCst);
    let config = HubConfig {
        stall: Duration::from_millis(300),
        ..hub.config(cache.path())
    };
    let error = source().fetch(&config, &Ignore).unwrap_err().to_string();
    assert!(error.contains("the hub was silent for 0 s"), "{error}");
}

#[test]
fn an_unknown_repository_and_one_without_weights_are_told_apart() {
    let (hub, cache) = (FakeHub::start(), tempfile::tempdir().unwrap());
    let config = hub.config(cache.path());
    let unknown = ModelSource::parse("someone/else").unwrap();
    let error = unknown.fetch(&config, &Ignore).unwrap_err();
    assert!(matches!(error, ModelError::NoRepository { .. }), "{error}");
    hub.state.files.lock().unwrap().remove(MODEL);
    let error = source().fetch(&config, &Ignore).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the repository someone/whisper-test holds no CTranslate2 model: it has no model.bin"
    );
}

#[test]
fn without_a_network_the_message_says_what_to_do() {
    let cache = tempfile::tempdir().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let config = HubConfig {
        endpoint: Some(format!("http://user:secret@{closed}")),
        token: Some("hf_secret".to_owned()),
        ..HubConfig::new(cache.path().to_owned())
    };
    let error = source().fetch(&config, &Ignore).unwrap_err();
    assert!(error.is_transient());
    let error = error.to_string();
    assert!(error.contains("name a mirror in HF_ENDPOINT"), "{error}");
    assert!(!error.contains("secret"), "{error}");
    assert!(!format!("{config:?}").contains("secret"));
}
