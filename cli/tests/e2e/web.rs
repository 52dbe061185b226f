//! nginx on loopback, serving one folder.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running nginx; dropping it stops it.
pub(crate) struct Nginx {
    child: Child,
    address: String,
    _state: tempfile::TempDir,
}

impl Nginx {
    /// Serves `root`. `limit_rate` is nginx' own bytes a second a connection, as in `200k`.
    pub(crate) fn serve(root: &Path, limit_rate: Option<&str>) -> Self {
        let state = tempfile::tempdir().unwrap();
        let port = free_port();
        let limit = limit_rate.map_or(String::new(), |rate| format!("limit_rate {rate};"));
        let configuration = format!(
            "daemon off; master_process off; pid {state}/pid; error_log {state}/error.log;
             events {{ worker_connections 256; }}
             http {{
                 types {{ audio/mpeg mp3; application/rss+xml xml; text/html html; }}
                 access_log {state}/access.log;
                 client_body_temp_path {state}/body; proxy_temp_path {state}/proxy;
                 fastcgi_temp_path {state}/fastcgi; uwsgi_temp_path {state}/uwsgi;
                 scgi_temp_path {state}/scgi;
                 server {{ listen 127.0.0.1:{port}; root {root}; {limit} }}
             }}",
            state = state.path().display(),
            root = root.display(),
        );
        let file = state.path().join("nginx.conf");
        fs::write(&file, configuration).unwrap();
        let child = Command::new("nginx")
            .arg("-c")
            .arg(&file)
            .arg("-p")
            .arg(state.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is installed; tools/test installs it");
        let address = format!("127.0.0.1:{port}");
        wait_for(&address);
        Self {
            child,
            address,
            _state: state,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Already gone is as good as stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn wait_for(address: &str) {
    let started = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "nginx did not start"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An RSS feed with one item a file: (guid, title, URL, size).
pub(crate) fn rss(items: &[(String, String, String, u64)]) -> String {
    let items: String = items
        .iter()
        .enumerate()
        .map(|(number, (guid, title, url, size))| {
            let day = 28 - number % 28;
            let month = ["Mar", "Feb", "Jan"][number / 28 % 3];
            format!(
                "<item><guid isPermaLink=\"false\">{guid}</guid><title>{title}</title>\
                 <pubDate>{day} {month} 2026 06:00:00 GMT</pubDate>\
                 <enclosure url=\"{url}\" type=\"audio/mpeg\" length=\"{size}\"/></item>\n"
            )
        })
        .collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<rss version=\"2.0\"><channel>\
         <title>Test show</title>\n{items}</channel></rss>\n"
    )
}
