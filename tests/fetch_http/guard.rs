//! What feeds and hosts may make this program ask: three gates, on every hop.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use podrun::domain::{Disposition, FailureClass};
use podrun::fetch::DownloadError;
use podrun::runtime::http::{Lookup, LookupError};

use crate::bench::{Bench, quick_tries};
use crate::server::{RawServer, answer, mp3, redirect};

/// A name service that answers from a list: the n-th question, whatever its name, gets the n-th of
/// that name's answers, or its last one.
#[derive(Debug, Default)]
pub(crate) struct FakeLookup {
    answers: HashMap<String, Vec<Result<Vec<IpAddr>, LookupError>>>,
    asked: AtomicUsize,
}

impl FakeLookup {
    pub(crate) fn with(mut self, name: &str, addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|text| text.parse().unwrap());
        self.add(name, Ok(addresses.collect()));
        self
    }

    pub(crate) fn failing(mut self, name: &str, error: LookupError) -> Self {
        self.add(name, Err(error));
        self
    }

    fn add(&mut self, name: &str, answer: Result<Vec<IpAddr>, LookupError>) {
        self.answers
            .entry(name.to_owned())
            .or_default()
            .push(answer);
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Lookup for FakeLookup {
    async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        let answers = self.answers.get(name).ok_or(LookupError::NoSuchName)?;
        answers[asked.min(answers.len() - 1)].clone()
    }
}

/// A guard that lets this server's port and the addresses in `allowed` through, and nothing else that
/// is private.
fn guarded(server: &RawServer, allowed: &[&str]) -> Bench {
    let mut bench = Bench::new();
    bench.http.allow_private_addresses = false;
    bench.http.ports.push(server.port());
    bench.http.allowed_addresses = allowed.iter().map(|text| text.parse().unwrap()).collect();
    bench
}

#[tokio::test]
async fn case_114_private_addresses_are_refused_first_and_after_a_redirect() {
    let server =
        RawServer::start(|path, _| redirect("302 Found", path.strip_prefix("/to/").unwrap_or("/")))
            .await;
    let closed = guarded(&server, &[]);
    for url in [
        server.url("/"),
        format!("http://localhost:{}/", server.port()),
    ] {
        let failure = closed.fails(&url).await;
        assert_eq!(failure.class, FailureClass::BadUrl, "{failure}");
        assert!(
            failure.message.contains("http.allowed_addresses"),
            "{failure}"
        );
    }
    assert!(server.requests().is_empty());

    let bench = guarded(&server, &["127.0.0.1"]);
    for target in [
        "http://169.254.170.2/v2/credentials",
        "http://169.254.169.254/latest/meta-data",
        "http://[fd00:ec2::254]/",
        "http://127.2/",
        "http://0/",
        "http://2130706434/",
        "http://0x7f.2/",
        "http://[::ffff:169.254.170.2]/",
        "http://[64:ff9b::a9fe:aa02]/",
    ] {
        let failure = bench.fails(&server.url(&format!("/to/{target}"))).await;
        assert_eq!(failure.class, FailureClass::Redirect, "{target}: {failure}");
        assert!(failure.message.contains("no public address"), "{failure}");
    }
}

#[tokio::test]
async fn case_115_a_public_name_with_a_private_address_is_refused() {
    let server = RawServer::start(|_, _| answer("200 OK", "", &mp3(10))).await;
    let mut bench = guarded(&server, &[]);
    bench.lookup = Arc::new(FakeLookup::default().with("cdn.example", &["127.0.0.1"]));
    let url = format!("http://cdn.example:{}/e.mp3", server.port());
    let failure = bench.fails(&url).await;
    assert_eq!(failure.class, FailureClass::BadUrl, "{failure}");
    assert_eq!(failure.class.disposition(), Disposition::Permanent);
    assert!(server.requests().is_empty());

    bench.http.allowed_addresses = vec!["127.0.0.0/8".parse().unwrap()];
    bench.download(&url).await.unwrap();
}

