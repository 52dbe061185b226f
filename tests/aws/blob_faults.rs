//! Objects over a network that loses, cuts, refuses and holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_s3::Client;
use bytes::Bytes;
use podrun::runtime::blob::s3::S3BlobStore;
use podrun::runtime::blob::{BlobErrorKind, BlobStore, PutMode, read_all};
use tokio::sync::Semaphore;

use crate::blob::{lax_store, make_bucket, open_uploads};
use crate::proxy::{Fault, Proxy, Request};
use crate::stand_in::{StandIn, clients_of};

/// Long enough for anything here, short enough that a hang fails.
const BOUND: Duration = Duration::from_secs(60);
const PART: usize = 8 << 20;

struct Bench {
    /// Past the proxy.
    direct: Client,
    store: S3BlobStore,
    proxy: Proxy,
    _stand_in: StandIn,
}

async fn bench(decide: impl Fn(&Request) -> Fault + Send + Sync + 'static) -> Bench {
    let stand_in = StandIn::start();
    let direct = stand_in.clients().await.s3;
    make_bucket(&direct).await;
    let proxy = Proxy::start(&stand_in.endpoint, decide).await;
    let store = lax_store(&clients_of(&proxy.endpoint).await.s3);
    Bench {
        direct,
        store,
        proxy,
        _stand_in: stand_in,
    }
}

/// `fault` for the first `times` requests that are like this.
fn at_first(
    times: usize,
    method: &'static str,
    in_target: &'static str,
    fault: Fault,
) -> impl Fn(&Request) -> Fault + Send + Sync + 'static {
    let seen = AtomicUsize::new(0);
    move |request| {
        let is_like = request.is(method, in_target);
        match is_like && seen.fetch_add(1, Ordering::SeqCst) < times {
            true => fault.clone(),
            false => Fault::None,
        }
    }
}

fn large() -> Bytes {
    Bytes::from_iter((0..2 * PART as u32 + 5).map(|at| (at ^ (at >> 9)) as u8))
}

impl Bench {
    async fn write_large(
        &self,
        key: &str,
        mode: PutMode,
    ) -> Result<podrun::runtime::blob::BlobInfo, podrun::runtime::blob::BlobError> {
        let mut writer = self.store.create(key, mode).await?;
        writer.write(large()).await?;
        writer.finish().await
    }

