//! A stand-in of its own for each test: it starts in half a second and nothing needs to be reset.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use podrun::runtime::aws::AwsClients;

const START: Duration = Duration::from_secs(60);
const ACCOUNT: &str = "123456789012";

/// A server for S3, SQS, DynamoDB and CloudWatch; it ends with the value.
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
        let program = installed("ministack/bin/ministack");
        let server = Command::new(program)
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            .env("MINISTACK_ACCOUNT_ID", ACCOUNT)
            .env("HOME", home.path())
            .current_dir(home.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
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

    /// Clients of it, with credentials that mean nothing.
    pub(crate) async fn clients(&self) -> AwsClients {
        Self::clients_at(&self.endpoint).await
    }

    /// The same through something that stands in front of it.
    pub(crate) async fn clients_at(endpoint: &str) -> AwsClients {
        let credentials = Credentials::new("test", "test", None, None, "stand-in");
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(endpoint)
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .load()
            .await;
        AwsClients::over(&config, true)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // It may have ended by itself; nothing is left to do then.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A program that `tools/aws-local install` has put beside the builds.
pub(crate) fn installed(program: &str) -> PathBuf {
    let builds = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let path = builds.join("aws-local").join(program);
    assert!(
        path.exists(),
        "{} is missing: run tools/aws-local install",
        path.display()
    );
    path
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
