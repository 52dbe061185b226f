//! A server on a raw loopback socket, which can answer as badly as real ones do.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// One thing the server does on a connection; after the last one it closes it.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Send(Vec<u8>),
    Wait(Duration),
    /// Sends nothing more and keeps the connection.
    Hang,
}

/// What a client sent: the request line's path and the whole head.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) head: String,
}

/// Answers every connection by its script, one request a connection.
#[derive(Debug)]
pub(crate) struct RawServer {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    task: JoinHandle<()>,
}

impl RawServer {
    /// `script` gets the request's path and how often that path was asked for before.
    pub(crate) async fn start(
        script: impl Fn(&str, usize) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::<Request>::new()));
        let (kept, script) = (Arc::clone(&requests), Arc::new(script));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&kept), Arc::clone(&script)));
            }
        });
        Self {
            address,
            requests,
            task,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    requests: Arc<Mutex<Vec<Request>>>,
    script: Arc<impl Fn(&str, usize) -> Vec<Step>>,
) {
    let Some(request) = read_request(&mut stream).await else {
        return;
    };
    let steps = {
        let mut requests = requests.lock().unwrap();
        let before = requests.iter().filter(|r| r.path == request.path).count();
        requests.push(request.clone());
        script(&request.path, before)
    };
    for step in steps {
        match step {
            // The client may be gone already: that is what some tests are about.
            Step::Send(bytes) => drop(stream.write_all(&bytes).await),
            Step::Wait(time) => tokio::time::sleep(time).await,
            Step::Hang => std::future::pending().await,
        }
    }
    drop(stream.shutdown().await);
}

async fn read_request(stream: &mut TcpStream) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let path = head.split(' ').nth(1)?.to_owned();
    Some(Request { path, head })
}

/// A whole answer with `Content-Length`; `headers` each end with CRLF.
pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<Step> {
    announced(status, headers, body.len(), body)
}

/// An answer whose `Content-Length` says `length`, whatever the body is.
pub(crate) fn announced(status: &str, headers: &str, length: usize, body: &[u8]) -> Vec<Step> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}Connection: close\r\n\r\n"
    );
    vec![Step::Send([head.as_bytes(), body].concat())]
}

/// A chunked answer; without its last chunk unless `whole`.
pub(crate) fn chunked(body: &[u8], whole: bool) -> Vec<Step> {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    let mut bytes = head.as_bytes().to_vec();
    for chunk in body.chunks(10_000) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    if whole {
        bytes.extend(b"0\r\n\r\n");
    }
    vec![Step::Send(bytes)]
}

/// A redirect.
pub(crate) fn redirect(status: &str, location: &str) -> Vec<Step> {
    answer(status, &format!("Location: {location}\r\n"), b"moved")
}

/// MPEG-1 layer III at 128 kbit/s: `count` frames of 417 bytes.
pub(crate) fn mp3(count: usize) -> Vec<u8> {
    let mut frame = [0x55; 417];
    frame[..4].copy_from_slice(&[0xff, 0xfb, 0x90, 0x00]);
    frame.repeat(count)
}
