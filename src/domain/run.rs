//! What a submitted run is called.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::ids::InvalidId;
use super::job::StageName;

/// Names one run of a fleet: `fetch-20261121-231500-1f9c2a`. It is the job's name too, so that a job
/// whose submission was never answered is found again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

impl RunId {
    /// A new run; times sort as text.
    pub fn new(stage: StageName, now: DateTime<Utc>) -> Self {
        let random = uuid::Uuid::new_v4().simple().to_string();
        let at = now.format("%Y%m%d-%H%M%S");
        Self(format!("{stage}-{at}-{}", &random[..6]))
    }

    /// Takes a run's name as somebody typed it.
    ///
    /// # Errors
    /// Text that is no job name of AWS Batch: letters, digits, `-` and `_`, at most 128, the first a
    /// letter or digit.
    pub fn try_new(text: impl Into<String>) -> Result<Self, InvalidId> {
        let text = text.into();
        let is_known = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let is_valid = text.len() <= 128
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(is_known);
        match is_valid {
            true => Ok(Self(text)),
            false => Err(InvalidId {
                what: "run",
                text: text.chars().take(128).collect(),
                problem: "is not made of at most 128 letters, digits, `-` and `_`",
            }),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for RunId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::try_new(text)
    }
}

impl TryFrom<String> for RunId {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        Self::try_new(text)
    }
}

impl From<RunId> for String {
    fn from(run: RunId) -> Self {
        run.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_stage_and_time_and_are_never_the_same() {
        let now = "2026-11-21T23:15:00Z".parse().unwrap();
        let run = RunId::new(StageName::Fetch, now);
        assert!(run.as_str().starts_with("fetch-20261121-231500-"), "{run}");
        assert_ne!(run, RunId::new(StageName::Fetch, now));
        assert_eq!(run.as_str().parse::<RunId>().unwrap(), run);
    }

    #[test]
    fn what_is_no_job_name_is_refused() {
        for bad in ["", "-a", "a/b", "a b", "../a", "ä", &"a".repeat(129)] {
            assert!(RunId::try_new(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
