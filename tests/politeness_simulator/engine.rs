//! Discrete events on a virtual clock: workers over the real window code, hosts over their models.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::FutureExt;
use podrun::domain::OwnerId;
use podrun::politeness::{
    HostKey, HostLimits, HostWindows, MemoryHostWindows, Pace, Signal, Slot, SlotDecision, Waits,
    WindowError,
};
use podrun::runtime::clock::{Clock, ManualClock};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use url::Url;

use crate::hosts::{Host, Reply};

/// One way between a worker and a host.
const LATENCY: Duration = Duration::from_millis(50);
/// A body that brings less than a hundredth of its full speed for so long is given up.
const STALL_WINDOW: Duration = Duration::from_secs(60);

/// What happens at some moment; transfers and workers by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A worker asks for a slot for its next request.
    Ask(usize),
    /// A request reaches its host.
    Arrive(usize),
    /// An answer without a body reaches its worker.
    Answer(usize),
    /// A body may be complete, unless the host's speed has changed since.
    Complete(usize, u64),
    /// A slot is to be renewed.
    Renew(usize),
    /// A window of the stall rule ends.
    Watch(usize),
    /// Some workers die.
    Kill(usize),
    /// The queue gives an episode again that nobody settled.
    Redeliver(usize),
}

/// A request, and the body that follows.
struct Transfer {
    worker: usize,
    host: usize,
    slot: Slot,
    reply: Option<Reply>,
    asked_at: Duration,
    /// Seconds of full speed that are left, and that were left when the stall window began.
    left: f64,
    left_before: f64,
    is_over: bool,
}

/// What a worker is at.
#[derive(Clone, Copy)]
struct Worker {
    is_alive: bool,
    /// The episode, and which of its hops is next.
    work: Option<(usize, usize)>,
    waiting_since: Option<Duration>,
}

/// A whole run.
pub(crate) struct Simulation {
    /// Along the way of each episode: first the tracker, last the media host.
    pub(crate) hosts: Vec<Host>,
    /// Each episode's time at full speed, in seconds.
    pub(crate) bodies: Vec<f64>,
    /// When the last episode was complete.
    pub(crate) makespan: Duration,
    /// Transfers whose worker was killed.
    pub(crate) vanished: usize,
    windows: MemoryHostWindows,
    keys: Vec<HostKey>,
    clock: Arc<ManualClock>,
    start: DateTime<Utc>,
    now: Duration,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    sequence: u64,
    versions: Vec<u64>,
    /// The transfers whose bodies are on their way from each host.
    on_the_way: Vec<Vec<usize>>,
    changed_at: Vec<Duration>,
    workers: Vec<Worker>,
    queue: VecDeque<usize>,
    transfers: Vec<Transfer>,
    done: usize,
    owner: OwnerId,
    waits: Waits,
    random: StdRng,
}

