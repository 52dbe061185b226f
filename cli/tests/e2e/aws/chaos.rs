//! Everything that goes wrong in an account, at once and at random: workers killed, paused and taken
//! back, messages delivered twice, calls throttled, refused and left without an answer, the services
//! started anew. In the end every episode is there exactly once.
//!
//! `PODRUN_CHAOS_EPISODES=1000` makes it as large as a real run; `PODRUN_SEED` repeats its choices.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::pipeline::{Show, context, guid, serve, sha256};
use super::stand_in::StandIn;
use crate::context::Context;
use crate::web::rss;

/// Of the episodes, so many are dead links.
const DEAD_LINKS: usize = 5;

/// And so many are too large for one part of an upload.
const LARGE: usize = 6;

/// Runs until nothing is left; faults end after half of them at the latest.
const MOST_RUNS: usize = 12;

/// Small steps of a linear congruential generator (Knuth's MMIX constants).
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let seed = std::env::var("PODRUN_SEED").ok();
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seed = seed.map_or(clock.unwrap().as_millis() as u64, |seed| {
            seed.parse().unwrap()
        });
        println!("PODRUN_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// A feed of `episodes`, some of them large, some of them gone.
fn show(episodes: usize) -> Show {
    let mut show = serve(episodes);
    let mut items = Vec::new();
    for number in 0..episodes {
        let path = show.root.path().join(format!("{number}.mp3"));
        let url = show.web.url(&format!("{number}.mp3"));
        if number < DEAD_LINKS {
            fs::remove_file(&path).unwrap();
            show.digests.remove(&guid(number));
        } else if number < DEAD_LINKS + LARGE {
            let once = fs::read(&path).unwrap();
            let often = once.repeat((20 << 20) / once.len() + 1);
            fs::write(&path, &often).unwrap();
            show.digests.insert(guid(number), sha256(&often));
        }
        items.push((guid(number), format!("Episode {number}"), url, 0));
    }
    fs::write(show.root.path().join("feed.xml"), rss(&items)).unwrap();
    show
}

fn post(url: &str, body: &Value) {
    let status = std::process::Command::new("curl")
        .args([
            "--silent",
            "--fail",
            "--output",
            "/dev/null",
            "--data",
            &body.to_string(),
            url,
        ])
        .status();
    assert!(status.unwrap().success(), "{url} {body}");
}

fn rules(dice: &mut Dice) -> Vec<Value> {
    let mut rule = |service: &str, action: &str, probability: f64, more: Value| {
        let mut rule = json!({
            "service": service, "action": action, "probability": probability, "seed": dice.below(1 << 30),
        });
        let fields = rule.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        rule
    };
    vec![
        rule("sqs", "duplicate", 0.1, json!({})),
        rule("*", "drop_after", 0.01, json!({})),
        rule("*", "drop_before", 0.01, json!({})),
        rule("*", "throttle", 0.02, json!({})),
        rule(
            "*",
            "error",
            0.02,
            json!({"status": 500, "code": "InternalError"}),
        ),
        rule(
            "s3",
            "drop_during",
            0.05,
            json!({"operation": "UploadPart", "bytes": 100_000}),
        ),
        rule("*", "delay", 0.02, json!({"seconds": 2.0})),
    ]
}

/// One thing goes wrong with the workers, or with the services.
fn strike(stand_in: &mut StandIn, dice: &mut Dice, paused: &mut bool) {
    let batch = stand_in.server("batch").to_owned();
    let seed = dice.below(1 << 30);
    let signal = |name: &str| {
        let body = json!({"count": 1, "seed": seed, "signal": name});
        post(&format!("{batch}/_local/signal"), &body);
    };
    match dice.below(10) {
        0..4 => signal("KILL"),
        4 | 5 => signal("TERM"),
        6 => {
            let body = json!({"count": 1, "seed": seed});
            post(&format!("{batch}/_local/interrupt"), &body);
        }
        // For longer than its leases last.
        7 | 8 if !*paused => {
            signal("STOP");
            *paused = true;
        }
        9 => stand_in.restart("ministack"),
        _ => {
            let body = json!({"signal": "CONT"});
            post(&format!("{batch}/_local/signal"), &body);
            *paused = false;
        }
    }
}

#[test]
fn every_episode_is_there_exactly_once_whatever_goes_wrong() {
    let episodes = std::env::var("PODRUN_CHAOS_EPISODES").ok();
    let episodes: usize = episodes.map_or(100, |number| number.parse().unwrap());
    let mut dice = Dice::new();
    let show = show(episodes);
    let mut stand_in = StandIn::start(&["--faults", "--persist", "--batch", "slots=6"]);
    let context = context(
        &show,
        "[aws]\nlease_s = 10\n[aws.fetch]\njob_queue = \"podrun-fetch\"\n\
         job_definition = \"podrun-fetch\"\nepisodes_per_worker = 10\nmax_workers = 6\n",
    );
    let started = Instant::now();
    for run in 0..MOST_RUNS {
        let is_rough = run < MOST_RUNS / 2;
        let proxy = format!("{}/_faults/rules", stand_in.server("ministack-faults"));
        let rules = if is_rough {
            rules(&mut dice)
        } else {
            Vec::new()
        };
        put_rules(&proxy, &rules);
        let code = run_once(&context, &mut stand_in, &mut dice, is_rough);
        let left = stand_in.facts(&["queues"])["queues"]["fetch"]
            .as_u64()
            .unwrap();
        println!(
            "run {run}: exit code {code:?}, {left} left, {:.0} s",
            started.elapsed().as_secs_f64()
        );
        if left == 0 && matches!(code, Some(0 | 3)) {
            break;
        }
    }
    check(&stand_in, &show, episodes);
}

fn put_rules(proxy: &str, rules: &[Value]) {
    let status = std::process::Command::new("curl")
        .args([
            "--silent",
            "--fail",
            "--output",
            "/dev/null",
            "--request",
            "PUT",
            "--data",
        ])
        .args([&json!(rules).to_string(), proxy])
        .status();
    assert!(status.unwrap().success(), "{proxy}");
}

/// Fetches what is left, and strikes the while.
fn run_once(
    context: &Context,
    stand_in: &mut StandIn,
    dice: &mut Dice,
    is_rough: bool,
) -> Option<i32> {
    let mut run = stand_in.start_podrun(context, &["fetch", "--wait", "--json"]);
    let mut paused = false;
    let mut next = Instant::now() + Duration::from_secs(2);
    loop {
        if let Some(status) = run.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(100));
        if is_rough && Instant::now() >= next {
            strike(stand_in, dice, &mut paused);
            next = Instant::now() + Duration::from_millis(500 + dice.below(3_000));
        }
    }
}

