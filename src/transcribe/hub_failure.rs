//! How talking to the hub fails, and what to tell of it.

use std::path::Path;
use std::time::Duration;

use hf_hub::api::sync::ApiError;

use super::model::ModelError;

/// What ended a request.
#[derive(Debug)]
pub(super) enum Failure {
    Api(ApiError),
    Stalled(Duration),
    Panicked,
}

impl Failure {
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Api(ApiError::RequestError(_)) => {
                let code = self.status();
                code.is_none_or(|code| matches!(code, 408 | 416 | 429 | 500..))
            }
            // A connection that breaks within a file; a full disk fails the next time as well.
            Self::Api(ApiError::IoError(_) | ApiError::InvalidResume) => true,
            _ => false,
        }
    }

    fn status(&self) -> Option<u16> {
        match self {
            Self::Api(error) => status(error),
            _ => None,
        }
    }

    pub(super) fn into_error(self, repository: &str, cache: &Path) -> ModelError {
        let repository = repository.to_owned();
        match (self.status(), self) {
            // The hub answers 401 for what does not exist, so as not to tell.
            (Some(401 | 403 | 404), _) => ModelError::NoRepository { repository },
            (_, Self::Api(ApiError::LockAcquisition(_))) => ModelError::Busy { repository },
            (_, Self::Api(ApiError::IoError(error))) if is_local(&error) => ModelError::Cache {
                path: cache.display().to_string(),
                problem: error.to_string(),
            },
            (_, failure) => ModelError::Network {
                repository,
                problem: failure.describe(),
            },
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Api(ApiError::RequestError(error)) => match &**error {
                ureq::Error::StatusCode(code) => format!("the hub answered with status {code}"),
                ureq::Error::BadUri(_) => "the address of the hub is no URL".to_owned(),
                ureq::Error::HostNotFound => "the hub's host name is unknown".to_owned(),
                other => other.to_string(),
            },
            Self::Api(error) => error.to_string(),
            Self::Stalled(silence) => format!("the hub was silent for {} s", silence.as_secs()),
            Self::Panicked => "the download broke off".to_owned(),
        }
    }
}

pub(super) fn status(error: &ApiError) -> Option<u16> {
    let ApiError::RequestError(error) = error else {
        return None;
    };
    match **error {
        ureq::Error::StatusCode(code) => Some(code),
        _ => None,
    }
}

fn is_local(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::PermissionDenied
            | ErrorKind::StorageFull
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::NotADirectory
            | ErrorKind::QuotaExceeded
    )
}
