//! Queues on SQS.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::Client;
use podrun::domain::OwnerId;
use podrun::queue::conformance::{self, Fixture, Promises, Time};
use podrun::queue::{Delivery, Depth, NewMessage, Queue, QueueError, Settlement, SqsQueue};
use serde_json::json;

use crate::faults::{Fault, FaultProxy};
use crate::stand_in::{StandIn, clients_of};

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

/// A queue through a proxy.
struct Faulty {
    _stand_in: StandIn,
    proxy: FaultProxy,
    queue: SqsQueue,
    owner: OwnerId,
}

impl Faulty {
    async fn start() -> Self {
        let stand_in = StandIn::start();
        let (url, dead) = queues(&stand_in.clients().await.sqs).await;
        let proxy = FaultProxy::start(&stand_in.endpoint).await;
        let client = clients_of(&proxy.endpoint).await.sqs;
        Self {
            queue: SqsQueue::new(client, url, dead, Duration::ZERO),
            _stand_in: stand_in,
            proxy,
            owner: OwnerId::generate("o"),
        }
    }

    async fn send(&self, count: usize) -> Result<u64, QueueError> {
        let messages: Vec<_> = (0..count)
            .map(|number| conformance::message(&number.to_string()))
            .collect();
        self.queue.send(&messages).await
    }

    async fn take(&self) -> Vec<Delivery> {
        self.queue.receive(&self.owner, 10, LEASE).await.unwrap()
    }

    async fn depth(&self) -> Depth {
        self.queue.depth().await.unwrap()
    }

    fn refuse(&self, operation: &'static str, kind: &str, message: &str) {
        let kind = format!("com.amazonaws.sqs#{kind}");
        let answer = json!({"__type": kind, "message": message});
        self.proxy.inject(operation, Fault::Answer(400, answer));
    }
}

fn left_out(is_our_fault: bool) -> Fault {
    let entry = json!({"Id": "3", "Code": "InternalError", "SenderFault": is_our_fault});
    Fault::Answer(200, json!({"Successful": [], "Failed": [entry]}))
}

#[tokio::test]
async fn what_a_call_left_out_is_sent_again() {
    let faulty = Faulty::start().await;
    faulty.proxy.inject("SendMessageBatch", left_out(false));
    assert_eq!(faulty.send(5).await.unwrap(), 5);
    assert_eq!(faulty.proxy.left(), 0);
    assert_eq!(faulty.depth().await.ready, 5);
}

#[tokio::test]
async fn a_refused_message_ends_the_sending_with_a_count() {
    let faulty = Faulty::start().await;
    faulty.proxy.inject("SendMessageBatch", left_out(true));
    let text = faulty.send(500).await.unwrap_err().to_string();
    let sent = faulty.depth().await.ready;
    assert!(sent < 490, "{sent}");
    assert!(
        text.contains(&format!("{sent} of 500 messages were sent")),
        "{text}"
    );
    assert!(text.contains("InternalError"), "{text}");
}

/// A message may be there twice; it is never not there.
#[tokio::test]
async fn nothing_is_lost_whatever_happens_to_a_call() {
    let faulty = Faulty::start().await;
    let faults = || {
        [
            Fault::throttled(),
            Fault::broken(),
            Fault::DropBefore,
            Fault::DropAfter,
            Fault::ErrorAfter,
            Fault::Twice,
        ]
    };
    let mut dead = 0;
    for number in 0..faults().len() {
        let fault = |operation| {
            let fault = faults().into_iter().nth(number).unwrap();
            faulty.proxy.inject(operation, fault);
        };
        fault("SendMessageBatch");
        assert_eq!(faulty.send(2).await.unwrap(), 2, "{number}");
        let taken = faulty.take().await;
        let bodies: HashSet<_> = taken.iter().map(|taken| &taken.body).collect();
        assert_eq!(bodies.len(), 2, "{number}");
        for (index, delivery) in taken.iter().enumerate() {
            let settlement = match index {
                0 => {
                    fault("SendMessage");
                    Settlement::Dead("reason".to_owned())
                }
                1 => {
                    fault("DeleteMessage");
                    Settlement::Done
                }
                _ => Settlement::Done,
            };
            let settled = faulty.queue.settle(&delivery.receipt, settlement).await;
            // The repetition of a delete may find nothing any more.
            let is_over = matches!(settled, Ok(()) | Err(QueueError::LeaseLost));
            assert!(is_over, "{number}: {settled:?}");
        }
        let depth = faulty.depth().await;
        assert_eq!(depth.outstanding(), 0, "{number}");
        assert!(depth.dead > dead, "{number}");
        dead = depth.dead;
        assert_eq!(faulty.proxy.left(), 0, "{number}");
    }
}

#[tokio::test]
async fn a_dead_message_that_cannot_be_deleted_is_in_both_queues() {
    let faulty = Faulty::start().await;
    faulty.send(1).await.unwrap();
    let taken = faulty.take().await.remove(0);
    faulty
        .proxy
        .inject_times(3, "DeleteMessage", Fault::broken());
    let dead = Settlement::Dead("reason".to_owned());
    let settled = faulty.queue.settle(&taken.receipt, dead.clone()).await;
    assert!(
        matches!(settled, Err(QueueError::Backend { .. })),
        "{settled:?}"
    );
    let depth = faulty.depth().await;
    assert_eq!((depth.outstanding(), depth.dead), (1, 1));
    faulty.queue.settle(&taken.receipt, dead).await.unwrap();
    assert_eq!(faulty.depth().await.outstanding(), 0);
}

/// After 12 hours the service hides a message no longer, and later it does not know the receipt.
#[tokio::test]
async fn work_may_outlast_what_the_service_keeps() {
    let faulty = Faulty::start().await;
    faulty.send(1).await.unwrap();
    let receipt = faulty.take().await.remove(0).receipt;
    let limit = "Value 60 for parameter VisibilityTimeout is invalid. Reason: Total \
        VisibilityTimeout for the message is beyond the limit [43200 seconds].";
    faulty.refuse("ChangeMessageVisibility", "InvalidParameterValue", limit);
    faulty.queue.extend(&receipt, LEASE).await.unwrap();
    let expired = "Value AQ== for parameter ReceiptHandle is invalid. Reason: The receipt handle \
        has expired.";
    for operation in ["ChangeMessageVisibility", "DeleteMessage"] {
        faulty.refuse(operation, "InvalidParameterValue", expired);
    }
    let extended = faulty.queue.extend(&receipt, LEASE).await;
    assert!(
        matches!(extended, Err(QueueError::LeaseLost)),
        "{extended:?}"
    );
    let settled = faulty.queue.settle(&receipt, Settlement::Done).await;
    assert!(matches!(settled, Err(QueueError::LeaseLost)), "{settled:?}");
    assert_eq!(faulty.proxy.left(), 0);
}
