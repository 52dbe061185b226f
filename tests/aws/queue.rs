//! Queues on SQS.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::Client;
use podrun::domain::OwnerId;
use podrun::queue::conformance::{self, Fixture, Promises, Time};
use podrun::queue::{Depth, NewMessage, Queue, Settlement, SqsQueue};

use crate::stand_in::StandIn;

const PROMISES: Promises = Promises {
    deduplicates: false,
    receipts_end_with_settling: false,
    tells_rest_from_lease: false,
};
const LEASE: Duration = Duration::from_secs(60);

/// A new queue and its dead-letter queue: their addresses.
pub(crate) async fn queues(client: &Client) -> (String, String) {
    let name = uuid::Uuid::new_v4().simple().to_string();
    let create = async |name: String| {
        let created = client.create_queue().queue_name(name).send().await;
        created.unwrap().queue_url.unwrap()
    };
    (
        create(name.clone()).await,
        create(format!("{name}-dlq")).await,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn conforms() {
    let stand_in = StandIn::start();
    let fresh = async || {
        let (one, two) = (stand_in.clients().await, stand_in.clients().await);
        let (url, dead) = queues(&one.sqs).await;
        let queue = |client| Arc::new(SqsQueue::new(client, &url, &dead, Duration::ZERO));
        Fixture {
            first: queue(one.sqs),
            second: queue(two.sqs),
            time: Time::Service,
            promises: PROMISES,
        }
    };
    conformance::run_all(fresh).await.unwrap();
}

/// The message comes while the receive waits, which is told from a receive that gives up.
#[tokio::test]
async fn a_receive_waits_for_a_message() {
    let stand_in = StandIn::start();
    let client = stand_in.clients().await.sqs;
    let (url, dead) = queues(&client).await;
    let queue = SqsQueue::new(client, &url, &dead, Duration::MAX);
    let owner = OwnerId::generate("o");
    let messages = [conformance::message("a")];
    let (taken, sent) = tokio::join!(queue.receive(&owner, 5, LEASE), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        queue.send(&messages).await
    });
    assert_eq!(sent.unwrap(), 1);
    assert_eq!(taken.unwrap().len(), 1);
}

#[tokio::test]
async fn a_dead_message_says_why_and_which_it_was() {
    let stand_in = StandIn::start();
    let client = stand_in.clients().await.sqs;
    let (url, dead) = queues(&client).await;
    let queue = SqsQueue::new(client.clone(), &url, &dead, Duration::ZERO);
    let body = "odd \u{ffff} body".to_owned();
    let message = NewMessage {
        body: body.clone(),
        ..conformance::message("a")
    };
    queue.send(&[message]).await.unwrap();
    let owner = OwnerId::generate("o");
    let taken = queue.receive(&owner, 1, LEASE).await.unwrap();
    let reason = Settlement::Dead("no\u{0} audio".to_owned());
    queue.settle(&taken[0].receipt, reason).await.unwrap();

    let receive = client.receive_message().queue_url(&dead);
    let received = receive.message_attribute_names("All").send().await.unwrap();
    let attributes = received.messages()[0].message_attributes().unwrap();
    let attribute = |name| attributes[name].string_value().unwrap();
    assert_eq!(attribute("reason"), "no\u{fffd} audio");
    assert_eq!(attribute("original_id").len(), 36);
    // What is moved back to the queue is what was sent.
    let aside = SqsQueue::new(client, &dead, &url, Duration::ZERO);
    let visible = aside.depth().await.unwrap();
    assert_eq!(
        visible,
        Depth {
            leased: 1,
            ..Depth::default()
        }
    );
}

#[tokio::test]
async fn a_message_that_is_too_long_is_refused_before_anything_is_sent() {
    let stand_in = StandIn::start();
    let client = stand_in.clients().await.sqs;
    let (url, dead) = queues(&client).await;
    let queue = SqsQueue::new(client, &url, &dead, Duration::ZERO);
    let mut messages = [conformance::message("a"), conformance::message("long")];
    messages[1].body = "x".repeat(256 * 1024 + 1);
    let error = queue.send(&messages).await.unwrap_err();
    assert!(std::error::Error::source(&error).is_some());
    let text = error.to_string();
    assert!(text.contains("\"long\" has 262145 bytes"), "{text}");
    assert_eq!(queue.depth().await.unwrap(), Depth::default());
}

#[tokio::test]
async fn a_queue_that_does_not_exist_is_named() {
    let stand_in = StandIn::start();
    let client = stand_in.clients().await.sqs;
    let (url, dead) = queues(&client).await;
    let queue = SqsQueue::new(client, format!("{url}-gone"), &dead, Duration::ZERO);
    let error = queue.send(&[conformance::message("a")]).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("-gone: 0 of 1 messages were sent"), "{text}");
    assert!(text.contains("NonExistentQueue"), "{text}");
}