    async fn assert_no_uploads(&self) {
        assert_eq!(open_uploads(&self.direct).await, Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_whose_answer_is_lost_has_succeeded() {
    let bench = bench(at_first(2, "PUT", "lost/x", Fault::LoseAnswer)).await;
    let put = |mode| bench.store.put("lost/x", "mine".into(), mode);
    let info = put(PutMode::Create).await.unwrap();
    assert!(bench.proxy.count("PUT", "lost/x") > 1, "nothing was lost");
    assert_eq!(
        bench.store.head("lost/x").await.unwrap(),
        Some(info.clone())
    );
    // The same bytes from somebody else are somebody else's.
    let again = put(PutMode::Create).await.unwrap_err();
    assert_eq!(again.kind, BlobErrorKind::AlreadyExists);
    let replaced = put(PutMode::Replace(info.version)).await;
    assert!(replaced.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_whose_answer_is_lost_has_succeeded_once() {
    let is_armed = Arc::new(AtomicUsize::new(0));
    let armed = Arc::clone(&is_armed);
    let bench = bench(move |request| {
        let is_put = request.is("PUT", "replaced/x");
        match is_put && armed.swap(0, Ordering::SeqCst) > 0 {
            true => Fault::LoseAnswer,
            false => Fault::None,
        }
    })
    .await;
    let first = bench
        .store
        .put("replaced/x", "first".into(), PutMode::Create);
    let first = first.await.unwrap();
    is_armed.store(1, Ordering::SeqCst);
    let mode = PutMode::Replace(first.version);
    let second = bench.store.put("replaced/x", "second".into(), mode.clone());
    let second = second.await.unwrap();
    assert_eq!(bench.store.head("replaced/x").await.unwrap(), Some(second));
    let third = bench.store.put("replaced/x", "third".into(), mode).await;
    assert_eq!(third.unwrap_err().kind, BlobErrorKind::Precondition);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_last_answer_is_lost_has_succeeded() {
    let bench = bench(at_first(1, "POST", "uploadId=", Fault::LoseAnswer)).await;
    let info = bench.write_large("lost/x", PutMode::Create).await.unwrap();
    assert!(
        bench.proxy.count("POST", "uploadId=") > 1,
        "nothing was lost"
    );
    assert_eq!(info.size, large().len() as u64);
    let read = read_all(&bench.store, "lost/x", large().len())
        .await
        .unwrap();
    assert!(read == large(), "the bytes changed");
    let again = bench
        .write_large("lost/x", PutMode::Create)
        .await
        .unwrap_err();
    assert_eq!(again.kind, BlobErrorKind::AlreadyExists);
    bench.assert_no_uploads().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_tried_again_and_an_upload_begins_anew() {
    let conflict = Fault::Refuse(409, "ConditionalRequestConflict");
    let bench = bench({
        let put = at_first(2, "PUT", "conflict/small", conflict.clone());
        let complete = at_first(1, "POST", "uploadId=", conflict);
        move |request| match put(request) {
            Fault::None => complete(request),
            fault => fault,
        }
    })
    .await;
    let put = bench
        .store
        .put("conflict/small", "x".into(), PutMode::Create);
    put.await.unwrap();
    assert_eq!(bench.proxy.count("PUT", "conflict/small"), 3);

    let error = bench
        .write_large("conflict/x", PutMode::Create)
        .await
        .unwrap_err();
    assert_eq!(error.kind, BlobErrorKind::Other, "{error}");
    bench.assert_no_uploads().await;
    bench
        .write_large("conflict/x", PutMode::Create)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_refused_ends_the_upload() {
    let bench = bench(at_first(
        9,
        "PUT",
        "partNumber=2",
        Fault::Refuse(403, "AccessDenied"),
    ))
    .await;
    let error = bench
        .write_large("refused/x", PutMode::Create)
        .await
        .unwrap_err();
    assert_eq!(error.kind, BlobErrorKind::PermissionDenied, "{error}");
    assert!(
        error
            .to_string()
            .contains("s3://pod-insights-raw/refused/x"),
        "{error}"
    );
    bench.assert_no_uploads().await;
    assert_eq!(bench.store.head("refused/x").await.unwrap(), None);

    // Giving it up instead is no failure: nothing is left.
    let mut writer = bench
        .store
        .create("refused/y", PutMode::Create)
        .await
        .unwrap();
    writer.write(vec![1; 2 * PART + 1].into()).await.unwrap();
    bench.proxy.wait_for(2, "PUT", "refused/y").await;
    writer.abort().await.unwrap();
    bench.assert_no_uploads().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_too_busy_may_be_asked_later() {
    let bench = bench(at_first(9, "PUT", "busy/x", Fault::Refuse(503, "SlowDown"))).await;
    let put = bench.store.put("busy/x", "x".into(), PutMode::Create);
    let error = put.await.unwrap_err();
    assert_eq!(error.kind, BlobErrorKind::Other, "{error}");
    assert!(
        !error.kind.is_fatal() && error.to_string().contains("SlowDown"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_is_read_again() {
    let bench = bench(at_first(2, "GET", "cut/x", Fault::CutAnswer)).await;
    let put = bench
        .store
        .put("cut/x", "0123456789".into(), PutMode::Create);
    put.await.unwrap();
    let read = bench.store.read_range("cut/x", 3, 4).await.unwrap();
    assert_eq!(read, "3456");
    assert_eq!(bench.proxy.count("GET", "cut/x"), 3);
}

/// Nothing of it is left, whether it is told to end or only dropped.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_given_up_is_aborted() {
    let bench = bench(|_| Fault::None).await;
    for is_told in [true, false] {
        let mut writer = bench
            .store
            .create("given/up", PutMode::Create)
            .await
            .unwrap();
        writer.write(large()).await.unwrap();
        if is_told {
            writer.abort().await.unwrap();
            bench.assert_no_uploads().await;
        } else {
            drop(writer);
            let aborted = async {
                bench.proxy.wait_for(2, "DELETE", "given/up").await;
                // It arrived; that it is done shows here.
                while !open_uploads(&bench.direct).await.is_empty() {}
            };
            tokio::time::timeout(BOUND, aborted).await.unwrap();
        }
    }
}

/// A write that was cancelled half-way must not become an object without its bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_cancelled_spoils_the_object() {
    let gate = Arc::new(Semaphore::new(0));
    let bench = bench(at_first(
        9,
        "PUT",
        "partNumber=",
        Fault::Hold(Arc::clone(&gate)),
    ))
    .await;
    let mut writer = bench
        .store
        .create("cancelled/x", PutMode::Create)
        .await
        .unwrap();
    let bytes = Bytes::from(vec![1; 5 * PART]);
    tokio::select! {
        biased;
        _ = writer.write(bytes) => panic!("there is room for three parts"),
        () = bench.proxy.wait_for(2, "PUT", "partNumber=") => {}
    }
    gate.add_permits(9);
    let error = writer.finish().await.unwrap_err();
    assert!(error.to_string().contains("earlier write"), "{error}");
    assert_eq!(bench.store.head("cancelled/x").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_parts_are_in_memory_at_most() {
    let gate = Arc::new(Semaphore::new(0));
    let bench = bench(at_first(
        9,
        "PUT",
        "partNumber=",
        Fault::Hold(Arc::clone(&gate)),
    ))
    .await;
    let mut writer = bench
        .store
        .create("bounded/x", PutMode::Create)
        .await
        .unwrap();
    let write = async {
        for _ in 0..5 {
            writer.write(vec![1; PART].into()).await.unwrap();
        }
        writer.finish().await.unwrap();
    };
    let release = async {
        for sent in 1..=5 {
            bench.proxy.wait_for(sent, "PUT", "partNumber=").await;
            gate.add_permits(1);
        }
    };
    tokio::time::timeout(BOUND, async { tokio::join!(write, release) })
        .await
        .unwrap();
    let log = bench.proxy.log.lock().unwrap();
    assert!((1..=3).contains(&log.most_large), "{}", log.most_large);
}