#[tokio::test]
async fn case_116_the_vetted_address_is_the_one_that_is_connected() {
    let server = RawServer::start(|_, _| answer("200 OK", "", &mp3(10))).await;
    let mut bench = guarded(&server, &["127.0.0.1"]);
    // The second answer is another address, as a rebinding name service gives it.
    let lookup = FakeLookup::default()
        .with("rebind.example", &["127.0.0.1"])
        .with("rebind.example", &["127.0.0.2"]);
    let lookup = Arc::new(lookup);
    bench.lookup = Arc::clone(&lookup) as Arc<dyn Lookup>;
    let url = format!("http://rebind.example:{}/e.mp3", server.port());
    bench.download(&url).await.unwrap();
    assert_eq!(
        lookup.asked(),
        1,
        "asked once between the check and the connection"
    );

    bench.store = Default::default();
    let failure = bench.fails(&url).await;
    assert_eq!(failure.class, FailureClass::BadUrl);
    assert!(failure.message.contains("127.0.0.2"), "{failure}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn case_117_a_mixed_answer_is_refused_whole() {
    let server = RawServer::start(|_, _| answer("200 OK", "", &mp3(10))).await;
    let mut bench = guarded(&server, &["127.0.0.1"]);
    bench.lookup = Arc::new(
        FakeLookup::default().with("mixed.example", &["127.0.0.1", "1.1.1.1", "10.0.0.1"]),
    );
    let url = format!("http://mixed.example:{}/e.mp3", server.port());
    let failure = bench.fails(&url).await;
    assert_eq!(failure.class, FailureClass::BadUrl);
    assert!(failure.message.contains("10.0.0.1"), "{failure}");
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn case_118_redirects_to_other_schemes_are_refused() {
    let server =
        RawServer::start(|path, _| redirect("302 Found", path.strip_prefix("/to/").unwrap())).await;
    for target in [
        "file:///etc/passwd",
        "gopher://a.example/",
        "s3://bucket/key",
        "data:,x",
    ] {
        let failure = Bench::new()
            .fails(&server.url(&format!("/to/{target}")))
            .await;
        assert_eq!(failure.class, FailureClass::Redirect);
        assert!(failure.message.contains("only http and https"), "{failure}");
    }
}

#[tokio::test]
async fn case_119_a_redirect_to_another_services_port_is_refused() {
    let server =
        RawServer::start(|path, _| redirect("302 Found", path.strip_prefix("/to/").unwrap())).await;
    let bench = guarded(&server, &["127.0.0.1"]);
    for port in [22, 25, 6379] {
        let url = server.url(&format!("/to/http://127.0.0.1:{port}/"));
        let failure = bench.fails(&url).await;
        assert_eq!(failure.class, FailureClass::Redirect);
        assert!(
            failure.message.contains(&format!("port {port} ")),
            "{failure}"
        );
    }
}

#[tokio::test]
async fn case_120_credentials_stay_at_their_origin_and_out_of_every_text() {
    let elsewhere = RawServer::start(|_, _| answer("404 Not Found", "", b"")).await;
    let target = elsewhere.url("/there");
    let server = RawServer::start(move |path, _| match path {
        "/here" => redirect("302 Found", "/again"),
        _ => redirect("302 Found", &target),
    })
    .await;
    let url = server
        .url("/here")
        .replace("http://", "http://user:hunter2@");
    let failure = Bench::new().fails(&url).await;
    assert_eq!(failure.class, FailureClass::NotFound);
    assert!(!format!("{failure:?}").contains("hunter2"));
    let is_authorised = |server: &RawServer| {
        let requests = server.requests();
        let heads = requests.iter().map(|request| request.head.to_lowercase());
        heads
            .map(|head| head.contains("authorization: basic "))
            .collect::<Vec<_>>()
    };
    assert_eq!(is_authorised(&server), [true, true]);
    assert_eq!(is_authorised(&elsewhere), [false]);
}

#[tokio::test]
async fn case_121_line_breaks_reach_no_request() {
    let server = RawServer::start(|_, _| {
        // The header's value ends at the line break; what follows is a header of the answer.
        redirect("302 Found", "/e.mp3%0d%0aX-Injected: yes")
    })
    .await;
    let bench = Bench::new();
    let url = format!("{}\r\nX-Injected: yes", server.url("/e.mp3"));
    assert_eq!(bench.fails(&url).await.class, FailureClass::BadUrl);
    assert!(server.requests().is_empty());
    bench.fails(&server.url("/")).await;
    let requests = server.requests();
    assert!(requests.len() > 1);
    for request in requests {
        let injected = request
            .head
            .lines()
            .any(|line| line.starts_with("X-Injected"));
        assert!(!injected, "{}", request.head);
    }
}

#[tokio::test]
async fn case_071_a_missing_name_is_no_failing_name_service() {
    let lookup =
        FakeLookup::default().failing("broken.example", LookupError::Failed("SERVFAIL".to_owned()));
    let lookup = Arc::new(lookup);
    let mut bench = Bench::new();
    bench.lookup = Arc::clone(&lookup) as Arc<dyn Lookup>;
    bench.retry = quick_tries(3);

    let failing = bench.fails("http://broken.example/e.mp3").await;
    assert_eq!(failing.class, FailureClass::Dns);
    assert_eq!(lookup.asked(), 3, "tried again on the spot");
    assert!(!failing.class.is_publisher_side());

    let missing = bench.fails("http://gone.example/e.mp3").await;
    assert_eq!(missing.class, FailureClass::NoSuchHost);
    assert_eq!(lookup.asked(), 4, "left to the queue's few tries");
    assert_eq!(missing.class.disposition(), Disposition::Transient);
    assert!(missing.class.is_publisher_side());
}

#[tokio::test]
async fn case_070_a_broken_address_gives_way_to_one_that_works() {
    let server = RawServer::start(|_, _| answer("200 OK", "", &mp3(10))).await;
    let mut bench = Bench::new();
    // Nothing listens on the first, and the second (a prefix that is thrown away) leads nowhere.
    bench.lookup =
        Arc::new(FakeLookup::default().with("dual.example", &["::1", "100::1", "127.0.0.1"]));
    bench.http.connect_timeout = std::time::Duration::from_secs(5);
    let url = format!("http://dual.example:{}/e.mp3", server.port());
    bench.download(&url).await.unwrap();
}

#[tokio::test]
async fn the_gate_is_not_asked_about_what_is_refused() {
    use podrun::domain::Failure;
    use podrun::runtime::http::{HopGate, HopPass};
    use tokio_util::sync::CancellationToken;
    use url::Url;

    #[derive(Debug, Default)]
    struct Counting(Mutex<Vec<String>>);

    #[async_trait]
    impl HopGate for Counting {
        async fn enter(
            &self,
            url: &Url,
            _: &CancellationToken,
        ) -> Result<Box<dyn HopPass>, Failure> {
            self.0.lock().unwrap().push(url.to_string());
            Err(Failure::new(FailureClass::RateLimited, "full"))
        }
    }
    let mut bench = Bench::new();
    bench.http.allow_private_addresses = false;
    let gate = Arc::new(Counting::default());
    bench.gate = Arc::clone(&gate) as Arc<dyn HopGate>;
    let refused = bench.download("http://10.0.0.1/").await;
    assert!(matches!(refused, Err(DownloadError::Failed(_))));
    assert!(gate.0.lock().unwrap().is_empty());
}
