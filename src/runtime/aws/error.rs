//! Errors of the SDK in words.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

/// A call that failed, after the SDK's own retries.
///
/// The SDK's errors print as "service error" alone; this one says which call, the service's code and
/// message, and the whole chain of causes. Requests are signed in their headers, so no text of the
/// SDK holds a signature.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {message}")]
pub struct AwsError {
    /// The call, as the API names it: `PutObject`.
    pub operation: &'static str,
    /// The service's code, such as `AccessDenied`, where it answered.
    pub code: Option<String>,
    /// What happened.
    pub message: String,
}

impl AwsError {
    /// Puts a failed call into words.
    pub fn new<E, R>(operation: &'static str, error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        let code = error.as_service_error().and_then(|error| error.code());
        let told = error.as_service_error().and_then(|error| error.message());
        let message = match (code, told) {
            (Some(code), Some(told)) => format!("{code}: {told}"),
            (Some(code), None) => code.to_owned(),
            _ => chain(error),
        };
        Self {
            operation,
            code: code.map(str::to_owned),
            message,
        }
    }

    /// Whether the account refuses us, so that trying anything else is pointless.
    pub fn is_refusal(&self) -> bool {
        const REFUSALS: [&str; 8] = [
            "AccessDenied",
            "AccessDeniedException",
            "ExpiredToken",
            "ExpiredTokenException",
            "InvalidAccessKeyId",
            "InvalidClientTokenId",
            "SignatureDoesNotMatch",
            "UnrecognizedClientException",
        ];
        self.code
            .as_deref()
            .is_some_and(|code| REFUSALS.contains(&code))
    }
}

/// An error and its causes, each said once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

/// An account that cannot be reached as configured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// Nothing names a region.
    #[error("no AWS region is set")]
    NoRegion,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Link(&'static str, #[source] Option<Box<Link>>);

    #[test]
    fn causes_are_told_once_each() {
        let refused = Link("connection refused", None);
        let again = Link("connection refused", Some(Box::new(refused)));
        let error = Link("dispatch failure", Some(Box::new(again)));
        assert_eq!(chain(&error), "dispatch failure: connection refused");
    }
}
