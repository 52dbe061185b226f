//! Requests and answers on the wire, one of each a connection.

use std::io;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A call.
#[derive(Debug)]
pub(super) struct Request {
    operation: String,
    /// With the query.
    path: String,
    /// The request line and the headers, without the empty line.
    head: String,
    pub(super) body: Vec<u8>,
}

impl Request {
    fn new(head: String, body: Vec<u8>) -> Option<Self> {
        let mut words = head.split(' ');
        let (method, path) = (words.next()?, words.next()?.to_owned());
        let operation = match header(&head, "x-amz-target") {
            Some(target) => target.rsplit('.').next()?.to_owned(),
            None => operation_in(method, &path).to_owned(),
        };
        Some(Self {
            operation,
            path,
            head,
            body,
        })
    }

    /// Whether it is of this operation and, after a space, has this in its path.
    pub(super) fn is(&self, call: &str) -> bool {
        let (operation, in_path) = call.split_once(' ').unwrap_or((call, ""));
        self.operation == operation && self.path.contains(in_path)
    }

    pub(super) fn without_body(&self) -> Self {
        Self {
            operation: self.operation.clone(),
            path: self.path.clone(),
            head: self.head.clone(),
            body: Vec::new(),
        }
    }
}

/// The operation of a call that has it in its path: CloudWatch as the end, most of S3 in the query, where
/// the rest is told by its method.
fn operation_in<'a>(method: &'a str, path: &'a str) -> &'a str {
    if let Some((_, operation)) = path.split_once("/operation/") {
        return operation;
    }
    let query = path.split_once('?').map_or("", |(_, query)| query);
    if let Some(named) = query.split('&').find_map(|pair| pair.strip_prefix("x-id=")) {
        return named;
    }
    match method {
        "POST" if query.contains("uploadId=") => "CompleteMultipartUpload",
        "POST" if query.starts_with("uploads") => "CreateMultipartUpload",
        _ => method,
    }
}

pub(super) async fn read(client: &mut TcpStream) -> io::Result<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        read_more(client, &mut bytes).await?;
    };
    let mut body = bytes.split_off(end + 4);
    bytes.truncate(end);
    let head = String::from_utf8_lossy(&bytes).into_owned();
    if header(&head, "expect").is_some() {
        client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let length = header(&head, "content-length").and_then(|length| length.parse().ok());
    while body.len() < length.unwrap_or(0) {
        read_more(client, &mut body).await?;
    }
    Request::new(head, body).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

async fn read_more(client: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    match client.read_buf(bytes).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Has the call carried out; the answer as it comes.
pub(super) async fn forward(upstream: &str, request: &Request) -> io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(upstream).await?;
    let is_kept = |line: &&str| {
        let name = line.split(':').next().unwrap_or_default();
        !["connection", "expect"].contains(&&*name.to_ascii_lowercase())
    };
    let kept: Vec<_> = request.head.lines().filter(is_kept).collect();
    let head = format!("{}\r\nconnection: close\r\n\r\n", kept.join("\r\n"));
    server.write_all(head.as_bytes()).await?;
    server.write_all(&request.body).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    Ok(answer)
}

/// A made-up answer.
pub(super) fn answer(status: u16, body: &Value) -> Vec<u8> {
    answer_in("application/x-amz-json-1.0", status, &body.to_string())
}

/// A made-up error: in JSON where the call names its target in a header, in XML elsewhere. CloudWatch
/// has a third format, of which the status is enough.
pub(super) fn refusal(request: &Request, status: u16, code: &str) -> Vec<u8> {
    if header(&request.head, "x-amz-target").is_some() {
        let kind = format!("com.amazonaws.injected#{code}");
        return answer(status, &json!({"__type": kind, "message": "injected"}));
    }
    let body = format!("<Error><Code>{code}</Code><Message>injected</Message></Error>");
    answer_in("application/xml", status, &body)
}

fn answer_in(content_type: &str, status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} Made up\r\ncontent-type: {content_type}\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let pairs = head.lines().filter_map(|line| line.split_once(':'));
    let mut found = pairs.filter(|(found, _)| found.eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value.trim())
}
