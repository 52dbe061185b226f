//! The speech engine of this build: Whisper on CTranslate2.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use podrun::runtime::telemetry::{Ignore, Observer};
use podrun::transcribe::ct2::Ct2Engine;
use podrun::transcribe::ct2_config::Ct2Config;
use podrun::transcribe::hub::HubConfig;
use podrun::transcribe::model::ModelSource;
use podrun::transcribe::options::TranscribeOptions;
use podrun::transcribe::thread::EngineThreads;
use podrun::transcribe::tokenizer::Tokenizer;
use podrun::transcribe::transcriber::Transcriber;

use crate::exit::Problem;
use crate::settings::TranscribeSettings;

/// A model that was named; checked as far as that goes without a network.
pub(crate) type Model = ModelSource;

/// A loaded model. Dropping it ends its thread.
#[derive(Debug)]
pub(crate) struct Speech {
    thread: EngineThreads,
    tokenizer: Arc<Tokenizer>,
}

impl Speech {
    /// A way to use the model.
    pub(crate) fn transcriber(&self, options: TranscribeOptions) -> Transcriber {
        Transcriber {
            engine: self.thread.handle(),
            tokenizer: Arc::clone(&self.tokenizer),
            options,
        }
    }
}

impl Speech {
    /// Hears a clip; without a wish on graphics cards only, which may compute nothing in silence.
    fn test(&self, wished: Option<bool>) -> Result<(), Problem> {
        let transcriber = self.transcriber(TranscribeOptions::default());
        if wished.unwrap_or(transcriber.engine.info().device == "cuda") {
            transcriber.self_test().map_err(Problem::preflight)?;
        }
        Ok(())
    }
}

/// Checks everything that was named, before anything else happens.
pub(crate) fn check(settings: &TranscribeSettings) -> Result<Model, Problem> {
    ct2_config(settings)?;
    let source = ModelSource::parse(&settings.model).map_err(Problem::preflight)?;
    if let ModelSource::Directory(_) = &source {
        source
            .fetch(&hub_config(settings)?, &Ignore)
            .map_err(Problem::preflight)?;
    }
    Ok(source)
}

/// Downloads the model where that is needed, and loads it. Blocks.
pub(crate) fn load(
    source: &Model,
    settings: &TranscribeSettings,
    observer: &dyn Observer,
) -> Result<Speech, Problem> {
    let files = source
        .fetch(&hub_config(settings)?, observer)
        .map_err(Problem::preflight)?;
    let tokenizer = Tokenizer::from_file(&files.tokenizer()).map_err(Problem::preflight)?;
    let config = ct2_config(settings)?;
    let thread = EngineThreads::start(move || Ct2Engine::load_replicas(&files, &config))
        .map_err(Problem::preflight)?;
    let speech = Speech {
        thread,
        tokenizer: Arc::new(tokenizer),
    };
    speech.test(settings.run.self_test)?;
    Ok(speech)
}

fn ct2_config(settings: &TranscribeSettings) -> Result<Ct2Config, Problem> {
    Ok(Ct2Config {
        device: settings.device.parse().map_err(Problem::preflight)?,
        device_indices: vec![settings.device_index],
        replicas: 0,
        compute_type: settings.compute_type.parse().map_err(Problem::preflight)?,
        threads: usize::from(settings.threads),
    })
}

/// The variables that every tool of the hub reads.
fn hub_config(settings: &TranscribeSettings) -> Result<HubConfig, Problem> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let cache = (settings.run.model_dir.clone())
        .or_else(|| variable("HF_HUB_CACHE").map(PathBuf::from))
        .or_else(|| variable("HF_HOME").map(|home| Path::new(&home).join("hub")))
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache/huggingface/hub")))
        .ok_or_else(|| {
            Problem::preflight("there is no home directory to keep models in")
                .hint("name a folder for them in HF_HOME, or give the folder of a model")
        })?;
    Ok(HubConfig {
        endpoint: variable("HF_ENDPOINT"),
        token: variable("HF_TOKEN"),
        ..HubConfig::new(cache)
    })
}
