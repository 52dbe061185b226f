//! A server that misbehaves on the wire, for what nginx is too polite to do.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// Answers by path with bytes that go out as they are; then the connection closes.
pub(crate) struct RudeServer {
    address: String,
}

impl RudeServer {
    /// `answer` gets the path and the number of earlier requests, and returns the whole response.
    /// The thread ends with the test's process.
    pub(crate) fn start(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let answer = Arc::clone(&answer);
                std::thread::spawn(move || respond(stream, &*answer));
            }
        });
        Self { address }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }
}

fn respond(mut stream: TcpStream, answer: &dyn Fn(&str) -> Vec<u8>) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.windows(4).any(|w| w == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => request.extend_from_slice(&buffer[..count]),
        }
    }
    let request = String::from_utf8_lossy(&request);
    let path = request.split(' ').nth(1).unwrap_or("/");
    // A client that hangs up early is part of the test.
    let _ = stream.write_all(&answer(path));
}

/// A response with a status line, headers and a body, its length told truly.
pub(crate) fn response(status: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    with_length(status, content_type, body, body.len())
}

/// A response whose `Content-Length` says `length`, whatever the body is.
pub(crate) fn with_length(status: &str, content_type: &str, body: &[u8], length: usize) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}
