//! Checkpoints in DynamoDB.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use podrun::checkpoint::conformance::{self, Fixture, subject};
use podrun::checkpoint::{
    Acquired, CheckpointError, Checkpoints, DynamoCheckpoints, Filter, Lease, Reopen, State,
    Transition,
};
use podrun::domain::{FailureClass, OwnerId};
use podrun::runtime::aws::AwsClients;
use podrun::runtime::aws::dynamodb::Item;
use podrun::runtime::clock::{Clock, ManualClock};

use crate::faults::{Fault, FaultProxy, Gate};
use crate::stand_in::{StandIn, clients_of};

const TTL: Duration = Duration::from_secs(60);

/// A new table: its name.
pub(crate) async fn table(clients: &AwsClients) -> String {
    let name = uuid::Uuid::new_v4().simple().to_string();
    let created = DynamoCheckpoints::TABLE.create(&clients.dynamodb, &name);
    created.await.unwrap();
    name
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn conforms() {
    let stand_in = StandIn::start();
    let fresh = async || {
        let (one, two) = (stand_in.clients().await, stand_in.clients().await);
        let name = table(&one).await;
        let clock = Arc::new(ManualClock::default());
        let open = |clients: AwsClients| {
            Arc::new(DynamoCheckpoints::new(
                clients.dynamodb,
                &name,
                clock.clone(),
            ))
        };
        Fixture {
            first: open(one),
            second: open(two),
            clock: clock.clone(),
        }
    };
    conformance::run_all(fresh).await.unwrap();
}

/// Checkpoints through a proxy, others on the same table past it, and the clock of both.
struct Faulty {
    _stand_in: StandIn,
    client: Client,
    name: String,
    proxy: FaultProxy,
    faulty: DynamoCheckpoints,
    other: DynamoCheckpoints,
    clock: Arc<ManualClock>,
}

impl Faulty {
    async fn start() -> Self {
        let stand_in = StandIn::start();
        let clients = stand_in.clients().await;
        let name = table(&clients).await;
        let proxy = FaultProxy::start(&stand_in.endpoint).await;
        let through = clients_of(&proxy.endpoint).await;
        let clock = Arc::new(ManualClock::default());
        Self {
            client: clients.dynamodb.clone(),
            faulty: DynamoCheckpoints::new(through.dynamodb, &name, clock.clone()),
            other: DynamoCheckpoints::new(clients.dynamodb, &name, clock.clone()),
            name,
            _stand_in: stand_in,
            proxy,
            clock,
        }
    }
}

/// Every way in which a single write can go wrong.
fn write_faults() -> [Fault; 6] {
    [
        Fault::throttled(),
        Fault::broken(),
        Fault::DropBefore,
        Fault::DropAfter,
        Fault::ErrorAfter,
        Fault::Twice,
    ]
}

fn granted(acquired: Result<Acquired, CheckpointError>) -> Lease {
    match acquired {
        Ok(Acquired::Granted(lease)) => lease,
        other => panic!("{other:?}"),
    }
}

/// A write whose answer is lost is neither taken for somebody else's nor made twice.
#[tokio::test]
async fn an_owner_keeps_what_it_holds_whatever_happens_to_a_write() {
    let table = Faulty::start().await;
    let owner = OwnerId::generate("owner");
    for (number, _) in write_faults().iter().enumerate() {
        let fault = || {
            table
                .proxy
                .inject("PutItem", write_faults().into_iter().nth(number).unwrap())
        };
        let subject = subject("feed", &number.to_string());
        fault();
        let planned = std::slice::from_ref(&subject);
        let workable = table.faulty.plan(planned, Reopen::Exhausted).await;
        assert_eq!(workable.unwrap(), planned, "{number}");
        fault();
        let lease = granted(table.faulty.acquire(&subject, &owner, TTL).await);
        assert_eq!(lease.token, 1, "{number}");
        table.clock.advance(TTL / 2);
        fault();
        table.faulty.renew(&lease, TTL).await.unwrap();
        let until = table.clock.now() + TTL;
        let busy = table
            .other
            .acquire(&subject, &OwnerId::generate("x"), TTL)
            .await;
        assert_eq!(busy.unwrap(), Acquired::Busy(until), "{number}");
        fault();
        table
            .faulty
            .advance(&lease, Transition::Done)
            .await
            .unwrap();
        let record = table.other.get(&subject).await.unwrap().unwrap();
        assert_eq!((record.state, record.token), (State::Done, 1), "{number}");
        assert_eq!(table.proxy.left(), 0, "{number}");
    }
}

#[tokio::test]
async fn an_owner_is_never_told_that_it_holds_what_it_lost() {
    let table = Faulty::start().await;
    let (paused, successor) = (OwnerId::generate("paused"), OwnerId::generate("successor"));
    for (number, fault) in write_faults().into_iter().enumerate() {
        let subject = subject("feed", &number.to_string());
        let stale = granted(table.faulty.acquire(&subject, &paused, TTL).await);
        table.clock.advance(TTL);
        table.proxy.inject("PutItem", fault);
        let current = granted(table.faulty.acquire(&subject, &successor, TTL).await);
        assert_eq!(current.token, stale.token + 1, "{number}");
        for operation in ["GetItem", "GetItem"] {
            table.proxy.inject(operation, Fault::broken());
            let renewed = table.faulty.renew(&stale, TTL).await;
            assert!(
                matches!(renewed, Err(CheckpointError::LeaseLost { .. })),
                "{renewed:?}"
            );
        }
        table
            .other
            .advance(&current, Transition::Done)
            .await
            .unwrap();
        assert_eq!(table.proxy.left(), 0, "{number}");
    }
}

/// The answer to a grant is lost for so long that the lease ends and somebody else takes over: the
/// repetition finds the other one's item, and is no grant.
#[tokio::test]
async fn a_grant_whose_answer_came_too_late_is_none() {
    let table = Faulty::start().await;
    let (slow, quick) = (OwnerId::generate("slow"), OwnerId::generate("quick"));
    let subject = subject("feed", "guid");
    let gate = Gate::closed();
    let hold = Fault::HoldAfter(Arc::clone(&gate));
    table.proxy.inject("PutItem", hold);
    let meanwhile = async {
        gate.reached().await;
        table.clock.advance(TTL);
        let lease = granted(table.other.acquire(&subject, &quick, TTL).await);
        gate.let_through(1);
        lease
    };
    let (answer, lease) = tokio::join!(table.faulty.acquire(&subject, &slow, TTL), meanwhile);
    assert_eq!(lease.token, 2);
    assert_eq!(answer.unwrap(), Acquired::Busy(table.clock.now() + TTL));
    table.other.advance(&lease, Transition::Done).await.unwrap();
}

/// The same for an end of the work: whoever took over is not disturbed.
#[tokio::test]
async fn an_advance_whose_answer_came_too_late_changes_nothing_more() {
    let table = Faulty::start().await;
    let (slow, quick) = (OwnerId::generate("slow"), OwnerId::generate("quick"));
    let subject = subject("feed", "guid");
    let stale = granted(table.faulty.acquire(&subject, &slow, TTL).await);
    let gate = Gate::closed();
    let hold = Fault::HoldAfter(Arc::clone(&gate));
    table.proxy.inject("PutItem", hold);
    let meanwhile = async {
        gate.reached().await;
        let lease = granted(table.other.acquire(&subject, &quick, TTL).await);
        gate.let_through(1);
        lease
    };
    let (advanced, lease) =
        tokio::join!(table.faulty.advance(&stale, Transition::Release), meanwhile);
    assert!(
        matches!(advanced, Err(CheckpointError::LeaseLost { .. })),
        "{advanced:?}"
    );
    table.other.renew(&lease, TTL).await.unwrap();
}

#[tokio::test]
async fn a_table_that_stays_throttled_is_an_error_that_says_so() {
    let table = Faulty::start().await;
    table.proxy.inject_times(3, "GetItem", Fault::throttled());
    let (subject, owner) = (subject("feed", "guid"), OwnerId::generate("o"));
    let acquired = table.faulty.acquire(&subject, &owner, TTL).await;
    let error = acquired.unwrap_err();
    assert!(matches!(error, CheckpointError::Backend { .. }));
    let text = error.to_string();
    assert!(
        text.contains("GetItem: ThrottlingException: injected"),
        "{text}"
    );
}

/// Keys that a batch read leaves out are asked for again.
#[tokio::test]
async fn planning_reads_what_a_batch_left_unread() {
    let table = Faulty::start().await;
    let done = subject("feed", "7");
    let lease = granted(
        table
            .other
            .acquire(&done, &OwnerId::generate("o"), TTL)
            .await,
    );
    let failure = conformance::note(FailureClass::NotFound);
    table
        .other
        .advance(&lease, Transition::Failed { failure })
        .await
        .unwrap();
    table
        .proxy
        .inject_times(2, "BatchGetItem", Fault::Unprocessed);
    let subjects: Vec<_> = (0..120).map(|n| subject("feed", &n.to_string())).collect();
    let workable = table
        .faulty
        .plan(&subjects, Reopen::Exhausted)
        .await
        .unwrap();
    assert_eq!(workable.len(), 119);
    assert!(!workable.contains(&done));
    assert_eq!(table.proxy.left(), 0);
}

/// The only item of the table, and the means to write it by hand.
async fn only_item(table: &Faulty) -> Item {
    let scan = table.client.scan().table_name(&table.name);
    scan.send().await.unwrap().items.unwrap().remove(0)
}

async fn write(table: &Faulty, item: Item) {
    let put = table.client.put_item().table_name(&table.name);
    put.set_item(Some(item)).send().await.unwrap();
}

fn with(mut item: Item, name: &str, value: AttributeValue) -> Item {
    item.insert(name.to_owned(), value);
    item
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

/// What somebody wrote into the table by hand is named and not overwritten.
#[tokio::test]
async fn an_unreadable_item_is_named() {
    let table = Faulty::start().await;
    let lost = subject("feed", "guid");
    let planned = std::slice::from_ref(&lost);
    table.other.plan(planned, Reopen::Exhausted).await.unwrap();
    let good = only_item(&table).await;
    let owner = OwnerId::generate("o");
    let largest = AttributeValue::N(u64::MAX.to_string());
    for (name, value, problem) in [
        ("state", text("lost"), "\"lost\" is no state"),
        ("guid", text("another"), "it is of fetch feed/another"),
        ("token", largest, "its token cannot grow any further"),
    ] {
        let spoilt = with(good.clone(), name, value);
        write(&table, spoilt.clone()).await;
        let acquired = table.other.acquire(&lost, &owner, TTL).await;
        let words = acquired.unwrap_err().to_string();
        assert!(words.contains("the item \"ep#feed#"), "{words}");
        assert!(words.contains(problem), "{words}");
        assert_eq!(only_item(&table).await, spoilt);
    }
    write(&table, with(good, "state", text("lost"))).await;
    let listed = table.other.list(&Filter::default(), None, 9).await;
    let words = listed.unwrap_err().to_string();
    assert!(words.contains("\"lost\" is no state"), "{words}");
}

/// An index that shows a record in its old and in its new state, as it may for a moment.
#[tokio::test]
async fn a_record_that_is_seen_twice_is_listed_once_and_as_it_is_now() {
    let table = Faulty::start().await;
    let moving = subject("feed", "guid");
    let planned = std::slice::from_ref(&moving);
    table.other.plan(planned, Reopen::Exhausted).await.unwrap();
    let ghost = with(only_item(&table).await, "pk", text("ghost"));
    let lease = granted(
        table
            .other
            .acquire(&moving, &OwnerId::generate("o"), TTL)
            .await,
    );
    write(&table, ghost).await;
    for limit in [1, 2] {
        let listed = table
            .other
            .list(&Filter::default(), None, limit)
            .await
            .unwrap();
        let listed: Vec<_> = listed
            .iter()
            .map(|record| (record.state, record.token))
            .collect();
        assert_eq!(listed, [(State::Leased, lease.token)]);
    }
    let rest = table.other.list(&Filter::default(), Some(&moving), 9).await;
    assert_eq!(rest.unwrap(), []);
}

/// A worker whose clock is ahead takes over too early; the first one is stopped by its token.
#[tokio::test]
async fn clocks_apart_cost_a_lease_and_nothing_else() {
    let table = Faulty::start().await;
    let behind = &table.other;
    let ahead = ManualClock::new(table.clock.now() + Duration::from_secs(5));
    let ahead = DynamoCheckpoints::new(table.client.clone(), &table.name, Arc::new(ahead));
    let (slow, quick) = (OwnerId::generate("slow"), OwnerId::generate("quick"));
    let subject = subject("feed", "guid");
    let short = Duration::from_secs(5);
    let early = granted(behind.acquire(&subject, &slow, short).await);
    let late = granted(ahead.acquire(&subject, &quick, TTL).await);
    assert_eq!(late.token, early.token + 1);
    let renewed = behind.renew(&early, TTL).await;
    let advanced = behind.advance(&early, Transition::Done).await;
    for refused in [renewed, advanced] {
        let is_lost = matches!(refused, Err(CheckpointError::LeaseLost { .. }));
        assert!(is_lost, "{refused:?}");
    }
    // The other way round it waits longer than it would have to.
    let answer = behind.acquire(&subject, &slow, TTL).await.unwrap();
    let until = table.clock.now() + Duration::from_secs(5) + TTL;
    assert_eq!(answer, Acquired::Busy(until));
    ahead.advance(&late, Transition::Done).await.unwrap();
}
