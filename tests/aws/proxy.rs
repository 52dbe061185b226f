//! A proxy in front of the stand-in that does to requests what networks do.

use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// Bodies from here on are parts.
const LARGE: usize = 1 << 20;

/// What becomes of a request.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// It goes through.
    None,
    /// It is carried out, and the connection breaks before the answer.
    LoseAnswer,
    /// It is carried out, and the connection breaks before the last byte of the answer.
    CutAnswer,
    /// It is not carried out, and answered with this status and error code.
    Refuse(u16, &'static str),
    /// It goes through once there is a permit, which is used up.
    Hold(Arc<Semaphore>),
}

/// A request line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query; after a space the header `X-Amz-Target`, where there is one: `PutItem`.
    pub(crate) target: String,
}

impl Request {
    pub(crate) fn is(&self, method: &str, in_target: &str) -> bool {
        self.method == method && self.target.contains(in_target)
    }
}

/// What passed by.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Every request, in order of arrival.
    pub(crate) requests: Vec<Request>,
    large: usize,
    /// The most requests with a large body that were under way together.
    pub(crate) most_large: usize,
}

type Decide = dyn Fn(&Request) -> Fault + Send + Sync;

/// Ends with the value.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) endpoint: String,
    pub(crate) log: Arc<Mutex<Log>>,
    arrived: Arc<Notify>,
    _server: AbortOnDropHandle<()>,
}

impl Proxy {
    /// Listens on loopback and asks `decide` about each request to `upstream`.
    pub(crate) async fn start(
        upstream: &str,
        decide: impl Fn(&Request) -> Fault + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let log = Arc::new(Mutex::new(Log::default()));
        let arrived = Arc::new(Notify::new());
        let way = Arc::new(Way {
            arrived: Arc::clone(&arrived),
            upstream: upstream.strip_prefix("http://").unwrap().to_owned(),
            decide: Box::new(decide),
            log: Arc::clone(&log),
        });
        let server = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let way = Arc::clone(&way);
                connections.spawn(async move {
                    // A client that goes away in the middle is nothing to fail for.
                    let _ = way.serve(client).await;
                });
            }
        });
        Self {
            endpoint,
            log,
            arrived,
            _server: AbortOnDropHandle::new(server),
        }
    }

    /// Waits until so many requests like this arrived.
    pub(crate) async fn wait_for(&self, requests: usize, method: &str, in_target: &str) {
        loop {
            // Before the look, so that none is missed between the two.
            let next = self.arrived.notified();
            if self.count(method, in_target) >= requests {
                return;
            }
            next.await;
        }
    }

    /// How many requests were like this.
    pub(crate) fn count(&self, method: &str, in_target: &str) -> usize {
        let log = self.log.lock().unwrap();
        let like = |request: &&Request| request.is(method, in_target);
        log.requests.iter().filter(like).count()
    }
}

struct Way {
    upstream: String,
    decide: Box<Decide>,
    log: Arc<Mutex<Log>>,
    arrived: Arc<Notify>,
}

impl Way {
    /// One request a connection, to keep it simple.
    async fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let (request, message, is_large) = read_request(&mut client).await?;
        let _counted = self.count(&request, is_large);
        let fault = (self.decide)(&request);
        if let Fault::Refuse(status, code) = fault {
            return client.write_all(refusal(status, code).as_bytes()).await;
        }
        if let Fault::Hold(permits) = &fault {
            permits.acquire().await.unwrap().forget();
        }
        let mut upstream = TcpStream::connect(&self.upstream).await?;
        upstream.write_all(&message).await?;
        let mut answer = Vec::new();
        upstream.read_to_end(&mut answer).await?;
        match fault {
            Fault::LoseAnswer => Ok(()),
            Fault::CutAnswer => client.write_all(&answer[..answer.len() - 1]).await,
            _ => client.write_all(&answer).await,
        }
    }

    fn count(&self, request: &Request, is_large: bool) -> Counted {
        let mut log = self.log.lock().unwrap();
        log.requests.push(request.clone());
        log.large += usize::from(is_large);
        log.most_large = log.most_large.max(log.large);
        self.arrived.notify_waiters();
        Counted(Arc::clone(&self.log), is_large)
    }
}

struct Counted(Arc<Mutex<Log>>, bool);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.lock().unwrap().large -= usize::from(self.1);
    }
}

/// The request, its message with `Connection: close` added, and whether its body is large.
async fn read_request(client: &mut TcpStream) -> io::Result<(Request, Vec<u8>, bool)> {
    let mut message = Vec::new();
    let end = loop {
        if client.read_buf(&mut message).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(end) = message.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = String::from_utf8_lossy(&message[..end]).into_owned();
    let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    if header(&head, "expect").is_some() {
        client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    while message.len() < end + length {
        if client.read_buf(&mut message).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    message.splice(end - 2..end - 2, *b"connection: close\r\n");
    let mut words = head.split(' ').map(str::to_owned);
    let (method, mut target) = (words.next().unwrap(), words.next().unwrap());
    if let Some(operation) = header(&head, "x-amz-target") {
        target = format!("{target} {operation}");
    }
    Ok((Request { method, target }, message, length >= LARGE))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let pairs = head.lines().filter_map(|line| line.split_once(':'));
    let mut found = pairs.filter(|(found, _)| found.eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value.trim())
}

fn refusal(status: u16, code: &str) -> String {
    let body = format!("<Error><Code>{code}</Code><Message>injected</Message></Error>");
    let length = body.len();
    format!(
        "HTTP/1.1 {status} Injected\r\ncontent-type: application/xml\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}
