//! The nouns: validated types without I/O. Every other module may use them; they use none.

pub mod episode;
pub mod failure;
pub mod ids;
pub mod job;
pub mod key;
pub mod publisher;
pub mod rendition;
pub mod run;
pub mod transcript;

pub use episode::{AudioContainer, Enclosure, Episode, TranscriptLink};
pub use failure::{Disposition, Failure, FailureClass};
pub use ids::{ContentDigest, EpisodeId, FeedSlug, Guid, InvalidId, OwnerId};
pub use job::{FetchJob, Job, StageName, TranscribeJob};
pub use key::{
    ExtraFormat, FeedCopyKey, GuidSegment, IdentityKey, ManifestKey, RawKey, RunKey, StageKey,
};
pub use publisher::{PublisherTranscript, TranscriptFormat};
pub use rendition::{AdSign, Rendition, Suspicion};
pub use run::RunId;
pub use transcript::{Segment, Transcript, Word};
