//! A proxy between the SDK and the stand-in that does to single calls what networks and services do.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

/// What happens to one call.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It is answered by this, and never carried out.
    Answer(u16, Value),
    /// The connection ends before it is carried out.
    DropBefore,
    /// It is carried out, and the connection ends without an answer.
    DropAfter,
    /// It is carried out, and the answer says that it failed.
    ErrorAfter,
    /// It is carried out twice, and the second answer is given.
    Twice,
    /// It is carried out, which the first channel is told; when the second speaks, the connection
    /// ends without an answer.
    HoldAfter(oneshot::Sender<()>, oneshot::Receiver<()>),
    /// A batch read of which nothing is read.
    Unprocessed,
}

impl Fault {
    /// The table or queue is asked too much.
    pub(crate) fn throttled() -> Self {
        let kind = "com.amazonaws.dynamodb.v20120810#ThrottlingException";
        Self::Answer(400, json!({"__type": kind, "message": "Rate exceeded"}))
    }

    /// The service is broken.
    pub(crate) fn broken() -> Self {
        Self::Answer(500, json!({"__type": "InternalServerError"}))
    }
}

/// Faults to come, each for the next call of an operation.
type Faults = Arc<Mutex<VecDeque<(&'static str, Fault)>>>;

/// A running proxy; it ends with the value.
#[derive(Debug)]
pub(crate) struct FaultProxy {
    /// Where it listens.
    pub(crate) endpoint: String,
    faults: Faults,
    _server: AbortOnDropHandle<()>,
}

impl FaultProxy {
    /// Starts in front of `upstream`, an `http://` address.
    pub(crate) async fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let upstream: Arc<str> = upstream.trim_start_matches("http://").into();
        let faults = Faults::default();
        let shared = Arc::clone(&faults);
        let server = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // A connection that breaks is what this is for.
                let served = serve(client, Arc::clone(&upstream), Arc::clone(&shared));
                tokio::spawn(async move { drop(served.await) });
            }
        });
        Self {
            endpoint,
            faults,
            _server: AbortOnDropHandle::new(server),
        }
    }

    /// Lets the next call of `operation` (`PutItem`) meet `fault`.
    pub(crate) fn inject(&self, operation: &'static str, fault: Fault) {
        self.faults.lock().unwrap().push_back((operation, fault));
    }

    /// Faults that no call has met.
    pub(crate) fn left(&self) -> usize {
        self.faults.lock().unwrap().len()
    }
}

/// One call a connection: the answer says that it is the last.
async fn serve(mut client: TcpStream, upstream: Arc<str>, faults: Faults) -> std::io::Result<()> {
    let (head, body) = read_request(&mut client).await?;
    let fault = {
        let mut faults = faults.lock().unwrap();
        let met = faults.iter().position(|(operation, _)| {
            let target = format!(".{operation}");
            let mut lines = head.lines();
            lines.any(|line| {
                line.to_ascii_lowercase().starts_with("x-amz-target:") && line.ends_with(&target)
            })
        });
        met.and_then(|index| faults.remove(index))
            .map(|(_, fault)| fault)
    };
    let answer = match fault {
        None => forward(&upstream, &head, &body).await?,
        Some(Fault::Answer(status, answer)) => made_up(status, &answer),
        Some(Fault::DropBefore) => return Ok(()),
        Some(Fault::DropAfter) => {
            forward(&upstream, &head, &body).await?;
            return Ok(());
        }
        Some(Fault::ErrorAfter) => {
            forward(&upstream, &head, &body).await?;
            made_up(500, &json!({"__type": "InternalServerError"}))
        }
        Some(Fault::Twice) => {
            forward(&upstream, &head, &body).await?;
            forward(&upstream, &head, &body).await?
        }
        Some(Fault::HoldAfter(reached, go)) => {
            forward(&upstream, &head, &body).await?;
            // Whoever does not listen any more has failed already.
            let _ = reached.send(());
            let _ = go.await;
            return Ok(());
        }
        Some(Fault::Unprocessed) => {
            let asked: Value = serde_json::from_slice(&body)?;
            let keys = &asked["RequestItems"];
            made_up(200, &json!({"Responses": {}, "UnprocessedKeys": keys}))
        }
    };
    client.write_all(&answer).await?;
    client.shutdown().await
}

async fn read_request(client: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if client.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    };
    let mut body = bytes.split_off(end);
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    while body.len() < length.unwrap_or(0) {
        if client.read_buf(&mut body).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok((head.trim_end().to_owned(), body))
}

async fn forward(upstream: &str, head: &str, body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(upstream).await?;
    let kept = head
        .lines()
        .filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let mut request = kept.collect::<Vec<_>>().join("\r\n");
    request.push_str("\r\nconnection: close\r\n\r\n");
    server.write_all(request.as_bytes()).await?;
    server.write_all(body).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    Ok(answer)
}

fn made_up(status: u16, answer: &Value) -> Vec<u8> {
    let body = answer.to_string();
    let length = body.len();
    format!(
        "HTTP/1.1 {status} Made up\r\ncontent-type: application/x-amz-json-1.0\r\n\
        content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}
