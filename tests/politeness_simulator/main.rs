//! The host windows against hosts that refuse, block, crawl and forbid, in virtual time.
//!
//! Each scenario prints a line of its table:
//! `cargo nextest run --workspace --test politeness_simulator --no-capture`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says what it saw"
)]

mod engine;
mod hosts;

use std::time::Duration;

use engine::Simulation;
use hosts::{Host, Model};

const WORKERS: usize = 80;
/// Every scenario is run with each of them, so that none is met by luck.
const SEEDS: [u64; 3] = [1, 2, 3];
/// A limit that is no help: what keeps the host's own limit is the window.
const WIDE: u32 = 32;
const EPISODES: usize = 1000;
/// Bodies at full speed, in seconds: 60 MB on average at 1.2 MB/s.
const BODIES: (f64, f64) = (20.0, 80.0);

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

/// The runs of a scenario, one a seed.
struct Outcome {
    runs: Vec<Run>,
}

struct Run {
    simulation: Simulation,
    /// Makespan over the critical path: what the slowest host needs when it is always kept exactly full,
    /// and the time for which it forbade everything by its own word, which nobody could have used.
    ratio: f64,
}

impl Run {
    /// Where the bodies come from.
    fn host(&self) -> &Host {
        self.simulation.hosts.last().unwrap()
    }

    fn share(&self) -> f64 {
        let shares = self.simulation.hosts.iter().map(|host| host.worst_share);
        shares.fold(0.0, f64::max)
    }

    fn throttles(&self) -> usize {
        self.simulation
            .hosts
            .iter()
            .map(|host| host.throttles)
            .sum()
    }

    /// What every run has to hold. `limit` is the most that the host serves at once.
    fn check(&self, limit: usize) {
        assert!(self.share() < 0.01, "429 share {}", self.share());
        for host in &self.simulation.hosts {
            assert_eq!(host.intrusions, 0, "starts before the end of a rest");
        }
        let most = self.host().most_in_flight;
        assert!(most <= limit + 1, "{most} at once at a limit of {limit}");
        let ratio = self.ratio;
        assert!(ratio <= 1.15, "makespan over critical path {ratio}");
    }
}

impl Outcome {
    /// Runs what `simulation` makes of each seed to its end. `critical` tells how many seconds the
    /// slowest host needs, from the seconds of all bodies.
    fn of(simulation: impl Fn(u64) -> Simulation, critical: impl Fn(f64) -> f64) -> Self {
        let runs = SEEDS.iter().map(|seed| {
            let mut simulation = simulation(*seed);
            simulation.run();
            let work: f64 = simulation.bodies.iter().sum();
            let forbidden = simulation.hosts.last().unwrap().forbidden;
            let critical = critical(work) + forbidden.as_secs_f64();
            let ratio = simulation.makespan.as_secs_f64() / critical;
            Run { simulation, ratio }
        });
        let runs = runs.collect();
        Self { runs }
    }

    /// Prints the worst of the runs and checks all of them.
    fn check(&self, name: &str, limit: usize) {
        let most = |of: &dyn Fn(&Run) -> usize| self.runs.iter().map(of).max().unwrap();
        let worst = |of: &dyn Fn(&Run) -> f64| self.runs.iter().map(of).fold(0.0, f64::max);
        println!(
            "| {name} | {} | {} | {:.2} % | {} | {} | {:.3} |",
            most(&|run| run.host().most_in_flight),
            most(&|run| run.throttles()),
            worst(&|run| run.share()) * 100.0,
            most(&|run| run.host().blocks),
            most(&|run| run.host().stalls),
            worst(&|run| run.ratio),
        );
        for run in &self.runs {
            run.check(limit);
        }
    }
}

/// One host with `limit` as its promised limit.
fn single(limit: u32, model: Model) -> impl Fn(u64) -> Simulation {
    move |seed| {
        Simulation::new(
            seed,
            WORKERS,
            limit,
            vec![Host::new(model)],
            EPISODES,
            BODIES,
        )
    }
}

/// 429 beyond `limit` at once.
fn hidden(limit: usize) {
    let run = Outcome::of(single(WIDE, Model::Limit(limit)), |work| {
        work / limit as f64
    });
    run.check(&format!("429 beyond {limit}"), limit);
}

#[test]
fn a_hidden_limit_of_1_is_found_and_kept() {
    hidden(1);
}

#[test]
fn a_hidden_limit_of_2_is_found_and_kept() {
    hidden(2);
}

