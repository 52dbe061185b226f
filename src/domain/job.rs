//! What a queue message says: one episode to fetch, or one to transcribe.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::episode::Episode;
use super::failure::{Failure, FailureClass};
use super::ids::EpisodeId;

/// The steps that drain a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StageName {
    /// Audio into the raw store.
    Fetch,
    /// Transcripts into the stage store.
    Transcribe,
}

impl StageName {
    /// Both, in the order of the data flow.
    pub const ALL: [Self; 2] = [Self::Fetch, Self::Transcribe];

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Transcribe => "transcribe",
        }
    }
}

impl std::fmt::Display for StageName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl std::str::FromStr for StageName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|stage| stage.as_str() == text)
            .ok_or_else(|| format!("{text:?} is no stage"))
    }
}

/// Fetch this episode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FetchJob {
    /// Everything the manifest knows, so that a worker needs no second look-up.
    pub episode: Episode,
}

/// Transcribe this episode; what else is needed stands in its `meta.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TranscribeJob {
    /// Which.
    pub episode: EpisodeId,
}

/// A job that travels as a queue message.
pub trait Job: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The stage that takes it.
    const STAGE: StageName;

    /// The episode it is about.
    fn episode(&self) -> &EpisodeId;
}

impl Job for FetchJob {
    const STAGE: StageName = StageName::Fetch;
    fn episode(&self) -> &EpisodeId {
        &self.episode.id
    }
}

impl Job for TranscribeJob {
    const STAGE: StageName = StageName::Transcribe;
    fn episode(&self) -> &EpisodeId {
        &self.episode
    }
}

/// The wire format's version; raise it when a field changes its meaning.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<J> {
    format: u32,
    job: J,
}

/// The message body of `job`.
pub fn encode<J: Job>(job: &J) -> String {
    // A job holds only texts, numbers and dates, all of which JSON can express.
    serde_json::to_string(&Envelope {
        format: FORMAT,
        job,
    })
    .expect("a job has no map with keys that are no strings")
}

/// Reads a message body; anything unexpected is [`FailureClass::BadMessage`], since a message that
/// cannot be read today cannot be read tomorrow.
pub fn decode<J: Job>(body: &str) -> Result<J, Failure> {
    let bad = |problem: String| Failure::new(FailureClass::BadMessage, problem);
    let envelope: Envelope<J> = serde_json::from_str(body)
        .map_err(|error| bad(format!("unreadable {} message: {error}", J::STAGE)))?;
    if envelope.format != FORMAT {
        let found = envelope.format;
        return Err(bad(format!(
            "{} message of format {found}, this program reads format {FORMAT}",
            J::STAGE
        )));
    }
    Ok(envelope.job)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_survives_its_message() {
        let body = r#"{"format":1,"job":{"episode":{"feed_slug":"a","guid":"g"}}}"#;
        let job: TranscribeJob = decode(body).unwrap();
        assert_eq!(encode(&job), body);
    }

    #[test]
    fn strange_messages_are_permanent_failures() {
        for body in [
            "",
            "{}",
            r#"{"format":2,"job":{"episode":{"feed_slug":"a","guid":"g"}}}"#,
            r#"{"format":1,"job":{"episode":{"feed_slug":"../a","guid":"g"}}}"#,
        ] {
            let failure = decode::<TranscribeJob>(body).unwrap_err();
            assert_eq!(failure.class, FailureClass::BadMessage);
        }
    }
}
