//! A stand-in of its own for each test: it starts in half a second and nothing needs to be reset.
//! The full one, with jobs and faults, takes some seconds.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use podrun::runtime::aws::AwsClients;
use serde_json::Value;

const START: Duration = Duration::from_secs(60);
const ACCOUNT: &str = "123456789012";
/// Between two attempts: nobody else is kept waiting here.
const BACKOFF: Duration = Duration::from_millis(20);

/// A server for S3, SQS, DynamoDB and CloudWatch; it ends with the value, and with this process.
#[derive(Debug)]
pub(crate) struct StandIn {
    server: Child,
    /// Where it listens.
    pub(crate) endpoint: String,
    _home: tempfile::TempDir,
}

impl StandIn {
    /// Starts MiniStack on a free port of loopback.
    pub(crate) fn start() -> Self {
        let port = free_port();
        let home = tempfile::tempdir().unwrap();
        let python = installed("ministack/bin/python");
        let server = tethered(&python, "aws_local.mend_ministack:main", home.path())
            .env("PYTHONPATH", repository().join("tools"))
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            .env("MINISTACK_ACCOUNT_ID", ACCOUNT)
            .spawn()
            .unwrap();
        let stand_in = Self {
            server,
            endpoint: format!("http://127.0.0.1:{port}"),
            _home: home,
        };
        wait_for(port);
        stand_in
    }

    /// Starts everything, with options of `tools/aws-local serve`: the project's buckets, tables, queues
    /// and Batch resources, and a Batch server whose containers run the podrun that was built last.
    pub(crate) fn full(options: &[&str]) -> FullStandIn {
        let podrun = builds().join("debug/podrun");
        assert!(podrun.exists(), "{} is not built", podrun.display());
        FullStandIn::start(options, &[podrun.to_str().unwrap()])
    }

    /// Clients of it, with credentials that mean nothing.
    pub(crate) async fn clients(&self) -> AwsClients {
        clients_of(&self.endpoint).await
    }
}

/// Clients of a server for any service, with credentials that mean nothing.
pub(crate) async fn clients_of(endpoint: &str) -> AwsClients {
    AwsClients::over(&configuration(endpoint).await, true)
}

async fn configuration(endpoint: &str) -> aws_config::SdkConfig {
    let credentials = Credentials::new("test", "test", None, None, "stand-in");
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .retry_config(RetryConfig::standard().with_initial_backoff(BACKOFF))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .load()
        .await
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // It may have ended by itself; nothing is left to do then.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// All servers of `tools/aws-local serve`; they end with the value, and with this process.
#[derive(Debug)]
pub(crate) struct FullStandIn {
    server: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    said: Value,
}

impl FullStandIn {
    /// Starts them with options of `serve`, and with what containers run before their own command.
    pub(crate) fn start(options: &[&str], program: &[&str]) -> Self {
        let mut command = Command::new("python3");
        command
            .arg(repository().join("tools/aws-local"))
            .arg("serve")
            .args(options)
            .arg("--");
        let mut server = command
            .args(program)
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

    /// What a child process is told to use it.
    fn environment(&self) -> BTreeMap<String, String> {
        serde_json::from_value(self.said["env"].clone()).unwrap()
    }

    /// The address of one server: `ministack`, `moto`, `batch`; with `--faults` also `batch-faults` and
    /// `ministack-faults`.
    pub(crate) fn server(&self, name: &str) -> &str {
        let url = self.said["servers"][name].as_str();
        url.unwrap_or_else(|| panic!("no server {name}: {}", self.said))
    }

    /// Where each job's output lies: `<job id, with a dot for the colon>/<attempt>.log`.
    pub(crate) fn jobs(&self) -> &Path {
        Path::new(self.said["jobs"].as_str().unwrap())
    }

    /// Clients of its endpoints, through the fault proxies where there are any.
    pub(crate) async fn clients(&self) -> AwsClients {
        let environment = self.environment();
        let config = configuration(&environment["AWS_ENDPOINT_URL"]).await;
        let batch = configuration(&environment["AWS_ENDPOINT_URL_BATCH"]).await;
        let mut clients = AwsClients::over(&config, true);
        clients.batch = AwsClients::over(&batch, true).batch;
        clients
    }

    /// Stops `ministack` or `moto` and starts it again at its address.
    pub(crate) fn restart(&mut self, name: &str) {
        let orders = self.orders.as_mut().unwrap();
        writeln!(orders, "restart {name}").unwrap();
        let answer = self.answer();
        assert_eq!(answer["restarted"], name, "{answer}");
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "tools/aws-local serve ended: see above");
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for FullStandIn {
    fn drop(&mut self) {
        // It ends all its servers when nobody is left to give orders.
        drop(self.orders.take());
        let _ = self.server.wait();
    }
}

/// A server of Python that works in `home` and ends at the latest when this process does.
pub(crate) fn tethered(python: &Path, function: &str, home: &Path) -> Command {
    let mut command = Command::new(python);
    command
        .arg(repository().join("tools/aws_local/tether.py"))
        .arg(function)
        .env("HOME", home)
        .current_dir(home)
        // The tether ends the group of the server once this pipe closes.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// A program that `tools/aws-local install` has put beside the builds.
fn installed(program: &str) -> PathBuf {
    let path = builds().join("aws-local").join(program);
    assert!(
        path.exists(),
        "{} is missing: run tools/aws-local install",
        path.display()
    );
    path
}

/// The clone this test was built from: a member of the workspace finds it above itself.
fn repository() -> &'static Path {
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let root = folders.find(|folder| folder.join("tools/aws-local").exists());
    root.expect("tools/aws-local is part of the clone")
}

/// Where builds go.
pub(crate) fn builds() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap()
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Waits until something listens there.
pub(crate) fn wait_for(port: u16) {
    let started = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(started.elapsed() < START, "nothing listens on port {port}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
