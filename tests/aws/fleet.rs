//! A whole fleet at a few hosts: what the hosts themselves see is within the limits that were promised.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use podrun::domain::OwnerId;
use podrun::politeness::dynamodb::HOSTS_TABLE;
use podrun::politeness::limits::HostGroup;
use podrun::politeness::{HostLimits, PacedGate, Throttle};
use podrun::runtime::clock::SystemClock;
use podrun::runtime::http::{HopGate, HopVerdict};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::stand_in::StandIn;
use crate::windows::{TABLE, windows};

const WORKERS: usize = 80;
/// Each address of loopback is a host of its own.
const HOSTS: [(&str, u32); 3] = [("127.0.0.1", 6), ("127.0.0.2", 4), ("127.0.0.3", 3)];
/// Requests to each host in all.
const REQUESTS: usize = 36;
/// Longer than it takes a window's worth of starts, so that the limits are what keeps workers back.
const SERVICE: Duration = Duration::from_millis(700);
const SPACING: Duration = Duration::from_millis(40);

/// A server on one address that knows how many requests it is serving.
#[derive(Debug)]
struct Host {
    address: SocketAddr,
    busy: AtomicUsize,
    /// The most at once, and all.
    log: Mutex<(usize, usize)>,
    /// Requests that workers may still make.
    tickets: AtomicUsize,
}

impl Host {
    async fn serve(self: Arc<Self>, listener: TcpListener) {
        let mut requests = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            requests.spawn(Arc::clone(&self).answer(stream));
        }
    }

    async fn answer(self: Arc<Self>, mut stream: TcpStream) {
        let busy = self.busy.fetch_add(1, Ordering::SeqCst) + 1;
        {
            let mut log = self.log.lock().unwrap();
            *log = (log.0.max(busy), log.1 + 1);
        }
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await.unwrap();
        tokio::time::sleep(SERVICE).await;
        // Before the worker can see the end, and so before it gives its slot back.
        self.busy.fetch_sub(1, Ordering::SeqCst);
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        stream.write_all(answer).await.unwrap();
    }

    fn take_ticket(&self) -> bool {
        let less = |left: usize| left.checked_sub(1);
        self.tickets
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
            .is_ok()
    }
}

fn limits() -> HostLimits {
    let group = |(name, limit): (&str, u32)| {
        let also = Vec::new();
        (name.to_owned(), HostGroup { limit, also })
    };
    let groups: BTreeMap<_, _> = HOSTS.map(group).into();
    HostLimits::try_new(1, SPACING, groups).unwrap()
}

/// One request under the gate, as the fetcher makes it.
async fn fetch(gate: &PacedGate, address: SocketAddr) {
    let url = Url::parse(&format!("http://{address}/episode.mp3")).unwrap();
    let mut pass = loop {
        // A worker that waited for too long takes another job, and comes back.
        match gate.enter(&url, &CancellationToken::new()).await {
            Ok(pass) => break pass,
            Err(failure) => assert!(!failure.to_string().contains("cannot ask"), "{failure}"),
        }
    };
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET /episode.mp3 HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    pass.answered(200).await;
    pass.finish(HopVerdict::Answered { status: 200 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eighty_workers_keep_every_hosts_limit() {
    let stand_in = StandIn::start();
    let clients = stand_in.clients().await;
    HOSTS_TABLE.create(&clients.dynamodb, TABLE).await.unwrap();

    let mut servers = JoinSet::new();
    let mut hosts = Vec::new();
    for (name, _) in HOSTS {
        let ip: IpAddr = name.parse().unwrap();
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let host = Arc::new(Host {
            address: listener.local_addr().unwrap(),
            busy: AtomicUsize::new(0),
            log: Mutex::default(),
            tickets: AtomicUsize::new(REQUESTS),
        });
        servers.spawn(Arc::clone(&host).serve(listener));
        hosts.push(host);
    }

    let mut workers = JoinSet::new();
    for number in 0..WORKERS {
        let host = Arc::clone(&hosts[number % hosts.len()]);
        // A client of its own, as in a process of its own.
        let client = stand_in.clients().await.dynamodb;
        let clock = Arc::new(SystemClock);
        let windows = Arc::new(windows(&client, limits(), clock.clone()));
        let owner = OwnerId::generate(&format!("worker-{number}"));
        let limits = Arc::new(limits());
        let throttle = Throttle::new(windows, Arc::clone(&limits), owner, clock);
        let gate = PacedGate::new(Arc::new(throttle), limits);
        workers.spawn(async move {
            while host.take_ticket() {
                fetch(&gate, host.address).await;
            }
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker.unwrap();
    }
    for (host, (name, limit)) in hosts.iter().zip(HOSTS) {
        let (most, all) = *host.log.lock().unwrap();
        assert_eq!(all, REQUESTS, "{name}");
        assert!(
            most <= limit as usize,
            "{name} saw {most} at once, promised were {limit}"
        );
        // Below the limit the windows would prove nothing.
        assert!(most > 2, "{name} saw {most} at once: the window never grew");
    }
}
