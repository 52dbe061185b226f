//! The table of hostile inputs names the tests that exist, and every case has one.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The names of all tests of numbered cases, by number.
fn tests() -> BTreeMap<u32, BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests", "cli/src", "cli/tests", "tools"] {
        sources(&root.join(folder), &mut files);
    }
    let mut tests: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    for file in files {
        for line in fs::read_to_string(file).unwrap().lines() {
            let Some((_, name)) = line.split_once("fn case_") else {
                continue;
            };
            let name = name.split(['(', '<']).next().unwrap();
            if let Ok(number) = name.get(..3).unwrap_or_default().parse() {
                tests
                    .entry(number)
                    .or_default()
                    .insert(format!("case_{name}"));
            }
        }
    }
    tests
}

#[test]
fn the_table_lists_every_case_and_the_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cases = fs::read_to_string(root.join("tests/hostile_cases.tsv")).unwrap();
    let table = fs::read_to_string(root.join("appendix/hostile-inputs.md")).unwrap();
    let tests = tests();
    assert_eq!(cases.lines().count(), 126);
    for (at, line) in cases.lines().enumerate() {
        let fields: Vec<&str> = line.split('\t').collect();
        let number = u32::try_from(at + 1).unwrap();
        assert_eq!((fields.len(), fields[0]), (3, number.to_string().as_str()));
        let start = format!("| {number} | {} | {} | ", fields[1], fields[2]);
        let row = table.lines().find(|row| row.starts_with(&start));
        let row = row.unwrap_or_else(|| panic!("run tools/hostile_table.py: no row {start}"));
        let named: BTreeSet<String> = row
            .split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect();
        let exist = tests.get(&number).cloned().unwrap_or_default();
        assert_eq!(named, exist, "case {number}: run tools/hostile_table.py");
        assert!(row.ends_with("| pass |"), "{row}");
    }
}
