//! A queue on SQS.
//!
//! Two standard queues are needed, the second for what is set aside:
//!
//! | attribute | queue | dead-letter queue |
//! |---|---|---|
//! | `MessageRetentionPeriod` | 14 days: the longest there is | 14 days |
//! | `VisibilityTimeout` | any: each receive names its own | any |
//! | `RedrivePolicy` | none, or `maxReceiveCount` 1000 | none |
//! | permissions | send, receive, delete, change visibility, get attributes | send, get attributes |
//!
//! Deferrals count as receives on SQS, so a small `maxReceiveCount` would set healthy messages aside;
//! who gives up on a message is the worker, with a reason.
//!
//! What SQS does not promise, and why that does no harm:
//!
//! * A message may come twice, or once more after it was deleted, and [`send`](Queue::send) drops no
//!   duplicates: the checkpoints say that the work is done or under way.
//! * A receipt from before may still work: a standard queue may answer success to a stale delete or
//!   change, and do it or not. A worker settles only what its checkpoint lease, which is fenced,
//!   let it end; so at worst a message that is no longer needed goes, or one is delivered early.
//! * A message stays hidden for 12 hours after it was received and no longer. Then it is delivered
//!   again, and who receives it learns from the checkpoint that somebody is at it.
//! * Counts are approximate, and a message that rests counts as leased.

mod body;
mod send;

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use serde::{Deserialize, Serialize};

use super::{Delivery, Depth, NewMessage, Queue, QueueError, Receipt, Settlement};
use crate::domain::OwnerId;
use crate::runtime::aws::AwsError;

/// The longest that the service lets a receive wait.
const MAX_WAIT: Duration = Duration::from_secs(20);
/// Messages that one receive may return.
const MAX_RECEIVED: usize = 10;
/// The longest that a message can be hidden, from its receipt on.
const MAX_HIDDEN: Duration = Duration::from_secs(12 * 60 * 60);
/// For how long a message is hidden while it is copied to the dead-letter queue: the SDK's retries
/// included.
const COPYING: Duration = Duration::from_secs(120);

/// One stage's queue and its dead-letter queue.
#[derive(Debug, Clone)]
pub struct SqsQueue {
    client: Client,
    queue_url: String,
    dead_letter_url: String,
    wait: Duration,
}

/// A failed call on a queue of SQS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqsError {
    /// The service refused, or could not be reached, after the SDK's own retries.
    #[error(transparent)]
    Call(#[from] AwsError),
    /// A message that SQS does not take; nothing was sent.
    #[error("the message {dedup_id:?} has {bytes} bytes, and at most {most} can be sent")]
    TooLong {
        /// Which message.
        dedup_id: String,
        /// Its length.
        bytes: usize,
        /// The longest.
        most: usize,
    },
    /// Some or all messages were not sent.
    #[error(
        "{sent} of {total} messages were sent, then: {problem}; send them all again: repetitions do no harm"
    )]
    Unsent {
        /// How many were.
        sent: u64,
        /// How many there are.
        total: usize,
        /// What stopped it.
        problem: String,
    },
}

/// What a receipt stands for. The body is in it because setting a message aside is a copy.
#[derive(Serialize, Deserialize)]
struct Held {
    handle: String,
    id: String,
    body: String,
}

impl SqsQueue {
    /// The queue at `queue_url`, whose dead messages go to `dead_letter_url`. An empty queue is
    /// waited for during `wait`, at most 20 s. Calls nobody.
    pub fn new(
        client: Client,
        queue_url: impl Into<String>,
        dead_letter_url: impl Into<String>,
        wait: Duration,
    ) -> Self {
        Self {
            client,
            queue_url: queue_url.into(),
            dead_letter_url: dead_letter_url.into(),
            wait: wait.min(MAX_WAIT),
        }
    }

    /// The last part of the URL.
    fn name(&self) -> &str {
        self.queue_url.rsplit('/').next().unwrap_or_default()
    }

    fn failed(&self, error: impl Into<SqsError>) -> QueueError {
        QueueError::Backend {
            queue: self.name().to_owned(),
            source: Box::new(error.into()),
        }
    }

    /// What a refused change of a delivery means.
    fn refused<E, R>(&self, operation: &'static str, error: &SdkError<E, R>) -> QueueError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        let error = AwsError::new(operation, error);
        match is_lost(&error) {
            true => QueueError::LeaseLost,
            false => self.failed(error),
        }
    }

    /// Hides the message from now on, as far as its 12 hours go.
    async fn hide(&self, handle: &str, seconds: i32) -> Result<(), QueueError> {
        let change = self.client.change_message_visibility();
        let changed = change
            .queue_url(&self.queue_url)
            .receipt_handle(handle)
            .visibility_timeout(seconds)
            .send()
            .await;
        match changed {
            Err(error) if is_over_limit(&AwsError::new("", &error)) => {
                tracing::warn!(
                    queue = self.name(),
                    "a message cannot be hidden for over 12 hours"
                );
                Ok(())
            }
            changed => changed
                .map(drop)
                .map_err(|error| self.refused("ChangeMessageVisibility", &error)),
        }
    }

    async fn delete(&self, handle: &str) -> Result<(), QueueError> {
        let delete = self.client.delete_message().queue_url(&self.queue_url);
        let deleted = delete.receipt_handle(handle).send().await;
        deleted
            .map(drop)
            .map_err(|error| self.refused("DeleteMessage", &error))
    }

