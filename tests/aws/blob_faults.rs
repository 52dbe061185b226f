//! Objects over a network that loses, cuts, refuses and holds.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use bytes::Bytes;
use podrun::runtime::blob::s3::S3BlobStore;
use podrun::runtime::blob::{BlobErrorKind, BlobStore, PutMode, read_all};

use crate::blob::{BUCKET, make_store, noise, open_uploads};
use crate::faults::{Fault, FaultProxy, Gate};
use crate::stand_in::{StandIn, clients_of};

/// Long enough for anything here, short enough that a hang fails.
const BOUND: Duration = Duration::from_secs(60);
const PART: usize = 8 << 20;

struct Bench {
    /// Past the proxy.
    direct: Client,
    store: S3BlobStore,
    proxy: FaultProxy,
    _stand_in: StandIn,
}

async fn bench() -> Bench {
    let stand_in = StandIn::start();
    let direct = stand_in.clients().await.s3;
    make_store(&direct).await;
    let proxy = FaultProxy::start(&stand_in.endpoint).await;
    let store = S3BlobStore::new(clients_of(&proxy.endpoint).await.s3, BUCKET);
    Bench {
        direct,
        store,
        proxy,
        _stand_in: stand_in,
    }
}

fn large() -> Bytes {
    noise(2 * PART + 5)
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
    let bench = bench().await;
    bench.proxy.inject_times(2, "PutObject", Fault::DropAfter);
    let put = |mode| bench.store.put("lost/x", "mine".into(), mode);
    let info = put(PutMode::Create).await.unwrap();
    assert_eq!(bench.proxy.left(), 0, "nothing was lost");
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
    let bench = bench().await;
    let first = bench
        .store
        .put("replaced/x", "first".into(), PutMode::Create);
    let first = first.await.unwrap();
    bench.proxy.inject("PutObject", Fault::DropAfter);
    let mode = PutMode::Replace(first.version);
    let second = bench.store.put("replaced/x", "second".into(), mode.clone());
    let second = second.await.unwrap();
    assert_eq!(bench.proxy.left(), 0, "nothing was lost");
    assert_eq!(bench.store.head("replaced/x").await.unwrap(), Some(second));
    let third = bench.store.put("replaced/x", "third".into(), mode).await;
    assert_eq!(third.unwrap_err().kind, BlobErrorKind::Precondition);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_last_answer_is_lost_has_succeeded() {
    let bench = bench().await;
    let complete = "CompleteMultipartUpload";
    bench.proxy.inject(complete, Fault::DropAfter);
    let info = bench.write_large("lost/x", PutMode::Create).await.unwrap();
    assert!(bench.proxy.count(complete) > 1, "nothing was lost");
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
    let bench = bench().await;
    bench.proxy.inject_times(2, "PutObject", conflict.clone());
    bench.proxy.inject("CompleteMultipartUpload", conflict);
    let put = bench
        .store
        .put("conflict/small", "x".into(), PutMode::Create);
    put.await.unwrap();
    assert_eq!(bench.proxy.count("PutObject"), 3);

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
    let bench = bench().await;
    let denied = Fault::Refuse(403, "AccessDenied");
    bench
        .proxy
        .inject_times(9, "UploadPart partNumber=2", denied);
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
    bench.proxy.wait_for(2, "UploadPart refused/y").await;
    writer.abort().await.unwrap();
    bench.assert_no_uploads().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_too_busy_may_be_asked_later() {
    let bench = bench().await;
    let busy = Fault::Refuse(503, "SlowDown");
    bench.proxy.inject_times(9, "PutObject", busy);
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
    let bench = bench().await;
    bench.proxy.inject_times(2, "GetObject", Fault::CutAnswer);
    let put = bench
        .store
        .put("cut/x", "0123456789".into(), PutMode::Create);
    put.await.unwrap();
    let read = bench.store.read_range("cut/x", 3, 4).await.unwrap();
    assert_eq!(read, "3456");
    assert_eq!(bench.proxy.count("GetObject"), 3);
}

/// Nothing of it is left, whether it is told to end or only dropped.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_given_up_is_aborted() {
    let bench = bench().await;
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
                bench.proxy.wait_for(2, "AbortMultipartUpload").await;
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
    let gate = Gate::closed();
    let bench = bench().await;
    let hold = Fault::HoldBefore(Arc::clone(&gate));
    bench.proxy.inject_times(9, "UploadPart", hold);
    let mut writer = bench
        .store
        .create("cancelled/x", PutMode::Create)
        .await
        .unwrap();
    let bytes = Bytes::from(vec![1; 5 * PART]);
    tokio::select! {
        biased;
        _ = writer.write(bytes) => panic!("there is room for three parts"),
        () = bench.proxy.wait_for(2, "UploadPart") => {}
    }
    gate.let_through(9);
    let error = writer.finish().await.unwrap_err();
    assert!(error.to_string().contains("earlier write"), "{error}");
    assert_eq!(bench.store.head("cancelled/x").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_parts_are_in_memory_at_most() {
    let gate = Gate::closed();
    let bench = bench().await;
    let hold = Fault::HoldBefore(Arc::clone(&gate));
    bench.proxy.inject_times(9, "UploadPart", hold);
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
        for _ in 1..=5 {
            gate.reached().await;
            gate.let_through(1);
        }
    };
    tokio::time::timeout(BOUND, async { tokio::join!(write, release) })
        .await
        .unwrap();
    let most = bench.proxy.most_large();
    assert!((1..=3).contains(&most), "{most}");
}
