//! `podrun demo`: the whole pipeline on bundled speech.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use podrun::domain::{EpisodeId, FeedSlug, Guid, StageKey};
use podrun::runtime::blob::read_all;
use serde::Serialize;

use super::run::Counting;
use super::{fetch, transcribe};
use crate::args::{FetchArguments, GlobalArguments, TranscribeArguments};
use crate::demo_server::{self, ServedFile};
use crate::exit::{Code, Problem};
use crate::output::{self, text};
use crate::settings::{Settings, Target};
use crate::signals::Shutdown;
use crate::wire::{self, Stores};

/// A bundled episode.
struct Bundled {
    /// File name without extension.
    name: &'static str,
    mp3: &'static [u8],
    /// What is said in it.
    text: &'static str,
}

macro_rules! bundled {
    ($($name:literal),+) => {
        [$(Bundled {
            name: $name,
            mp3: include_bytes!(concat!("../../assets/demo/", $name, ".mp3")),
            text: include_str!(concat!("../../assets/demo/", $name, ".txt")),
        }),+]
    };
}

const EPISODES: [Bundled; 3] = bundled![
    "1-a-strange-planet",
    "2-a-small-garden",
    "3-viajes-y-cocina"
];
const FEED: &str = include_str!("../../assets/demo/feed.xml.template");
const MODEL: [(&str, &[u8]); 5] = [
    (
        "model.bin",
        include_bytes!("../../assets/whisper-fixture/model.bin"),
    ),
    (
        "config.json",
        include_bytes!("../../assets/whisper-fixture/config.json"),
    ),
    (
        "vocabulary.json",
        include_bytes!("../../assets/whisper-fixture/vocabulary.json"),
    ),
    (
        "tokenizer.json",
        include_bytes!("../../assets/whisper-fixture/tokenizer.json"),
    ),
    (
        "preprocessor_config.json",
        include_bytes!("../../assets/whisper-fixture/preprocessor_config.json"),
    ),
];
const SLUG: &str = "demo";

#[derive(Debug, Serialize)]
struct DemoResult {
    data_dir: PathBuf,
    episodes: Vec<DemoEpisode>,
}

#[derive(Debug, Serialize)]
struct DemoEpisode {
    guid: String,
    title: String,
    spoken: String,
    heard: String,
    files: DemoFiles,
}

/// Where everything of an episode lies.
#[derive(Debug, Serialize)]
struct DemoFiles {
    audio: PathBuf,
    meta: PathBuf,
    transcript: PathBuf,
    vtt: PathBuf,
    segments: PathBuf,
    kpis: PathBuf,
}

pub(crate) async fn run(
    global: &GlobalArguments,
    mut settings: Settings,
    shutdown: &Shutdown,
) -> anyhow::Result<Code> {
    if global.data_dir.is_none() {
        settings.data_dir = PathBuf::from("podrun-demo");
    }
    // Whatever the settings say: a fleet could not reach this machine, and would cost money.
    settings.target = Target::Local;
    // The demo's own server is the only loopback address that is asked.
    settings.http.allow_private_addresses = true;
    let root = settings.data_dir.clone();
    settings.feeds = root.join("feeds");
    settings.transcribe.model = root.join("model").display().to_string();
    settings.transcribe.language = None;

    let (listener, address) = demo_server::bind().await?;
    prepare(&settings, address)?;
    let _server = demo_server::serve(listener, served(address));

    let summary = {
        let observer = Counting::new(output::observer(global));
        fetch::fetch(&settings, &fetch_everything(), observer, shutdown).await?
    };
    let code = summary.code(shutdown);
    if code != Code::Done {
        return Ok(code);
    }
    let observer = Counting::new(output::observer(global));
    let summary =
        transcribe::transcribe(&settings, &transcribe_everything(), observer, shutdown).await?;
    let code = summary.run.code(shutdown);
    if code != Code::Done {
        return Ok(code);
    }
    let result = result(&settings).await?;
    output::print_result(global, &result, || result.text())?;
    Ok(Code::Done)
}

