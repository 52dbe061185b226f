//! Two hundred episodes: planned here, fetched and transcribed by eight workers each, looked at by
//! boto3.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::stand_in::StandIn;
use crate::context::{Context, fixture_model};
use crate::speech;
use crate::web::{Nginx, rss};
use crate::wer::word_error_rate;

const EPISODES: usize = 200;

/// A served feed of so many spoken episodes, and the digest of each one's audio.
pub(super) struct Show {
    pub(super) web: Nginx,
    pub(super) root: tempfile::TempDir,
    pub(super) digests: BTreeMap<String, String>,
}

/// Serves `count` episodes of fifty different ones.
pub(super) fn serve(count: usize) -> Show {
    let root = tempfile::tempdir().unwrap();
    let web = Nginx::serve(root.path(), None);
    let mut digests = BTreeMap::new();
    let items: Vec<_> = (0..count)
        .map(|number| {
            let spoken = &speech::fifty()[number % 50];
            let name = format!("{number}.mp3");
            let audio = fs::read(&spoken.audio).unwrap();
            fs::write(root.path().join(&name), &audio).unwrap();
            digests.insert(guid(number), sha256(&audio));
            let title = format!("Episode {number}");
            (guid(number), title, web.url(&name), audio.len() as u64)
        })
        .collect();
    fs::write(root.path().join("feed.xml"), rss(&items)).unwrap();
    Show { web, root, digests }
}

pub(super) fn guid(number: usize) -> String {
    format!("guid-{number}")
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Settings under which one loopback host may be asked quickly, by the workers too.
pub(super) fn context(show: &Show, aws: &str) -> Context {
    let context = Context::new();
    let settings = context.read("podrun.toml");
    context.write("podrun.toml", format!("{settings}\n{aws}"));
    context.catalog(&[("show", &show.web.url("feed.xml"))]);
    context
}

#[test]
fn two_hundred_episodes_by_eight_workers() {
    let show = serve(EPISODES);
    let stand_in = StandIn::start(&["--batch", "slots=8"]);
    let fleet = |name: &str| {
        format!(
            "[aws.{name}]\njob_queue = \"podrun-{name}\"\njob_definition = \"podrun-{name}\"\n\
             episodes_per_worker = 25\nmax_workers = 8\n"
        )
    };
    let fleets = fleet("fetch") + &fleet("transcribe");
    let context = context(&show, &fleets);

    let dry = stand_in.podrun(
        &context,
        &["fetch", "--limit", "200", "--dry-run", "--json"],
    );
    assert_eq!(dry.expect_code(0).json()["planned"], EPISODES);
    assert_eq!(
        stand_in.facts(&["raw", "states", "jobs"])["jobs"],
        json!([])
    );

    let fetched = stand_in.podrun(&context, &["fetch", "--limit", "200", "--wait", "--json"]);
    assert_eq!(fetched.code, Some(0), "{fetched:#?}\n{}", stand_in.logs());
    let fetched = fetched.json();
    assert_eq!(
        (&fetched["done"], &fetched["failed"]),
        (&json!(EPISODES), &json!(0)),
        "{fetched:#}"
    );
    let facts = stand_in.facts(&[]);
    assert_eq!(facts["raw"]["audio"], json!(show.digests));
    assert_eq!(facts["raw"]["metas"], json!(show.digests));
    assert_eq!(facts["raw"]["objects"], 2 * EPISODES);
    assert_eq!(facts["states"], json!({"fetch done": EPISODES}));
    assert_run(&facts, &fetched, "fetch");
    // One point an episode and bucket of a minute, from eight workers; and one a worker at least.
    let transferred = facts["metrics"]["GBTransferred fetch"][0].as_f64().unwrap();
    let served: u64 = (0..EPISODES).map(|number| size(&show, number)).sum();
    assert!(
        (transferred * 1e9 - served as f64).abs() < 1.0,
        "{transferred} GB of {served}"
    );

    let run = fetched["run"].as_str().unwrap();
    let status = stand_in
        .podrun(&context, &["status", run, "--json"])
        .expect_code(0)
        .json();
    assert_eq!(status["run"]["job"]["succeeded"], 8, "{status:#}");

    let model = fixture_model();
    let flags = [
        "transcribe",
        "--wait",
        "--json",
        "--beam-size",
        "1",
        "--threads",
        "1",
        "--model",
    ];
    let heard = stand_in.podrun(&context, &[&flags[..], &[&model]].concat());
    assert_eq!(heard.code, Some(0), "{heard:#?}\n{}", stand_in.logs());
    let heard = heard.json();
    assert_eq!(heard["done"], EPISODES, "{heard:#}");
    let facts = stand_in.facts(&["staged", "states", "queues", "jobs", "metrics"]);
    let expected = [
        "transcripts/transcript.json",
        "transcripts/transcript.vtt",
        "segments/segments.json",
        "kpis/kpis.json",
    ];
    let expected: BTreeMap<_, _> = expected.into_iter().map(|name| (name, EPISODES)).collect();
    assert_eq!(facts["staged"]["objects"], json!(expected));
    assert_eq!(
        facts["states"],
        json!({"fetch done": EPISODES, "transcribe done": EPISODES})
    );
    assert_run(&facts, &heard, "transcribe");
    let seconds = facts["metrics"]["AudioSeconds whisper-fixture"][1].as_f64();
    assert_eq!(seconds, Some(EPISODES as f64), "{:#}", facts["metrics"]);
    let (mut spoken, mut said) = (String::new(), String::new());
    for number in 0..EPISODES {
        spoken += &format!(" {}", speech::fifty()[number % 50].words);
        said += &format!(
            " {}",
            facts["staged"]["texts"][guid(number)].as_str().unwrap()
        );
    }
    let errors = word_error_rate(&spoken, &said);
    assert!(errors < 0.05, "{errors}");

    let again = stand_in
        .podrun(&context, &["fetch", "--json"])
        .expect_code(0)
        .json();
    assert_eq!(
        (&again["planned"], &again["present"]),
        (&json!(0), &json!(EPISODES))
    );
}

fn size(show: &Show, number: usize) -> u64 {
    let file = show.root.path().join(format!("{number}.mp3"));
    fs::metadata(file).unwrap().len()
}

/// Its job was one array of eight that ended well, and nothing is left in its queues.
fn assert_run(facts: &Value, summary: &Value, stage: &str) {
    let jobs = facts["jobs"].as_array().unwrap();
    let job = jobs.iter().find(|job| job["name"] == summary["run"]);
    let expected = json!({"name": summary["run"], "status": "SUCCEEDED", "size": 8});
    assert_eq!(job, Some(&expected));
    for queue in [stage.to_owned(), format!("{stage}-dlq")] {
        assert_eq!(facts["queues"][&queue], 0, "{queue}: {facts:#}");
    }
}
