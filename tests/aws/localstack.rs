//! A second opinion on S3, where it is installed, from a server that nobody here has mended.

use std::process::Child;

use crate::stand_in::{builds, free_port, tethered, wait_for};

/// Its S3 on a port of its own; it ends with the value, and with this process.
#[derive(Debug)]
pub(crate) struct LocalStack {
    server: Child,
    pub(crate) endpoint: String,
    _home: tempfile::TempDir,
}

impl LocalStack {
    /// Starts it; `None` where it is not installed.
    pub(crate) fn start() -> Option<Self> {
        let python = builds().join("aws-local/localstack/bin/python");
        if !python.exists() {
            return None;
        }
        let port = free_port();
        let home = tempfile::tempdir().unwrap();
        let server = tethered(&python, "localstack.runtime.main:main", home.path())
            .env("GATEWAY_LISTEN", format!("127.0.0.1:{port}"))
            .env("SKIP_SSL_CERT_DOWNLOAD", "1")
            .env("DISABLE_EVENTS", "1")
            .env("DNS_ADDRESS", "0")
            .env("EAGER_SERVICE_LOADING", "0")
            .env("FILESYSTEM_ROOT", home.path())
            .spawn()
            .unwrap();
        let stack = Self {
            server,
            endpoint: format!("http://127.0.0.1:{port}"),
            _home: home,
        };
        wait_for(port);
        Some(stack)
    }
}

impl Drop for LocalStack {
    fn drop(&mut self) {
        // It may have ended by itself; nothing is left to do then.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