#[test]
fn a_hidden_limit_of_4_is_found_and_kept() {
    hidden(4);
}

#[test]
fn a_hidden_limit_of_8_is_found_and_kept() {
    hidden(8);
}

#[test]
fn a_hidden_limit_of_16_is_found_and_kept() {
    hidden(16);
}

#[test]
fn a_promised_limit_is_never_passed_however_generous_the_host() {
    let run = Outcome::of(single(5, Model::Limit(16)), |work| work / 5.0);
    // One less, as a window that nobody promises anything for may pass its host's limit by one.
    run.check("429 beyond 16, promised 5", 4);
    assert!(run.runs.iter().all(|run| run.throttles() == 0));
}

#[test]
fn a_limit_that_drops_in_mid_run_is_followed() {
    let at = minutes(60);
    let model = Model::Drop {
        before: 8,
        at,
        after: 3,
    };
    let run = Outcome::of(single(WIDE, model), |work| {
        let before = at.as_secs_f64();
        before + (work - 8.0 * before) / 3.0
    });
    run.check("429 beyond 8, after an hour beyond 3", 8);
}

#[test]
fn case_084_a_host_that_blocks_is_left_alone_and_provoked_once() {
    let model = Model::Blocker {
        limit: 4,
        block: minutes(20),
    };
    let run = Outcome::of(single(WIDE, model), |work| work / 4.0);
    run.check("403 for 20 min beyond 4", 4);
    // Five episodes open the breaker, and that is all.
    assert!(run.runs.iter().all(|run| run.host().blocks == 5));
}

#[test]
fn case_085_a_host_that_slows_to_a_crawl_is_pressed_less() {
    let run = Outcome::of(single(WIDE, Model::Crawler { limit: 4 }), |work| work / 4.0);
    run.check("crawl beyond 4", 4);
}

#[test]
fn case_083_a_tracker_that_throttles_costs_the_media_host_nothing() {
    let simulation = |seed| {
        let tracker = Host::new(Model::Tracker {
            throttles_at: minutes(60),
            rest: minutes(5),
        });
        let media = Host::new(Model::Limit(4));
        Simulation::new(seed, WORKERS, WIDE, vec![tracker, media], EPISODES, BODIES)
    };
    let run = Outcome::of(simulation, |work| work / 4.0);
    run.check("tracker, 429 once, before 429 beyond 4", 4);
    for run in &run.runs {
        let throttles = run.simulation.hosts.iter().map(|host| host.throttles);
        // As many as without the tracker.
        assert_eq!(throttles.collect::<Vec<_>>(), [1, 3]);
    }
}

#[test]
fn a_wait_that_a_host_asks_for_is_kept_by_all() {
    let model = Model::RetryAfter {
        limit: 4,
        rest: minutes(2),
        closed: (minutes(90), minutes(105)),
    };
    let run = Outcome::of(single(WIDE, model), |work| work / 4.0);
    run.check("429 for 2 min beyond 4, 503 for 15 min", 4);
    let closed = |run: &Run| run.host().forbidden >= minutes(15);
    assert!(
        run.runs.iter().all(closed),
        "it was never asked while it was closed"
    );
}

/// A token every so many seconds, ten of them kept.
fn counting(seconds: u64) {
    let every = Duration::from_secs(seconds);
    let model = Model::Tokens { every, burst: 10 };
    let run = Outcome::of(single(WIDE, model), |_| {
        (EPISODES - 10) as f64 * every.as_secs_f64()
    });
    run.check(&format!("429 over one request in {seconds} s"), WORKERS);
}

#[test]
fn a_host_that_counts_requests_is_not_overrun() {
    counting(7);
    counting(10);
    counting(60);
}

#[test]
fn case_087_no_slot_leaks_when_a_third_of_the_workers_is_killed() {
    let simulation = |seed| {
        let mut simulation = single(WIDE, Model::Limit(4))(seed);
        for hour in 1..=3 {
            simulation.kill(8 * hour, minutes(60 * hour as u64));
        }
        simulation
    };
    let mut run = Outcome::of(simulation, |work| work / 4.0);
    run.check("429 beyond 4, 24 workers killed", 4);
    for run in &mut run.runs {
        assert!(run.simulation.vanished > 0, "nobody was killed at work");
        let free = run.simulation.free_slots(20);
        assert!((4..=5).contains(&free), "{free} slots are free");
    }
}
