//! A working directory of its own for each test, and the binary run in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// A fresh folder with a `podrun.toml` that lets one loopback host be asked quickly.
pub(crate) struct Context {
    folder: tempfile::TempDir,
}

/// What a finished command said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    fn of(command: &mut Command) -> Self {
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().unwrap();
        Self {
            code: status.code(),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(stderr).unwrap(),
        }
    }

    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// The result that `--json` printed.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

impl Context {
    pub(crate) fn new() -> Self {
        let context = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        context.write(
            "podrun.toml",
            "[http]\nallow_private_addresses = true\n\n[politeness]\ndefault_limit = 8\nstart_spacing_ms = 0\n",
        );
        context
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    pub(crate) fn write(&self, relative: &str, text: impl AsRef<[u8]>) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, relative: &str) -> String {
        let path = self.path(relative);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// One tier file with these feeds.
    pub(crate) fn catalog(&self, feeds: &[(&str, &str)]) {
        let entries: String = feeds
            .iter()
            .map(|(slug, url)| format!("  - slug: {slug}\n    url: {url}\n"))
            .collect();
        self.write("feeds/tier1_feeds.yaml", format!("feeds:\n{entries}"));
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_podrun"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_remove("PODRUN_DATA_DIR")
            .env_remove("PODRUN_CONFIG")
            .env_remove("PODRUN_MODEL")
            .env_remove("PODRUN_LOG")
            .stdin(Stdio::null());
        command
    }

    /// Runs to the end.
    pub(crate) fn podrun(&self, arguments: &[&str]) -> Ran {
        self.podrun_in(arguments, &[])
    }

    /// Runs to the end, with these environment variables.
    pub(crate) fn podrun_in(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
        Ran::of(self.command(arguments).envs(environment.iter().copied()))
    }

    /// Runs to the end, with this file as stdin.
    pub(crate) fn podrun_reading(&self, arguments: &[&str], stdin: &Path) -> Ran {
        Ran::of(
            self.command(arguments)
                .stdin(fs::File::open(stdin).unwrap()),
        )
    }

    /// Starts and returns at once; what it prints is thrown away.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Starts with these environment variables and returns at once; what it prints is thrown away.
    pub(crate) fn start_in(
        &self,
        arguments: &[&str],
        environment: &BTreeMap<String, String>,
    ) -> Child {
        self.command(arguments)
            .envs(environment)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Starts and returns at once; what it prints is kept.
    pub(crate) fn start_watched(&self, arguments: &[&str]) -> Child {
        self.command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Starts and returns at once; what it says is kept, and stdin stays open with nothing in it.
    pub(crate) fn start_waiting_for_stdin(&self, arguments: &[&str]) -> Child {
        self.command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Every file below a folder, by its path relative to it, with its size.
    pub(crate) fn files(&self, relative: &str) -> BTreeMap<String, u64> {
        let mut found = BTreeMap::new();
        let root = self.path(relative);
        collect(&root, &root, &mut found);
        found
    }
}

fn collect(root: &Path, folder: &Path, found: &mut BTreeMap<String, u64>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, found);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            found.insert(name.to_owned(), fs::metadata(&path).unwrap().len());
        }
    }
}

/// The bundled model.
pub(crate) fn fixture_model() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/assets/whisper-fixture").to_owned()
}