impl Simulation {
    /// `workers` workers that all start in the first second; every episode takes the hosts in order.
    pub(crate) fn new(
        seed: u64,
        workers: usize,
        limit: u32,
        hosts: Vec<Host>,
        episodes: usize,
        seconds: (f64, f64),
    ) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let clock = Arc::new(ManualClock::default());
        let limits = format!("{{\"default_limit\": {limit}}}");
        let limits: HostLimits = serde_json::from_str(&limits).unwrap();
        let keys = (0..hosts.len())
            .map(|number| Url::parse(&format!("https://host{number}.example/")).unwrap())
            .map(|url| HostKey::of_url(&url, &limits).unwrap())
            .collect();
        let bodies = (0..episodes)
            .map(|_| random.random_range(seconds.0..=seconds.1))
            .collect();
        let mut simulation = Self {
            windows: MemoryHostWindows::seeded(limits, clock.clone(), seed),
            keys,
            start: clock.now(),
            clock,
            versions: vec![0; hosts.len()],
            on_the_way: vec![Vec::new(); hosts.len()],
            changed_at: vec![Duration::ZERO; hosts.len()],
            hosts,
            bodies,
            makespan: Duration::ZERO,
            vanished: 0,
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            sequence: 0,
            workers: vec![
                Worker {
                    is_alive: true,
                    work: None,
                    waiting_since: None
                };
                workers
            ],
            queue: (0..episodes).collect(),
            transfers: Vec::new(),
            done: 0,
            owner: OwnerId::generate("simulated"),
            waits: Waits::default(),
            random,
        };
        for worker in 0..workers {
            let at = Duration::from_secs_f64(simulation.random.random());
            simulation.at(at, Event::Ask(worker));
        }
        simulation
    }

    /// Lets the first `count` workers die at `at`.
    pub(crate) fn kill(&mut self, count: usize, at: Duration) {
        self.at(at, Event::Kill(count));
    }

    /// Runs until every episode is done. A run that would never end fails.
    pub(crate) fn run(&mut self) {
        while self.done < self.bodies.len() {
            let Reverse((at, _, event)) = self.events.pop().expect("somebody still works");
            assert!(at < Duration::from_secs(90 * 24 * 3600), "no end in sight");
            self.clock.advance(at - self.now);
            self.now = at;
            self.happen(event);
        }
    }

    /// A while after the end: how many slots of the last host can be had in `wanted` tries, a second
    /// each, before the first of them ends. A leaked slot would be missing.
    pub(crate) fn free_slots(&mut self, wanted: usize) -> usize {
        self.clock.advance(Duration::from_secs(24 * 3600));
        let last = self.keys.len() - 1;
        let free = (0..wanted).filter(|_| {
            self.clock.advance(Duration::from_secs(1));
            let acquired = self.acquire(last);
            matches!(acquired, SlotDecision::Granted(_))
        });
        free.count()
    }

    fn at(&mut self, at: Duration, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((at, self.sequence, event)));
    }

    fn after(&mut self, wait: Duration, event: Event) {
        self.at(self.now + wait, event);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Ask(worker) => self.ask(worker),
            Event::Arrive(transfer) => self.arrive(transfer),
            Event::Answer(transfer) => self.answer(transfer),
            Event::Complete(transfer, version) => {
                let host = self.transfers[transfer].host;
                if !self.transfers[transfer].is_over && self.versions[host] == version {
                    self.complete(transfer);
                }
            }
            Event::Renew(transfer) => self.renew(transfer),
            Event::Watch(transfer) => self.watch(transfer),
            Event::Kill(count) => self.kill_now(count),
            Event::Redeliver(episode) => self.queue.push_front(episode),
        }
    }

    fn acquire(&self, host: usize) -> SlotDecision {
        let acquired = self
            .windows
            .acquire(&self.keys[host], &self.owner, self.waits.slot_ttl);
        // Nothing in memory is waited for.
        acquired.now_or_never().unwrap().unwrap()
    }

    /// As the throttle does it: a full host is asked again for a minute, then left for a minute; a
    /// resting one is left until it is back.
    fn ask(&mut self, worker: usize) {
        if !self.workers[worker].is_alive {
            return;
        }
        if self.workers[worker].work.is_none() {
            self.workers[worker].work = self.queue.pop_front().map(|episode| (episode, 0));
        }
        let Some((episode, hop)) = self.workers[worker].work else {
            // Somebody may fail and leave work.
            return self.after(Duration::from_secs(5), Event::Ask(worker));
        };
        let spread = 1.0 + self.random.random::<f64>() / 4.0;
        match self.acquire(hop) {
            SlotDecision::Granted(slot) => {
                self.workers[worker].waiting_since = None;
                let number = self.transfers.len();
                self.transfers.push(Transfer {
                    worker,
                    host: hop,
                    slot,
                    reply: None,
                    asked_at: self.now,
                    left: self.bodies[episode],
                    left_before: self.bodies[episode],
                    is_over: false,
                });
                self.after(LATENCY, Event::Arrive(number));
                self.after(self.waits.slot_ttl / 3, Event::Renew(number));
            }
            SlotDecision::Full(wait) => {
                let since = *self.workers[worker].waiting_since.get_or_insert(self.now);
                let wait = match self.now - since < self.waits.max_wait {
                    true => wait.mul_f64(spread),
                    false => {
                        self.workers[worker].waiting_since = None;
                        self.waits.max_wait.mul_f64(spread)
                    }
                };
                self.after(wait, Event::Ask(worker));
            }
            SlotDecision::HeldOff(until) => {
                let at = (until - self.start).to_std().unwrap();
                let wait = (at - self.now) + Duration::from_secs_f64(spread - 1.0);
                self.after(wait, Event::Ask(worker));
            }
        }
    }

    fn arrive(&mut self, number: usize) {
        let Transfer { host, is_over, .. } = self.transfers[number];
        if is_over {
            return;
        }
        self.progress(host);
        let reply = self.hosts[host].arrive(self.now);
        self.transfers[number].reply = Some(reply);
        match reply {
            Reply::Serve => {
                self.on_the_way[host].push(number);
                self.after(STALL_WINDOW, Event::Watch(number));
            }
            Reply::Redirect | Reply::Refuse(..) => self.after(LATENCY, Event::Answer(number)),
        }
        self.reschedule(host);
    }

    /// Brings the bodies of a host up to now, at the speed that was.
    fn progress(&mut self, host: usize) {
        let elapsed = (self.now - self.changed_at[host]).as_secs_f64();
        let done = elapsed * self.hosts[host].speed();
        self.changed_at[host] = self.now;
        for number in self.on_the_way[host].clone() {
            self.transfers[number].left -= done;
        }
    }

    /// Computes anew when the bodies of a host will be complete.
    fn reschedule(&mut self, host: usize) {
        self.versions[host] += 1;
        let (version, speed) = (self.versions[host], self.hosts[host].speed());
        for number in self.on_the_way[host].clone() {
            let wait = Duration::from_secs_f64(self.transfers[number].left.max(0.0) / speed);
            self.after(wait, Event::Complete(number, version));
        }
    }

    fn answer(&mut self, number: usize) {
        let Transfer {
            worker,
            is_over,
            reply,
            ..
        } = self.transfers[number];
        if is_over {
            return;
        }
        let (episode, hop) = self.workers[worker].work.unwrap();
        let signal = match reply {
            Some(Reply::Redirect) => {
                self.workers[worker].work = Some((episode, hop + 1));
                Signal::Redirected
            }
            Some(Reply::Refuse(403, retry_after)) => {
                // Not the same ones again and again.
                let forbidden = self.workers[worker].work.take();
                self.queue.extend(forbidden.map(|(episode, _)| episode));
                let episode = episode as u64;
                Signal::Blocked {
                    episode,
                    retry_after,
                }
            }
            Some(Reply::Refuse(status, retry_after)) => {
                self.give_up(worker);
                Signal::Throttled {
                    status,
                    retry_after,
                }
            }
            _ => unreachable!("bodies are completed"),
        };
        self.end(number, signal);
        self.after(Duration::ZERO, Event::Ask(worker));
    }

    /// The episode goes back to the queue.
    fn give_up(&mut self, worker: usize) {
        if let Some((episode, _)) = self.workers[worker].work.take() {
            self.queue.push_front(episode);
        }
    }

    fn complete(&mut self, number: usize) {
        let transfer = &self.transfers[number];
        let (worker, took) = (transfer.worker, self.now - transfer.asked_at);
        let (episode, _) = self.workers[worker].work.take().unwrap();
        let bytes = self.bodies[episode] * 5e6;
        self.end(
            number,
            Signal::Served(Pace {
                first_byte: Some(2 * LATENCY),
                bytes_per_s: Some((bytes / took.as_secs_f64()) as u64),
            }),
        );
        self.done += 1;
        self.makespan = self.now;
        self.after(Duration::ZERO, Event::Ask(worker));
    }

    /// The host is through with a request, and the worker gives its slot back.
    fn end(&mut self, number: usize, signal: Signal) {
        let slot = self.transfers[number].slot.clone();
        self.vanish(number);
        self.windows
            .release(slot, signal)
            .now_or_never()
            .unwrap()
            .unwrap();
    }

    /// A connection ends.
    fn vanish(&mut self, number: usize) {
        let host = self.transfers[number].host;
        self.progress(host);
        self.transfers[number].is_over = true;
        self.on_the_way[host].retain(|other| *other != number);
        if self.transfers[number].reply.is_some() {
            self.hosts[host].leave();
        }
        self.reschedule(host);
    }

    fn renew(&mut self, number: usize) {
        if self.transfers[number].is_over {
            return;
        }
        let slot = self.transfers[number].slot.clone();
        let renewed = self.windows.renew(&slot, self.waits.slot_ttl);
        match renewed.now_or_never().unwrap() {
            Ok(()) => self.after(self.waits.slot_ttl / 3, Event::Renew(number)),
            Err(WindowError::SlotLost { host }) => panic!("a living slot of {host} was lost"),
            Err(other) => panic!("{other}"),
        }
    }

    fn watch(&mut self, number: usize) {
        if self.transfers[number].is_over {
            return;
        }
        self.progress(self.transfers[number].host);
        let transfer = &mut self.transfers[number];
        let done = transfer.left_before - transfer.left;
        transfer.left_before = transfer.left;
        if done >= STALL_WINDOW.as_secs_f64() / 100.0 {
            return self.after(STALL_WINDOW, Event::Watch(number));
        }
        let (worker, host) = (transfer.worker, transfer.host);
        self.hosts[host].stalls += 1;
        self.give_up(worker);
        self.end(number, Signal::BrokenOff);
        self.after(Duration::ZERO, Event::Ask(worker));
    }

    fn kill_now(&mut self, count: usize) {
        for worker in 0..count {
            self.workers[worker].is_alive = false;
            if let Some((episode, _)) = self.workers[worker].work.take() {
                self.after(self.waits.slot_ttl, Event::Redeliver(episode));
            }
        }
        for number in 0..self.transfers.len() {
            let transfer = &self.transfers[number];
            if transfer.worker < count && !transfer.is_over {
                self.vanished += 1;
                self.vanish(number);
            }
        }
    }
}
