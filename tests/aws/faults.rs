//! A proxy between the SDK and the stand-in that does to single calls what networks and services do.
//!
//! Calls are told apart by their operation, and where that is not enough by a piece of their path:
//! `PutItem`, `UploadPart partNumber=2`.

mod exchange;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use exchange::{Request, answer, forward, refusal};

/// Bodies from here on are parts.
const LARGE: usize = 1 << 20;

/// What happens to one call.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// It is answered by this, and never carried out.
    Answer(u16, Value),
    /// It is answered by this status and error code, and never carried out.
    Refuse(u16, &'static str),
    /// The connection ends before it is carried out.
    DropBefore,
    /// It is carried out, and the connection ends without an answer.
    DropAfter,
    /// It is carried out, and the connection ends before the last byte of the answer.
    CutAnswer,
    /// It is carried out, and the answer says that it failed.
    ErrorAfter,
    /// It is carried out twice, and the second answer is given.
    Twice,
    /// It is carried out once the gate lets it through.
    HoldBefore(Arc<Gate>),
    /// It is carried out; once the gate lets it through, the connection ends without an answer.
    HoldAfter(Arc<Gate>),
    /// A batch read of which nothing is read.
    Unprocessed,
}

impl Fault {
    /// The service is asked too much.
    pub(crate) fn throttled() -> Self {
        Self::Refuse(400, "ThrottlingException")
    }

    /// The service is broken.
    pub(crate) fn broken() -> Self {
        Self::Refuse(500, "InternalServerError")
    }
}

/// Where calls wait until the test lets them through.
#[derive(Debug)]
pub(crate) struct Gate {
    reached: Semaphore,
    open: Semaphore,
}

impl Gate {
    pub(crate) fn closed() -> Arc<Self> {
        Arc::new(Self {
            reached: Semaphore::new(0),
            open: Semaphore::new(0),
        })
    }

    /// Waits for a call to come to the gate.
    pub(crate) async fn reached(&self) {
        self.reached.acquire().await.unwrap().forget();
    }

    /// Lets so many calls through, those that are still to come included.
    pub(crate) fn let_through(&self, calls: usize) {
        self.open.add_permits(calls);
    }

    async fn pass(&self) {
        self.reached.add_permits(1);
        self.open.acquire().await.unwrap().forget();
    }
}

/// What passed by, and what is to happen.
#[derive(Debug, Default)]
struct State {
    /// Each for the next call that is like this.
    faults: Mutex<VecDeque<(&'static str, Fault)>>,
    log: Mutex<Log>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Log {
    requests: Vec<Request>,
    large: usize,
    most_large: usize,
}

/// A running proxy; it ends with the value.
#[derive(Debug)]
pub(crate) struct FaultProxy {
    /// Where it listens.
    pub(crate) endpoint: String,
    state: Arc<State>,
    _server: AbortOnDropHandle<()>,
}

impl FaultProxy {
    /// Starts on loopback in front of `upstream`, an `http://` address.
    pub(crate) async fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let upstream: Arc<str> = upstream.strip_prefix("http://").unwrap().into();
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        let server = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (state, upstream) = (Arc::clone(&shared), Arc::clone(&upstream));
                // A connection that breaks is what this is for.
                connections.spawn(async move { drop(state.serve(client, &upstream).await) });
            }
        });
        Self {
            endpoint,
            state,
            _server: AbortOnDropHandle::new(server),
        }
    }

    /// Lets the next call like this meet `fault`.
    pub(crate) fn inject(&self, call: &'static str, fault: Fault) {
        self.inject_times(1, call, fault);
    }

    /// Lets the next `times` calls like this meet `fault`.
    pub(crate) fn inject_times(&self, times: usize, call: &'static str, fault: Fault) {
        let mut faults = self.state.faults.lock().unwrap();
        faults.extend(std::iter::repeat_n((call, fault), times));
    }

    /// Faults that no call has met.
    pub(crate) fn left(&self) -> usize {
        self.state.faults.lock().unwrap().len()
    }

    /// How many calls like this arrived.
    pub(crate) fn count(&self, call: &str) -> usize {
        let log = self.state.log.lock().unwrap();
        let like = log.requests.iter().filter(|request| request.is(call));
        like.count()
    }

    /// Waits until so many calls like this arrived.
    pub(crate) async fn wait_for(&self, count: usize, call: &str) {
        loop {
            // Before the look, so that none is missed between the two.
            let next = self.state.arrived.notified();
            if self.count(call) >= count {
                return;
            }
            next.await;
        }
    }

    /// The most calls with a large body that were under way together.
    pub(crate) fn most_large(&self) -> usize {
        self.state.log.lock().unwrap().most_large
    }
}

impl State {
    /// One call a connection: the answer says that it is the last.
    async fn serve(self: Arc<Self>, mut client: TcpStream, upstream: &str) -> io::Result<()> {
        let request = exchange::read(&mut client).await?;
        let _counted = self.count(&request);
        let answer = match self.fault_for(&request) {
            None => forward(upstream, &request).await?,
            Some(fault) => suffer(fault, &request, upstream).await?,
        };
        client.write_all(&answer).await?;
        client.shutdown().await
    }

    fn fault_for(&self, request: &Request) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let met = faults.iter().position(|(call, _)| request.is(call))?;
        faults.remove(met).map(|(_, fault)| fault)
    }

    fn count(self: &Arc<Self>, request: &Request) -> Counted {
        let is_large = request.body.len() >= LARGE;
        let mut log = self.log.lock().unwrap();
        log.requests.push(request.without_body());
        log.large += usize::from(is_large);
        log.most_large = log.most_large.max(log.large);
        self.arrived.notify_waiters();
        Counted(Arc::clone(self), is_large)
    }
}

/// A call that is under way.
struct Counted(Arc<State>, bool);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.log.lock().unwrap().large -= usize::from(self.1);
    }
}

/// What the client gets to read before its connection ends.
async fn suffer(fault: Fault, request: &Request, upstream: &str) -> io::Result<Vec<u8>> {
    Ok(match fault {
        Fault::Answer(status, body) => answer(status, &body),
        Fault::Refuse(status, code) => refusal(request, status, code),
        Fault::DropBefore => Vec::new(),
        Fault::DropAfter => {
            forward(upstream, request).await?;
            Vec::new()
        }
        Fault::CutAnswer => {
            let mut answer = forward(upstream, request).await?;
            answer.pop();
            answer
        }
        Fault::ErrorAfter => {
            forward(upstream, request).await?;
            refusal(request, 500, "InternalServerError")
        }
        Fault::Twice => {
            forward(upstream, request).await?;
            forward(upstream, request).await?
        }
        Fault::HoldBefore(gate) => {
            gate.pass().await;
            forward(upstream, request).await?
        }
        Fault::HoldAfter(gate) => {
            forward(upstream, request).await?;
            gate.pass().await;
            Vec::new()
        }
        Fault::Unprocessed => {
            let asked: Value = serde_json::from_slice(&request.body)?;
            let keys = &asked["RequestItems"];
            answer(200, &json!({"Responses": {}, "UnprocessedKeys": keys}))
        }
    })
}
