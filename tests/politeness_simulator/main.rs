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
/// A limit that is no help: what keeps the host's own limit is the window.
const WIDE: u32 = 32;
/// Bodies at full speed, in seconds: 60 MB on average at 1.2 MB/s.
const BODIES: (f64, f64) = (20.0, 80.0);

fn seed() -> u64 { std::env::var("SEED").map_or(7, |s| s.parse().unwrap()) }
fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

/// A run over, with the time that nobody can be faster than.
struct Outcome {
    simulation: Simulation,
    ratio: f64,
}

impl Outcome {
    fn host(&self) -> &Host {
        self.simulation.hosts.last().unwrap()
    }

    /// What every run has to hold. `limit` is the most that the host serves at once.
    fn check(&self, limit: usize) {
        for host in &self.simulation.hosts {
            assert!(host.worst_share < 0.01, "429 share {}", host.worst_share);
            assert_eq!(host.intrusions, 0, "starts before the end of a rest");
        }
        let most = self.host().most_in_flight;
        assert!(most <= limit + 1, "{most} at once at a limit of {limit}");
        assert!(self.ratio <= 1.15, "makespan over critical path {}", self.ratio);
    }
}

/// Runs `episodes` through `hosts` to the end. `critical` tells the critical path in seconds from all
/// the bodies' seconds: what the slowest host needs when it is always kept exactly full. The time that
/// hosts forbid by their own word comes on top: nobody could have used it.
fn run(
    name: &str,
    mut simulation: Simulation,
    critical: impl Fn(f64) -> f64,
) -> Outcome {
    simulation.run();
    let work: f64 = simulation.bodies.iter().sum();
    let forbidden: Duration = simulation.hosts.iter().map(|host| host.forbidden).sum();
    let critical = critical(work) + forbidden.as_secs_f64();
    let ratio = simulation.makespan.as_secs_f64() / critical;
    let host = simulation.hosts.last().unwrap();
    println!(
        "| {name} | {} | {} | {} | {:.2} % | {} | {} | {:.0} | {:.0} | {ratio:.3} |",
        simulation.bodies.len(),
        host.most_in_flight,
        simulation.hosts.iter().map(|host| host.throttles).sum::<usize>(),
        simulation.hosts.iter().map(|host| host.worst_share).fold(0.0, f64::max) * 100.0,
        host.blocks,
        host.stalls,
        critical,
        simulation.makespan.as_secs_f64(),
    );
    Outcome { simulation, ratio }
}

fn simulation(limit: u32, model: Model, episodes: usize) -> Simulation {
    Simulation::new(seed(), WORKERS, limit, vec![Host::new(model)], episodes, BODIES)
}

/// 429 beyond `limit` at once.
fn hidden(limit: usize, episodes: usize) {
    let simulation = simulation(WIDE, Model::Limit(limit), episodes);
    let name = format!("limit of {limit}");
    run(&name, simulation, |work| work / limit as f64).check(limit);
}

#[test]
fn a_hidden_limit_of_1_is_found_and_kept() {
    hidden(1, 1000);
}

#[test]
fn a_hidden_limit_of_2_is_found_and_kept() {
    hidden(2, 1000);
}

#[test]
fn a_hidden_limit_of_4_is_found_and_kept() {
    hidden(4, 1000);
}

#[test]
fn a_hidden_limit_of_8_is_found_and_kept() {
    hidden(8, 1000);
}

#[test]
fn a_hidden_limit_of_16_is_found_and_kept() {
    hidden(16, 1000);
}

#[test]
fn a_promised_limit_is_never_passed_however_generous_the_host() {
    let run = run(
        "limit of 16, promised 5",
        simulation(5, Model::Limit(16), 1000),
        |work| work / 5.0,
    );
    run.check(4);
    assert_eq!(run.host().throttles, 0);
}

#[test]
fn a_limit_that_drops_in_mid_run_is_followed() {
    let at = minutes(60);
    let model = Model::Drop {
        before: 8,
        at,
        after: 3,
    };
    let run = run("limit drops from 8 to 3", simulation(WIDE, model, 1000), |work| {
        let before = at.as_secs_f64();
        before + (work - 8.0 * before) / 3.0
    });
    run.check(8);
}

#[test]
fn case_084_a_host_that_blocks_is_left_alone_and_provoked_once() {
    let model = Model::Blocker {
        limit: 4,
        block: minutes(20),
    };
    let run = run("403 beyond 4", simulation(WIDE, model, 1000), |work| work / 4.0);
    run.check(4);
    // Five episodes open the breaker; one that was on its way may follow.
    assert!(run.host().blocks <= 6, "{} blocks", run.host().blocks);
}

#[test]
fn case_085_a_host_that_slows_to_a_crawl_is_pressed_less() {
    let model = Model::Crawler { limit: 4 };
    let run = run("crawl beyond 4", simulation(WIDE, model, 1000), |work| work / 4.0);
    run.check(4);
}

#[test]
fn case_083_a_tracker_that_throttles_costs_the_media_host_nothing() {
    let tracker = Host::new(Model::Tracker {
        throttles_at: minutes(60),
        rest: minutes(5),
    });
    let media = Host::new(Model::Limit(4));
    let simulation = Simulation::new(seed(), WORKERS, WIDE, vec![tracker, media], 1000, BODIES);
    let run = run("tracker before limit of 4", simulation, |work| work / 4.0);
    run.check(4);
    let [tracker, media] = &run.simulation.hosts[..] else {
        panic!("two hosts")
    };
    assert_eq!((tracker.throttles, media.intrusions), (1, 0));
}

#[test]
fn a_wait_that_a_host_asks_for_is_kept_by_all() {
    let model = Model::RetryAfter {
        limit: 4,
        rest: minutes(2),
        closed: (minutes(90), minutes(105)),
    };
    let run = run("Retry-After beyond 4", simulation(WIDE, model, 1000), |work| work / 4.0);
    run.check(4);
    assert!(run.host().forbidden >= minutes(15));
}

#[test]
fn a_host_that_counts_requests_is_not_overrun() {
    let every = seconds(10);
    let model = Model::Tokens { every, burst: 10 };
    let run = run("6 requests a minute", simulation(WIDE, model, 1000), |_| {
        990.0 * every.as_secs_f64()
    });
    run.check(WORKERS);
}

#[test]
fn case_087_no_slot_leaks_when_a_third_of_the_workers_is_killed() {
    let mut simulation = simulation(WIDE, Model::Limit(4), 1000);
    for hour in 1..=3 {
        simulation.kill(8 * hour, minutes(60 * hour as u64));
    }
    let mut run = run("limit of 4, 24 killed", simulation, |work| work / 4.0);
    run.check(4);
    let free = run.simulation.free_slots(20);
    assert!((4..=5).contains(&free), "{free} slots are free");
}
