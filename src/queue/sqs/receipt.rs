//! What a receipt holds, for how long it is good, and how the service says that it is not.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::queue::{QueueError, Receipt};
use crate::runtime::aws::AwsError;

/// The longest that a message can be hidden, from its receipt on.
const MAX_HIDDEN: Duration = Duration::from_secs(12 * 60 * 60);

/// What a receipt stands for. The body is in it because setting a message aside is a copy.
#[derive(Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) handle: String,
    pub(super) id: String,
    pub(super) body: String,
}

impl Held {
    /// The receipt for it.
    pub(super) fn receipt(&self) -> Receipt {
        // Three texts: JSON can express them.
        Receipt(serde_json::to_string(self).unwrap_or_default())
    }

    /// A receipt that no queue of ours gave is as good as lost.
    pub(super) fn of(receipt: &Receipt) -> Result<Self, QueueError> {
        serde_json::from_str(&receipt.0).map_err(|_| QueueError::LeaseLost)
    }
}

/// Whole seconds as the service counts them, rounded up: what rests never comes early.
pub(super) fn seconds(duration: Duration) -> i32 {
    let duration = duration.min(MAX_HIDDEN);
    let whole = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i32::try_from(whole).unwrap_or(i32::MAX)
}

/// Whether the receipt is over. One that is malformed has a code of its own; one whose message is
/// gone, or came back, has a code or only a sentence, depending on the call.
pub(super) fn is_lost(error: &AwsError) -> bool {
    match error.code.as_deref() {
        Some("ReceiptHandleIsInvalid" | "MessageNotInflight" | "InvalidIdFormat") => true,
        Some(code) if code.ends_with("InvalidParameterValue") => {
            error.message.contains("ReceiptHandle is invalid")
                || error.message.contains("receipt handle has expired")
        }
        Some(code) => code.ends_with(".MessageNotInflight"),
        None => false,
    }
}

/// Whether the change was refused because of the 12 hours that a message can be hidden in all.
pub(super) fn is_over_limit(error: &AwsError) -> bool {
    let code = error.code.as_deref().unwrap_or_default();
    code.ends_with("InvalidParameterValue") && error.message.contains("Total VisibilityTimeout")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: &str, message: &str) -> AwsError {
        AwsError {
            operation: "DeleteMessage",
            code: Some(code.to_owned()),
            message: format!("{code}: {message}"),
        }
    }

    #[test]
    fn seconds_are_rounded_up_and_bounded() {
        assert_eq!(seconds(Duration::ZERO), 0);
        assert_eq!(seconds(Duration::from_millis(1)), 1);
        assert_eq!(seconds(Duration::from_millis(2_500)), 3);
        assert_eq!(seconds(Duration::MAX), 43_200);
    }

    #[test]
    fn refusals_are_told_apart() {
        let expired = "Value AQEB for parameter ReceiptHandle is invalid. \
            Reason: The receipt handle has expired.";
        let lost = [
            error(
                "ReceiptHandleIsInvalid",
                "The input receipt handle is invalid.",
            ),
            error("MessageNotInflight", "not in flight"),
            error("AWS.SimpleQueueService.MessageNotInflight", "not in flight"),
            error("InvalidParameterValue", expired),
        ];
        for error in &lost {
            assert!(is_lost(error) && !is_over_limit(error), "{error}");
        }
        let total = "Value 600 for parameter VisibilityTimeout is invalid. Reason: \
            Total VisibilityTimeout for the message is beyond the limit [43200 seconds]";
        let over = error("InvalidParameterValue", total);
        assert!(is_over_limit(&over) && !is_lost(&over));
        let other = error("QueueDoesNotExist", "no such queue");
        assert!(!is_over_limit(&other) && !is_lost(&other));
    }

    #[test]
    fn a_receipt_survives_and_a_strange_one_is_lost() {
        let held = Held {
            handle: "AQ==".to_owned(),
            id: "1".to_owned(),
            body: "{\"a\":\"\u{1f399}\"}".to_owned(),
        };
        let again = Held::of(&held.receipt()).unwrap();
        assert_eq!((again.handle, again.body), (held.handle, held.body));
        let strange = Held::of(&Receipt("nonsense".to_owned()));
        assert!(matches!(strange, Err(QueueError::LeaseLost)));
    }
}
