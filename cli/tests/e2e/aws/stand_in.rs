//! `tools/aws-local serve`, and what lies in it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::context::{Context, Ran};

/// All servers, whose containers run this build's podrun; they end with the value.
pub(super) struct StandIn {
    server: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    said: Value,
}

impl StandIn {
    /// Starts them with options of `serve`.
    pub(super) fn start(options: &[&str]) -> Self {
        let mut server = Command::new("python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../tools/aws-local"))
            .arg("serve")
            .args(options)
            .arg("--")
            .arg(env!("CARGO_BIN_EXE_podrun"))
            .env("CARGO_TARGET_DIR", builds())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = server.stdin.take();
        let answers = BufReader::new(server.stdout.take().unwrap());
        let mut stand_in = Self {
            server,
            orders,
            answers,
            said: Value::Null,
        };
        stand_in.said = stand_in.answer();
        stand_in
    }

    fn environment(&self) -> BTreeMap<String, String> {
        serde_json::from_value(self.said["env"].clone()).unwrap()
    }

    /// Runs podrun against them.
    pub(super) fn podrun(&self, context: &Context, arguments: &[&str]) -> Ran {
        let environment = self.environment();
        let environment: Vec<_> = environment
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        context.podrun_in(arguments, &environment)
    }

    /// Starts podrun against them; what it prints is thrown away.
    pub(super) fn start_podrun(&self, context: &Context, arguments: &[&str]) -> Child {
        context.start_in(arguments, &self.environment())
    }

    /// What boto3 sees; of `kinds`, or of everything.
    pub(super) fn facts(&self, kinds: &[&str]) -> Value {
        let asked = Command::new(builds().join("aws-local/ministack/bin/python"))
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/e2e/aws/facts.py"
            ))
            .args(kinds)
            .envs(self.environment())
            // Facts are looked at past the faults.
            .env("AWS_ENDPOINT_URL", self.server("ministack"))
            .env("AWS_ENDPOINT_URL_BATCH", self.server("batch"))
            .output()
            .unwrap();
        let problem = String::from_utf8_lossy(&asked.stderr);
        assert!(asked.status.success(), "{problem}");
        serde_json::from_slice(&asked.stdout).unwrap()
    }

    /// The address of one server.
    pub(super) fn server(&self, name: &str) -> &str {
        let url = self.said["servers"][name].as_str();
        url.unwrap_or_else(|| panic!("no server {name}: {}", self.said))
    }

    /// What the workers wrote.
    pub(super) fn logs(&self) -> String {
        let jobs = Path::new(self.said["jobs"].as_str().unwrap());
        let mut text = String::new();
        for job in std::fs::read_dir(jobs).into_iter().flatten() {
            for log in std::fs::read_dir(job.unwrap().path()).into_iter().flatten() {
                text += &String::from_utf8_lossy(&std::fs::read(log.unwrap().path()).unwrap());
            }
        }
        text
    }

    /// Stops a server and starts it again at its address.
    pub(super) fn restart(&mut self, name: &str) {
        writeln!(self.orders.as_mut().unwrap(), "restart {name}").unwrap();
        let answer = self.answer();
        assert_eq!(answer["restarted"], name, "{answer}");
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert!(
            !line.is_empty(),
            "tools/aws-local serve ended: see above; `tools/aws-local install` installs what it needs"
        );
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // They end when nobody is left to give orders.
        drop(self.orders.take());
        let _ = self.server.wait();
    }
}

/// The folder of the builds.
fn builds() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    folder.unwrap().to_owned()
}