/// Lays the model and a tier file into the data directory, where they can be looked at.
fn prepare(settings: &Settings, address: SocketAddr) -> Result<(), Problem> {
    let tiers = format!("feeds:\n  - slug: {SLUG}\n    url: http://{address}/feed.xml\n");
    let model = settings.data_dir.join("model");
    let mut files = vec![(settings.feeds.join("tier1_feeds.yaml"), tiers.into_bytes())];
    files.extend(MODEL.map(|(name, bytes)| (model.join(name), bytes.to_vec())));
    for (path, bytes) in files {
        write(&path, &bytes).map_err(|error| {
            Problem::preflight(format!("cannot write {}: {error}", path.display()))
                .hint("choose another place with --data-dir")
        })?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if std::fs::read(path).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, bytes)
}

fn served(address: SocketAddr) -> HashMap<String, ServedFile> {
    let feed = FEED.replace("{{base_url}}", &format!("http://{address}"));
    let mut files = HashMap::from([(
        "/feed.xml".to_owned(),
        ServedFile {
            content_type: "application/rss+xml",
            bytes: Bytes::from(feed),
        },
    )]);
    for episode in EPISODES {
        let file = ServedFile {
            content_type: "audio/mpeg",
            bytes: Bytes::from_static(episode.mp3),
        };
        files.insert(format!("/{}.mp3", episode.name), file);
    }
    files
}

fn fetch_everything() -> FetchArguments {
    FetchArguments {
        wait: false,
        feeds: None,
        limit: None,
        dry_run: false,
        refresh: false,
        manifest: None,
        retry_failed: true,
        concurrency: None,
    }
}

fn transcribe_everything() -> TranscribeArguments {
    TranscribeArguments {
        retry_failed: true,
        ..TranscribeArguments::default()
    }
}

async fn result(settings: &Settings) -> anyhow::Result<DemoResult> {
    const MAX_TRANSCRIPT: usize = 1 << 20;
    let stores = Stores::open_existing(settings).await?;
    let mut episodes = Vec::new();
    for bundled in EPISODES {
        let id = EpisodeId {
            feed_slug: FeedSlug::try_new(SLUG)?,
            guid: Guid::try_new(format!("demo-{}", bundled.name))?,
        };
        let staged = |key: StageKey<'_>| wire::path_in(settings, "stage", &key.to_string());
        let key = StageKey::Transcript(&id).to_string();
        let transcript = read_all(&**stores.stage.blobs(), &key, MAX_TRANSCRIPT).await?;
        let transcript: serde_json::Value = serde_json::from_slice(&transcript)?;
        let Some((meta, _)) = stores.raw.meta(&id).await? else {
            anyhow::bail!("{id} is gone from the raw store");
        };
        episodes.push(DemoEpisode {
            heard: transcript["text"]
                .as_str()
                .unwrap_or_default()
                .trim()
                .to_owned(),
            files: DemoFiles {
                audio: wire::path_in(settings, "raw", &meta.audio.key),
                meta: wire::path_in(
                    settings,
                    "raw",
                    &podrun::domain::RawKey::Meta(&id).to_string(),
                ),
                transcript: staged(StageKey::Transcript(&id)),
                vtt: staged(StageKey::Vtt(&id)),
                segments: staged(StageKey::Segments(&id)),
                kpis: staged(StageKey::Kpis(&id)),
            },
            guid: id.guid.to_string(),
            title: meta.title.clone(),
            spoken: bundled
                .text
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" "),
        });
    }
    Ok(DemoResult {
        data_dir: settings.data_dir.clone(),
        episodes,
    })
}

impl DemoResult {
    fn text(&self) -> String {
        let mut lines = String::new();
        for episode in &self.episodes {
            lines += &format!("\n{}\n", text::printable(&episode.title));
            lines += &format!("  {}\n", text::printable(&episode.heard));
            for (name, path) in episode.files.named() {
                lines += &format!("  {name:<11} {}\n", path.display());
            }
        }
        lines += &format!(
            "\nEverything lies in {dir}; `podrun status --data-dir {dir}` shows what the pipeline knows.\n",
            dir = self.data_dir.display()
        );
        lines
    }
}

impl DemoFiles {
    fn named(&self) -> [(&'static str, &Path); 6] {
        [
            ("audio", &self.audio),
            ("facts", &self.meta),
            ("transcript", &self.transcript),
            ("subtitles", &self.vtt),
            ("segments", &self.segments),
            ("figures", &self.kpis),
        ]
    }
}
