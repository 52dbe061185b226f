//! Many messages in few calls.

use std::collections::HashSet;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::SdkError;
use aws_sdk_sqs::operation::send_message_batch::{SendMessageBatchError, SendMessageBatchOutput};
use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::SqsError;
use super::body;
use crate::queue::NewMessage;
use crate::runtime::aws::AwsError;
use crate::runtime::retry::RetryPolicy;

/// Messages that one call takes.
const ENTRIES: usize = 10;
/// Bytes that one call takes, and so the longest message. It is 1 MiB today and was 256 KiB for
/// years: a queue's own limit may still say so, and ten jobs are some ten KiB.
const BYTES: usize = 256 * 1024;
/// Calls under way at the same time.
const IN_FLIGHT: usize = 8;
/// For entries that a call left out without it being the message's fault.
const LEFT_OUT: RetryPolicy = RetryPolicy {
    max_attempts: 6,
    base: Duration::from_millis(100),
    cap: Duration::from_secs(5),
};

/// What became of one call's messages.
struct Sent {
    count: u64,
    problem: Option<String>,
}

/// Sends all messages. After a failure nothing more is begun, and what is under way is waited for,
/// so that the count is right.
pub(super) async fn all(
    client: &Client,
    url: &str,
    messages: &[NewMessage],
) -> Result<u64, SqsError> {
    if let Some(message) = messages.iter().find(|message| length(message) > BYTES) {
        return Err(SqsError::TooLong {
            dedup_id: message.dedup_id.chars().take(200).collect(),
            bytes: length(message),
            most: BYTES,
        });
    }
    let mut batches = batches(messages);
    let mut calls = FuturesUnordered::new();
    let (mut sent, mut first_problem) = (0, None);
    loop {
        while first_problem.is_none()
            && calls.len() < IN_FLIGHT
            && let Some(batch) = batches.next()
        {
            calls.push(send(client, url, batch));
        }
        let Some(call) = calls.next().await else {
            break;
        };
        sent += call.count;
        first_problem = first_problem.or(call.problem);
    }
    match first_problem {
        None => Ok(sent),
        Some(problem) => Err(SqsError::Unsent {
            sent,
            total: messages.len(),
            problem,
        }),
    }
}

/// Runs of messages that fit into a call.
fn batches(messages: &[NewMessage]) -> impl Iterator<Item = &[NewMessage]> {
    let mut rest = messages;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fitting = rest.iter().take(ENTRIES).take_while(|message| {
            bytes += length(message);
            bytes <= BYTES
        });
        let (batch, later) = rest.split_at(fitting.count());
        rest = later;
        // Every message fits into a call of its own, so an empty run is the end.
        (!batch.is_empty()).then_some(batch)
    })
}

/// What the service counts: body and attributes.
fn length(message: &NewMessage) -> usize {
    let (body, encoding) = body::encode(&message.body);
    body.len()
        + encoding.map_or(0, |encoding| {
            body::ENCODING.len() + "String".len() + encoding.len()
        })
}

async fn send(client: &Client, url: &str, batch: &[NewMessage]) -> Sent {
    let mut left: Vec<SendMessageBatchRequestEntry> = Vec::with_capacity(batch.len());
    for (index, message) in batch.iter().enumerate() {
        match entry(index, message) {
            Ok(entry) => left.push(entry),
            Err(error) => return Sent::failed(0, error.to_string()),
        }
    }
    let mut failures = 0;
    loop {
        let call = client.send_message_batch().queue_url(url);
        let answer = call.set_entries(Some(left.clone())).send().await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let error = AwsError::new("SendMessageBatch", &error);
                return Sent::failed(batch.len() - left.len(), error.to_string());
            }
        };
        left = remaining(left, &answer);
        let sent = batch.len() - left.len();
        if left.is_empty() {
            return Sent {
                count: sent as u64,
                problem: None,
            };
        }
        failures += 1;
        match (refusal(&answer), LEFT_OUT.jittered(failures)) {
            (None, Some(pause)) => tokio::time::sleep(pause).await,
            (Some(refusal), _) => return Sent::failed(sent, refusal),
            (None, None) => {
                let tries = LEFT_OUT.max_attempts;
                let problem = format!("SendMessageBatch left messages out {tries} times");
                return Sent::failed(sent, problem);
            }
        }
    }
}