fn check(stand_in: &StandIn, show: &Show, episodes: usize) {
    let facts = stand_in.facts(&["raw", "queues", "states"]);
    let raw = &facts["raw"];
    assert_eq!(raw["metas"], json!(show.digests), "{}", stand_in.logs());
    assert_eq!(raw["audio"], json!(show.digests));
    assert_eq!(
        raw["objects"],
        2 * show.digests.len(),
        "nothing but audio and metas"
    );
    assert_eq!(raw["uploads"], 0, "no upload is left half done");
    let expected: BTreeMap<_, _> = [
        ("fetch done", episodes - DEAD_LINKS),
        ("fetch failed", DEAD_LINKS),
    ]
    .into();
    assert_eq!(facts["states"], json!(expected));
    assert_eq!(facts["queues"]["fetch"], 0);
    // The copy of one whose worker was killed in between may be missing; its checkpoint says why it failed.
    let set_aside = stand_in.facts(&["dead_letters"]);
    let set_aside = set_aside["dead_letters"].as_array().unwrap();
    let dead_links: Vec<_> = (0..DEAD_LINKS).map(guid).collect();
    let is_dead = |found: &Value| dead_links.iter().any(|link| found == link);
    assert!(set_aside.iter().all(is_dead), "{set_aside:?}");
    assert!(!set_aside.is_empty());
}
