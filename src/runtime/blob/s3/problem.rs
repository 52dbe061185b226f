//! What a failed call of S3 means.

use std::fmt::Debug;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::runtime::aws::AwsError;
use crate::runtime::blob::BlobErrorKind;

/// Codes that tell that there is no such bucket here.
const NO_BUCKET: [&str; 4] = [
    "AuthorizationHeaderMalformed",
    "InvalidBucketName",
    "NoSuchBucket",
    "PermanentRedirect",
];

/// A call that failed, after the SDK's retries.
#[derive(Debug)]
pub(super) struct Problem {
    /// In words.
    error: AwsError,
    /// The answer's HTTP status, where there was an answer.
    status: Option<u16>,
}

impl Problem {
    pub(super) fn new<E>(operation: &'static str, failed: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let status = failed.raw_response().map(|answer| answer.status().as_u16());
        let mut error = AwsError::new(operation, failed);
        if let (None, Some(status), SdkError::ServiceError(_)) = (&error.code, status, failed) {
            // An answer to HEAD has no body, and so neither code nor message.
            error.message = format!("the service answered {status}");
        }
        Self { error, status }
    }

    /// The condition, before anybody looks at the object.
    pub(super) fn kind(&self) -> BlobErrorKind {
        if self.is_no_bucket() {
            BlobErrorKind::NoStore
        } else if self.error.is_refusal() || self.status == Some(403) {
            BlobErrorKind::PermissionDenied
        } else if self.is_not_found() {
            BlobErrorKind::NotFound
        } else if self.code() == Some("KeyTooLongError") {
            BlobErrorKind::InvalidKey
        } else {
            BlobErrorKind::Other
        }
    }

    /// There is no such object; nor, from a HEAD, perhaps the bucket.
    pub(super) fn is_not_found(&self) -> bool {
        self.status == Some(404) && !self.is_no_bucket() && !self.is_no_upload()
    }

    /// The upload was aborted, or completed before.
    pub(super) fn is_no_upload(&self) -> bool {
        self.code() == Some("NoSuchUpload")
    }

    /// `If-None-Match` or `If-Match` did not hold.
    pub(super) fn is_precondition(&self) -> bool {
        self.status == Some(412)
    }

    /// Another conditional write was under way, and nobody knows yet who wins.
    pub(super) fn is_conflict(&self) -> bool {
        self.status == Some(409)
    }

    /// The range begins where the object ends, or behind.
    pub(super) fn is_past_the_end(&self) -> bool {
        self.status == Some(416)
    }

    fn is_no_bucket(&self) -> bool {
        self.status == Some(301) || self.code().is_some_and(|code| NO_BUCKET.contains(&code))
    }

    fn code(&self) -> Option<&str> {
        self.error.code.as_deref()
    }

    /// In words, with what to do about it where that is known.
    pub(super) fn into_words(self, kind: BlobErrorKind, bucket: &str) -> String {
        let hint = match kind {
            BlobErrorKind::NoStore => format!(
                "; create the bucket {bucket}, or correct its name or the region it is looked for in"
            ),
            BlobErrorKind::PermissionDenied if self.code().is_none() => {
                format!("; without s3:ListBucket on {bucket} this is also said of a missing object")
            }
            _ => String::new(),
        };
        format!("{}{hint}", self.error)
    }
}
