//! Which host is charged with which hop, and for how long.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use podrun::domain::{Failure, FailureClass};
use podrun::runtime::http::{Get, HopGate, HopPass, HopVerdict, HttpClient, follow, read_to_vec};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::bench::Bench;
use crate::server::{RawServer, Step, announced, answer, mp3, redirect};

/// Writes down who came and went.
#[derive(Debug, Default)]
pub(crate) struct Doorman {
    pub(crate) log: Arc<Mutex<Vec<String>>>,
    lost: CancellationToken,
}

#[derive(Debug)]
struct DoormansPass {
    path: String,
    log: Arc<Mutex<Vec<String>>>,
    lost: CancellationToken,
}

#[async_trait]
impl HopGate for Doorman {
    async fn enter(&self, url: &Url, _: &CancellationToken) -> Result<Box<dyn HopPass>, Failure> {
        let path = url.path().to_owned();
        self.log.lock().unwrap().push(format!("in {path}"));
        Ok(Box::new(DoormansPass {
            path,
            log: Arc::clone(&self.log),
            lost: self.lost.clone(),
        }))
    }
}

#[async_trait]
impl HopPass for DoormansPass {
    fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    async fn finish(self: Box<Self>, verdict: HopVerdict) {
        self.log
            .lock()
            .unwrap()
            .push(format!("out {} {verdict:?}", self.path));
    }
}

#[tokio::test]
async fn each_hop_is_charged_to_its_own_host_and_the_last_one_till_its_end() {
    let server = RawServer::start(|path, _| match path {
        "/a" => redirect("302 Found", "/b"),
        "/busy" => answer("429 Slow Down", "Retry-After: 5\r\n", b""),
        "/cut" => announced("200 OK", "", 1000, b"x"),
        _ => answer("200 OK", "", b"all of it"),
    })
    .await;
    let gate = Doorman::default();
    let client = HttpClient::try_new(Bench::new().http).unwrap();
    let cancel = CancellationToken::new();
    let get = |path: &str| Get::try_new(&server.url(path), "*/*").unwrap();

    let found = follow(&client, get("/a"), &gate, &cancel).await.unwrap();
    gate.log.lock().unwrap().push("reading".to_owned());
    assert_eq!(read_to_vec(found, 100).await.unwrap(), b"all of it");
    follow(&client, get("/busy"), &gate, &cancel)
        .await
        .unwrap_err();
    let found = follow(&client, get("/cut"), &gate, &cancel).await.unwrap();
    read_to_vec(found, 5000).await.unwrap_err();
    let found = follow(&client, get("/big"), &gate, &cancel).await.unwrap();
    let failure = read_to_vec(found, 3).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::TooLarge);

    assert_eq!(
        *gate.log.lock().unwrap(),
        [
            "in /a",
            "out /a Answered { status: 302 }",
            "in /b",
            "reading",
            "out /b Answered { status: 200 }",
            "in /busy",
            "out /busy Throttled { status: 429, retry_after: Some(5s) }",
            "in /cut",
            "out /cut Strained { status: Some(200) }",
            "in /big",
            "out /big Unknown { status: Some(200) }",
        ]
    );
}

#[tokio::test]
async fn a_lost_pass_ends_the_transfer_and_counts_as_no_attempt() {
    let half = || {
        [
            announced("200 OK", "", 1 << 20, &mp3(100)),
            vec![Step::Hang],
        ]
        .concat()
    };
    let server = RawServer::start(move |_, _| half()).await;
    let gate = Doorman::default();
    let lost = gate.lost.clone();
    let losing = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        lost.cancel();
    });
    let mut bench = Bench::new();
    bench.gate = Arc::new(gate);
    let failure = bench.fails(&server.url("/e.mp3")).await;
    assert_eq!(failure.class, FailureClass::RateLimited);
    losing.await.unwrap();
}
