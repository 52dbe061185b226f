//! Reads the sources and fails on an import that breaks the architecture:
//! domain <- ports <- adapters; stages see ports; one composition root names adapters.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};

/// Adapters and the one file that defines each. Their folder's `mod.rs` may re-export them.
const ADAPTERS: &[(&str, &str)] = &[
    ("SqliteQueue", "src/queue/sqlite.rs"),
    ("SqsQueue", "src/queue/sqs.rs"),
    ("MemoryQueue", "src/queue/memory.rs"),
    ("SqliteCheckpoints", "src/checkpoint/sqlite.rs"),
    ("DynamoCheckpoints", "src/checkpoint/dynamodb.rs"),
    ("MemoryCheckpoints", "src/checkpoint/memory.rs"),
    ("SqliteHostWindows", "src/politeness/sqlite.rs"),
    ("DynamoHostWindows", "src/politeness/dynamodb.rs"),
    ("MemoryHostWindows", "src/politeness/memory.rs"),
    ("SqliteMetrics", "src/runtime/telemetry/sqlite.rs"),
    (
        "CloudWatchMetrics",
        "src/runtime/telemetry/cloudwatch/mod.rs",
    ),
    ("MemoryMetrics", "src/runtime/telemetry/metric.rs"),
    ("DirectoryBlobStore", "src/runtime/blob/directory/mod.rs"),
    ("S3BlobStore", "src/runtime/blob/s3/mod.rs"),
    ("MemoryBlobStore", "src/runtime/blob/memory.rs"),
    ("LocalJobRunner", "src/runtime/batch/local.rs"),
    ("AwsBatchRunner", "src/runtime/batch/aws/mod.rs"),
    ("Ct2Engine", "src/transcribe/ct2.rs"),
    ("ScriptedEngine", "src/transcribe/scripted.rs"),
];

const COMPOSITION_ROOT: &str = "cli/src/wire/";

struct Source {
    path: String,
    /// The program text: no comments, no unit tests.
    code: String,
}

fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    walk(&root.join(folder), &mut files);
    assert!(!files.is_empty(), "no sources under {folder}");
    files
        .into_iter()
        .map(|file| Source {
            path: file
                .strip_prefix(root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned(),
            code: program_text(&fs::read_to_string(&file).unwrap()),
        })
        .collect()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Unit tests stand at the end of a file, so the text up to them is the program.
fn program_text(text: &str) -> String {
    let program = text.split("\n#[cfg(test)]\nmod ").next().unwrap();
    program
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Test code in files of its own.
fn is_test_kit(path: &str) -> bool {
    ["conformance.rs", "flaky.rs", "tests.rs"]
        .iter()
        .any(|name| path.ends_with(name))
        || path.contains("/conformance/")
        || path.contains("/tests/")
}

fn report(offences: &[String]) {
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

#[test]
fn the_domain_imports_nothing_of_ours() {
    let offends = |line: &&str| line.contains("crate::") && !line.contains("crate::domain");
    let offences: Vec<_> = sources("src/domain")
        .iter()
        .flat_map(|source| {
            let lines = source.code.lines().filter(offends);
            lines
                .map(|line| format!("{}: {line}", source.path))
                .collect::<Vec<_>>()
        })
        .collect();
    report(&offences);
}

#[test]
fn only_the_composition_root_names_adapters() {
    let mut offences = Vec::new();
    for source in sources("src").iter().chain(&sources("cli/src")) {
        if source.path.starts_with(COMPOSITION_ROOT) || is_test_kit(&source.path) {
            continue;
        }
        for (name, home) in ADAPTERS {
            // An adapter may fill a folder of its own.
            let folder = home.trim_end_matches("/mod.rs").rsplit_once('/').unwrap().0;
            let own = home.strip_suffix("mod.rs").unwrap_or(home);
            let may = source.path.starts_with(own) || source.path == format!("{folder}/mod.rs");
            if !may && source.code.contains(name) {
                offences.push(format!("{} names {name}", source.path));
            }
        }
    }
    report(&offences);
}

#[test]
fn every_listed_adapter_exists() {
    let sources = sources("src");
    for (name, home) in ADAPTERS {
        let source = sources.iter().find(|source| source.path == *home);
        let source = source.unwrap_or_else(|| panic!("{home} is gone; mend the list"));
        assert!(
            source.code.contains(&format!("struct {name}")),
            "{home} has no {name}"
        );
    }
}

#[test]
fn drivers_stay_in_their_adapters() {
    let homes: &[(&str, &[&str])] = &[
        ("rusqlite", &["/sqlite/", "/sqlite.rs"]),
        (
            "aws_sdk_dynamodb",
            &["/dynamodb/", "/dynamodb.rs", "src/runtime/aws/"],
        ),
        ("aws_sdk_sqs", &["src/queue/sqs", "src/runtime/aws/"]),
        ("ct2rs", &["src/transcribe/ct2.rs"]),
        ("hf_hub", &["src/transcribe/hub"]),
        ("feed_rs", &["src/feeds/json.rs"]),
        ("reqwest", &["src/runtime/http/"]),
        ("aws_sdk_cloudwatch", &["/cloudwatch/", "src/runtime/aws/"]),
        ("aws_sdk_s3", &["/s3/", "src/runtime/aws/"]),
    ];
    let mut offences = Vec::new();
    for source in sources("src").iter().chain(&sources("cli/src")) {
        for (driver, homes) in homes {
            let is_home = homes.iter().any(|home| source.path.contains(home));
            let is_home = is_home || is_test_kit(&source.path);
            if !is_home && source.code.contains(&format!("{driver}::")) {
                offences.push(format!("{} uses {driver}", source.path));
            }
        }
    }
    report(&offences);
}

#[test]
fn the_library_reads_no_environment_and_never_exits() {
    let banned = ["env::var", "process::exit", "clap::", "indicatif::"];
    let mut offences = Vec::new();
    for source in sources("src") {
        for word in banned {
            if source.code.contains(word) {
                offences.push(format!("{} uses {word}", source.path));
            }
        }
    }
    report(&offences);
}
