//! A server on a raw loopback socket, which can answer as badly as real ones do.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// One thing the server does on a connection; after the last one it closes it.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Send(Vec<u8>),
    Wait(Duration),
    /// Sends these bytes with this pause between, until the client is gone.
    Forever(Vec<u8>, Duration),
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
    scheme: &'static str,
}

impl RawServer {
    /// `script` gets the request's path and how often that path was asked for before.
    pub(crate) async fn start(
        script: impl Fn(&str, usize) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(None, script).await
    }

    /// The same behind TLS, where an acceptor is given. Requests that its handshake refuses are never
    /// read.
    pub(crate) async fn start_with(
        acceptor: Option<TlsAcceptor>,
        script: impl Fn(&str, usize) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::<Request>::new()));
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let (kept, script) = (Arc::clone(&requests), Arc::new(script));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, script) = (Arc::clone(&kept), Arc::clone(&script));
                match acceptor.clone() {
                    None => drop(tokio::spawn(serve(stream, kept, script))),
                    Some(acceptor) => drop(tokio::spawn(async move {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            serve(stream, kept, script).await;
                        }
                    })),
                }
            }
        });
        Self {
            address,
            requests,
            task,
            scheme,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
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
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
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
            Step::Forever(bytes, pause) => {
                while stream.write_all(&bytes).await.is_ok() {
                    tokio::time::sleep(pause).await;
                }
            }
            Step::Hang => std::future::pending().await,
        }
    }
    drop(stream.shutdown().await);
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<Request> {
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

/// These bytes as they are.
pub(crate) fn send(text: &str) -> Vec<Step> {
    vec![Step::Send(text.as_bytes().to_vec())]
}

/// The same bytes over and over, with a pause between.
pub(crate) fn forever(bytes: &[u8], pause: Duration) -> Vec<Step> {
    vec![Step::Forever(bytes.to_vec(), pause)]
}

/// A redirect.
pub(crate) fn redirect(status: &str, location: &str) -> Vec<Step> {
    answer(status, &format!("Location: {location}\r\n"), b"moved")
}

/// MPEG-1 layer III at 128 kbit/s: `count` frames of 417 bytes, each of 26 ms, full of noise.
pub(crate) fn mp3(count: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Without the bits that would make a header of it.
        (state >> 24) as u8 & 0x7f
    };
    let mut file = Vec::with_capacity(417 * count);
    for _ in 0..count {
        file.extend([0xff, 0xfb, 0x90, 0x00]);
        file.extend(std::iter::repeat_with(&mut noise).take(413));
    }
    file
}
