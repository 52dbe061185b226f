//! Forty processes share one data directory, and the hosts' own logs tell whether they were polite.

use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::context::Context;
use crate::limited_host::{LimitedHost, Log};
use crate::rude_server::{RudeServer, response};
use crate::web::rss;

const PROCESSES: usize = 40;
const EPISODES_PER_HOST: usize = 30;
/// The most that a host without a promised limit is asked for; more than what it bears.
const WIDE: usize = 12;

#[test]
fn forty_processes_keep_the_limits_of_all_hosts_together() {
    let body = silence();
    // The first two have promised limits and would bear more. The third has a secret, and takes so long
    // that its window fills on a busy machine too.
    let hosts = [(2, WIDE, 600), (3, WIDE, 600), (4, 3, 1000)].map(|(number, limit, takes)| {
        let takes = Duration::from_millis(takes);
        LimitedHost::start(number, limit, takes, body.clone())
    });
    let feed = feed(&hosts, body.len() as u64);
    let feed = RudeServer::start(move |_| response("200 OK", "text/xml", feed.as_bytes()));
    let context = Context::new();
    context.write(
        "podrun.toml",
        format!(
            "[http]\nallow_private_addresses = true\n\n\
             [politeness]\ndefault_limit = {WIDE}\nstart_spacing_ms = 50\n\n\
             [politeness.groups.\"127.0.0.2\"]\nlimit = 2\n\n\
             [politeness.groups.\"127.0.0.3\"]\nlimit = 5\n"
        ),
    );
    context.catalog(&[("show", &feed.url("feed.xml"))]);

    let mut processes = vec![context.start_watched(&["fetch", "--concurrency", "1", "--json"])];
    wait_until_queued(&context);
    let worker = ["worker", "fetch", "--concurrency", "2", "--json"];
    processes.extend((1..PROCESSES).map(|_| context.start_watched(&worker)));
    let done: Vec<u64> = processes.into_iter().map(finish).collect();

    assert_eq!(done.iter().sum::<u64>(), 3 * EPISODES_PER_HOST as u64);
    let busy = done.iter().filter(|done| **done > 0).count();
    assert!(busy >= 10, "only {busy} processes had something to do");
    let logs = hosts.map(|host| host.log());
    // A host that bears more than was promised never refuses, however busy the machine is; of the
    // third's answers one in ten may be a refusal.
    for (log, (promised, refusals)) in logs.iter().zip([(2, 0), (5, 0), (4, 3)]) {
        println!(
            "at most {} at once, {} served, {} refused",
            log.most_in_flight,
            log.served,
            log.refusals.len()
        );
        assert!(log.most_in_flight <= promised, "{log:#?}");
        assert!(log.refusals.len() <= refusals, "{log:#?}");
        // More where a transfer was broken off and made again.
        assert!(log.served >= EPISODES_PER_HOST, "{log:#?}");
        assert_rested(log);
    }
    // Without this the third host's limit would not have been met at all.
    assert!(!logs[2].refusals.is_empty());
}

/// Ten seconds of MPEG frames (layer III, 128 kbit/s, 44.1 kHz) without content.
fn silence() -> Vec<u8> {
    let mut frame = [0x55; 417];
    frame[..4].copy_from_slice(&[0xff, 0xfb, 0x90, 0x00]);
    frame.repeat(383)
}

fn feed(hosts: &[LimitedHost], size: u64) -> String {
    let mut items = Vec::new();
    for number in 0..EPISODES_PER_HOST {
        for (at, host) in hosts.iter().enumerate() {
            let guid = format!("{at}-{number}");
            let url = host.url(&format!("{guid}.mp3"));
            items.push((guid.clone(), guid, url, size));
        }
    }
    rss(&items)
}

/// Fifteen seconds pass after a refusal. What was under way when it was said comes in still.
fn assert_rested(log: &Log) {
    let under_way = Duration::from_secs(5);
    for refusal in &log.refusals {
        let early = log.requests.iter().filter(|request| {
            let after = request.saturating_duration_since(*refusal);
            after > under_way && after < Duration::from_secs(14)
        });
        assert_eq!(early.count(), 0, "requests to a host that rests: {log:#?}");
    }
}

/// Workers that come before the work end at once.
fn wait_until_queued(context: &Context) {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(30) {
        let ran = context.podrun(&["status", "--json"]);
        if ran.code == Some(0) {
            let ready = &ran.json()["stages"][0]["queue"]["ready"];
            if ready.as_u64().expect("the status has this number") > 0 {
                return;
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("nothing was queued");
}

/// How many episodes a process fetched. That it left some to the others is no failure.
fn finish(process: Child) -> u64 {
    let output = process.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let code = output.status.code();
    assert!(matches!(code, Some(0 | 75)), "{code:?}: {output:?}");
    let summary: Value = serde_json::from_str(&said).unwrap();
    summary["done"].as_u64().unwrap()
}
