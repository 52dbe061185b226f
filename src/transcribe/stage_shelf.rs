//! Finished parts of an episode's transcription in the stage store.

use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use super::batched::{FinishedPart, Shelf};
use super::transcriber::Transcriber;
use crate::domain::{ContentDigest, EpisodeId, Failure, FailureClass};
use crate::stage::StageStore;

/// Keeps the parts of one episode. Blocks; not for the async runtime's own threads.
pub(super) struct StageShelf {
    store: StageStore,
    episode: EpisodeId,
    recipe: String,
    runtime: Handle,
}

impl StageShelf {
    pub(super) fn new(
        store: StageStore,
        episode: EpisodeId,
        audio: &ContentDigest,
        transcriber: &Transcriber,
        runtime: Handle,
    ) -> Self {
        Self {
            store,
            episode,
            recipe: recipe(audio, transcriber),
            runtime,
        }
    }
}

/// Names all that a part depends on: the audio, the model, the options and the program.
fn recipe(audio: &ContentDigest, transcriber: &Transcriber) -> String {
    let engine = transcriber.engine.info();
    let facts = serde_json::json!([
        audio.to_string(),
        engine.model,
        engine.model_digest,
        engine.compute_type,
        engine.device,
        transcriber.options,
        env!("CARGO_PKG_VERSION"),
    ]);
    let digest = Sha256::digest(facts.to_string());
    // As much as tells recipes apart; keys have a length that is bounded.
    digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl Shelf for StageShelf {
    fn load(&mut self) -> Vec<FinishedPart> {
        let parts = self
            .runtime
            .block_on(self.store.parts(&self.episode, &self.recipe));
        let parts = parts.unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read what is finished of a transcription; it begins anew");
            Vec::new()
        });
        // A part that cannot be read is decoded again.
        let read = parts.iter().map(|part| serde_json::from_slice(part));
        read.filter_map(Result::ok).collect()
    }

    fn save(&mut self, part: &FinishedPart) -> Result<(), Failure> {
        let text = serde_json::to_vec(part)
            .map_err(|error| Failure::new(FailureClass::Storage, error.to_string()))?;
        let kept = self
            .store
            .keep_part(&self.episode, &self.recipe, part.windows(), text.into());
        Ok(self.runtime.block_on(kept)?)
    }
}