    /// The copy first: a crash in between leaves the message twice, never not at all.
    async fn set_aside(&self, held: &Held, reason: &str) -> Result<(), QueueError> {
        // A receipt that is no longer good should not leave a copy; this asks, and makes time.
        self.hide(&held.handle, seconds(COPYING)).await?;
        let text = |value: String| send::text_attribute(value).map_err(|error| self.failed(error));
        let (encoded, encoding) = body::encode(&held.body);
        let copy = self
            .client
            .send_message()
            .queue_url(&self.dead_letter_url)
            .message_body(encoded)
            .message_attributes("reason", text(body::printable(reason))?)
            .message_attributes("original_id", text(held.id.clone())?);
        let copy = match encoding {
            Some(encoding) => copy.message_attributes(body::ENCODING, text(encoding.to_owned())?),
            None => copy,
        };
        let copied = copy.send().await;
        copied.map_err(|error| self.failed(AwsError::new("SendMessage", &error)))?;
        self.delete(&held.handle).await
    }

    fn delivery(&self, message: Message) -> Option<Delivery> {
        let Some(handle) = message.receipt_handle else {
            tracing::warn!(queue = self.name(), "a message came without a receipt");
            return None;
        };
        let deliveries = message.attributes.as_ref().and_then(|attributes| {
            let count = attributes.get(&MessageSystemAttributeName::ApproximateReceiveCount)?;
            count.parse().ok()
        });
        let encoding = message
            .message_attributes
            .as_ref()
            .and_then(|attributes| attributes.get(body::ENCODING)?.string_value());
        let body = body::decode(message.body.unwrap_or_default(), encoding);
        let held = Held {
            handle,
            id: message.message_id.unwrap_or_else(|| "unknown".to_owned()),
            body,
        };
        Some(Delivery {
            receipt: held.receipt(),
            body: held.body,
            deliveries: deliveries.unwrap_or(1),
        })
    }

    /// Ready, delayed and leased messages of the queue at `url`.
    async fn counts(&self, url: &str) -> Result<[u64; 3], QueueError> {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let get = self.client.get_queue_attributes().queue_url(url);
        let got = get.set_attribute_names(Some(names.to_vec())).send().await;
        let got = got.map_err(|error| self.failed(AwsError::new("GetQueueAttributes", &error)))?;
        let count = |name| {
            let text = got.attributes().and_then(|attributes| attributes.get(name));
            text.and_then(|text| text.parse().ok()).unwrap_or(0)
        };
        Ok(names.each_ref().map(count))
    }
}

impl Held {
    fn receipt(&self) -> Receipt {
        // Three texts: JSON can express them.
        Receipt(serde_json::to_string(self).unwrap_or_default())
    }

    /// A receipt that no queue of ours gave is as good as lost.
    fn of(receipt: &Receipt) -> Result<Self, QueueError> {
        serde_json::from_str(&receipt.0).map_err(|_| QueueError::LeaseLost)
    }
}

#[async_trait]
impl Queue for SqsQueue {
    async fn send(&self, messages: &[NewMessage]) -> Result<u64, QueueError> {
        send::all(&self.client, &self.queue_url, messages)
            .await
            .map_err(|error| self.failed(error))
    }

    async fn receive(
        &self,
        _owner: &OwnerId,
        max: usize,
        lease: Duration,
    ) -> Result<Vec<Delivery>, QueueError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let receive = self.client.receive_message().queue_url(&self.queue_url);
        let received = receive
            .max_number_of_messages(i32::try_from(max.min(MAX_RECEIVED)).unwrap_or(1))
            .visibility_timeout(seconds(lease).max(1))
            .wait_time_seconds(i32::try_from(self.wait.as_secs()).unwrap_or(0))
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .message_attribute_names(body::ENCODING)
            .send()
            .await;
        let received =
            received.map_err(|error| self.failed(AwsError::new("ReceiveMessage", &error)))?;
        let messages = received.messages.unwrap_or_default();
        Ok(messages
            .into_iter()
            .filter_map(|message| self.delivery(message))
            .collect())
    }

    async fn extend(&self, receipt: &Receipt, lease: Duration) -> Result<(), QueueError> {
        let held = Held::of(receipt)?;
        self.hide(&held.handle, seconds(lease).max(1)).await
    }

    async fn settle(&self, receipt: &Receipt, settlement: Settlement) -> Result<(), QueueError> {
        let held = Held::of(receipt)?;
        match settlement {
            Settlement::Done => self.delete(&held.handle).await,
            Settlement::Again(delay) => self.hide(&held.handle, seconds(delay)).await,
            Settlement::Dead(reason) => self.set_aside(&held, &reason).await,
        }
    }

    async fn depth(&self) -> Result<Depth, QueueError> {
        let (live, dead) = tokio::try_join!(
            self.counts(&self.queue_url),
            self.counts(&self.dead_letter_url)
        )?;
        let [ready, delayed, leased] = live;
        Ok(Depth {
            ready,
            delayed,
            leased,
            dead: dead.into_iter().sum(),
        })
    }
}

/// Whole seconds as the service counts them, rounded up: what rests never comes early.
fn seconds(duration: Duration) -> i32 {
    let duration = duration.min(MAX_HIDDEN);
    let whole = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i32::try_from(whole).unwrap_or(i32::MAX)
}

/// Whether the receipt is over. One that is malformed has a code of its own; one whose message is
/// gone, or came back, has a code or only a sentence, depending on the call.
fn is_lost(error: &AwsError) -> bool {
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
fn is_over_limit(error: &AwsError) -> bool {
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