impl Sent {
    fn failed(count: usize, problem: String) -> Self {
        Self {
            count: count as u64,
            problem: Some(problem),
        }
    }
}

fn entry(index: usize, message: &NewMessage) -> Result<SendMessageBatchRequestEntry, AwsError> {
    let (encoded, encoding) = body::encode(&message.body);
    let mut entry = SendMessageBatchRequestEntry::builder()
        .id(index.to_string())
        .message_body(encoded);
    if let Some(encoding) = encoding {
        let attribute = text_attribute(encoding.to_owned())?;
        entry = entry.message_attributes(body::ENCODING, attribute);
    }
    entry.build().map_err(unbuilt)
}

/// A message attribute that is a text.
pub(super) fn text_attribute(value: String) -> Result<MessageAttributeValue, AwsError> {
    MessageAttributeValue::builder()
        .data_type("String")
        .string_value(value)
        .build()
        .map_err(unbuilt)
}

/// What is left out of a request is told by its builder.
fn unbuilt(error: aws_sdk_sqs::error::BuildError) -> AwsError {
    let error = SdkError::<SendMessageBatchError>::construction_failure(error);
    AwsError::new("SendMessageBatch", &error)
}

/// The entries that the answer does not say were sent.
fn remaining(
    entries: Vec<SendMessageBatchRequestEntry>,
    answer: &SendMessageBatchOutput,
) -> Vec<SendMessageBatchRequestEntry> {
    let sent: HashSet<&str> = answer.successful.iter().map(|entry| entry.id()).collect();
    let is_left = |entry: &SendMessageBatchRequestEntry| !sent.contains(entry.id());
    entries.into_iter().filter(is_left).collect()
}

/// Why an entry will not be taken next time either.
fn refusal(answer: &SendMessageBatchOutput) -> Option<String> {
    let refused = answer.failed.iter().find(|entry| entry.sender_fault())?;
    let words = refused.message().unwrap_or("no reason given");
    Some(format!("SendMessageBatch: {}: {words}", refused.code()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_sqs::types::{BatchResultErrorEntry, SendMessageBatchResultEntry};

    fn messages(lengths: &[usize]) -> Vec<NewMessage> {
        let message = |length: &usize| NewMessage {
            dedup_id: length.to_string(),
            body: "x".repeat(*length),
        };
        lengths.iter().map(message).collect()
    }

    fn sizes(messages: &[NewMessage]) -> Vec<usize> {
        batches(messages).map(<[NewMessage]>::len).collect()
    }

    #[test]
    fn calls_are_filled_by_count_and_by_bytes() {
        assert!(sizes(&[]).is_empty());
        assert_eq!(sizes(&messages(&[1; 25])), [10, 10, 5]);
        let half = BYTES / 2;
        assert_eq!(sizes(&messages(&[half, half, 1, BYTES, 1])), [2, 1, 1, 1]);
    }

    #[test]
    fn an_escaped_body_counts_as_it_is_sent() {
        let mut message = messages(&[BYTES - 100]).remove(0);
        assert!(length(&message) < BYTES);
        message.body.push('\u{ffff}');
        assert!(length(&message) > BYTES);
    }

    #[test]
    fn what_is_left_is_sent_again_unless_it_is_to_blame() {
        let entries: Vec<_> = messages(&[1, 2, 3])
            .iter()
            .enumerate()
            .map(|(index, message)| entry(index, message).unwrap())
            .collect();
        let failed = |fault: bool| {
            BatchResultErrorEntry::builder()
                .id("2")
                .code("InternalError")
                .sender_fault(fault)
                .build()
                .unwrap()
        };
        let sent = SendMessageBatchResultEntry::builder()
            .id("1")
            .message_id("m")
            .md5_of_message_body("d")
            .build()
            .unwrap();
        let answer = SendMessageBatchOutput::builder().successful(sent);
        let transient = answer.clone().failed(failed(false)).build().unwrap();
        let left = remaining(entries, &transient);
        let left: Vec<_> = left.iter().map(|entry| entry.id()).collect();
        assert_eq!(left, ["0", "2"]);
        assert_eq!(refusal(&transient), None);
        let refused = answer.failed(failed(true)).build().unwrap();
        assert!(refusal(&refused).unwrap().contains("InternalError"));
    }
}
