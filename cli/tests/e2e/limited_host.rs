//! A host with a limit, at an address of its own, that writes down who was there when.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Serves the same body under every path, slowly, to so many at once; the others get a 429.
pub(crate) struct LimitedHost {
    address: String,
    log: Arc<Mutex<Log>>,
}

/// What the host saw.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log {
    in_flight: usize,
    /// The most requests at once, refused ones included.
    pub(crate) most_in_flight: usize,
    pub(crate) served: usize,
    /// When each request came.
    pub(crate) requests: Vec<Instant>,
    /// When each 429 was said.
    pub(crate) refusals: Vec<Instant>,
}

struct Service {
    limit: usize,
    takes: Duration,
    body: Vec<u8>,
    log: Arc<Mutex<Log>>,
}

impl LimitedHost {
    /// Listens at `127.0.0.number`, a host of its own for whoever counts by host. Each body takes as
    /// long as `takes`. The threads end with the test's process.
    pub(crate) fn start(number: u8, limit: usize, takes: Duration, body: Vec<u8>) -> Self {
        let listener = TcpListener::bind(format!("127.0.0.{number}:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let log = Arc::new(Mutex::new(Log::default()));
        let service = Arc::new(Service {
            limit,
            takes,
            body,
            log: Arc::clone(&log),
        });
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let service = Arc::clone(&service);
                std::thread::spawn(move || service.respond(stream));
            }
        });
        Self { address, log }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    pub(crate) fn log(&self) -> Log {
        self.log.lock().unwrap().clone()
    }
}

impl Service {
    fn respond(&self, mut stream: TcpStream) {
        if !read_request(&mut stream) {
            return;
        }
        let is_refused = self.enter();
        if !is_refused {
            std::thread::sleep(self.takes);
        }
        // Before the last byte: whoever has that may let the next one in.
        self.log.lock().unwrap().in_flight -= 1;
        let (status, body) = match is_refused {
            true => ("429 Too Many Requests", &[][..]),
            false => ("200 OK", &self.body[..]),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: audio/mpeg\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            body.len()
        );
        // A client that is killed hangs up.
        let _ = stream.write_all(&[head.as_bytes(), body].concat());
    }

    /// Writes down a request; true where it is one too many.
    fn enter(&self) -> bool {
        let mut log = self.log.lock().unwrap();
        let now = Instant::now();
        let is_refused = log.in_flight >= self.limit;
        log.in_flight += 1;
        log.most_in_flight = log.most_in_flight.max(log.in_flight);
        log.requests.push(now);
        match is_refused {
            true => log.refusals.push(now),
            false => log.served += 1,
        }
        is_refused
    }
}

fn read_request(stream: &mut TcpStream) -> bool {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return false,
            Ok(count) => request.extend_from_slice(&buffer[..count]),
        }
    }
    true
}
