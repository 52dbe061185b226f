//! Flags, environment and `podrun.toml`, resolved to what the library is given.
//!
//! A flag wins over its environment variable, that over the file, that over the default. The file is
//! strict: an unknown key is an error with its line, because a misspelt limit must not be ignored.

mod aws;
mod transcribe;

use std::path::{Path, PathBuf};

use podrun::fetch::AdHosts;
use podrun::politeness::HostLimits;
use podrun::runtime::http::HttpConfig;
use serde::{Deserialize, Serialize};

use crate::args::GlobalArguments;
use crate::exit::Problem;

pub(crate) use aws::{AwsSettings, FleetSettings, Target};
pub(crate) use transcribe::{TranscribeSettings, formats};

/// The file that is read where none is named and it exists.
const DEFAULT_FILE: &str = "podrun.toml";

/// Everything that can be set, resolved.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) target: Target,
    pub(crate) data_dir: PathBuf,
    pub(crate) feeds: PathBuf,
    pub(crate) http: HttpConfig,
    pub(crate) politeness: HostLimits,
    pub(crate) fetch: FetchSettings,
    pub(crate) transcribe: TranscribeSettings,
    pub(crate) aws: AwsSettings,
}

/// `podrun.toml`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    target: Target,
    data_dir: Option<PathBuf>,
    feeds: Option<PathBuf>,
    http: HttpConfig,
    politeness: HostLimits,
    fetch: FetchSettings,
    transcribe: TranscribeSettings,
    aws: AwsSettings,
}

/// `[fetch]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FetchSettings {
    /// Downloads at the same time.
    pub(crate) concurrency: u16,
    /// Feeds crawled at the same time.
    pub(crate) crawl_concurrency: u16,
    /// Largest episode, in MiB.
    pub(crate) max_episode_mib: u64,
    /// How often one broken transfer is continued.
    pub(crate) max_resumes: u32,
    /// Leave out measuring services that are gone.
    pub(crate) unwrap_dead_prefixes: bool,
    /// What is known about hosts that insert advertisements.
    pub(crate) ads: AdHosts,
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self {
            concurrency: 4,
            crawl_concurrency: 8,
            max_episode_mib: 4096,
            max_resumes: 3,
            unwrap_dead_prefixes: false,
            ads: AdHosts::default(),
        }
    }
}

impl Settings {
    /// Reads the file and lays the global flags over it.
    pub(crate) fn resolve(global: &GlobalArguments) -> Result<Self, Problem> {
        let mut file = read(global.config.as_deref())?;
        if global.data_dir.is_some() {
            file.data_dir.clone_from(&global.data_dir);
        }
        file.target = global.target.unwrap_or(file.target);
        for (setting, flag) in [
            (&mut file.aws.region, &global.region),
            (&mut file.aws.profile, &global.profile),
            (&mut file.aws.endpoint_url, &global.endpoint_url),
        ] {
            if flag.is_some() {
                setting.clone_from(flag);
            }
        }
        Ok(Self::from_file(file))
    }

    fn from_file(file: File) -> Self {
        Self {
            target: file.target,
            data_dir: file.data_dir.unwrap_or_else(|| "podrun-data".into()),
            feeds: file.feeds.unwrap_or_else(|| "feeds".into()),
            http: file.http,
            politeness: file.politeness,
            fetch: file.fetch,
            transcribe: file.transcribe,
            aws: file.aws,
        }
    }

    /// The settings as the workers of a run are given them.
    pub(crate) fn to_record(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(File {
            target: self.target,
            data_dir: None,
            feeds: None,
            http: self.http.clone(),
            politeness: self.politeness.clone(),
            fetch: self.fetch.clone(),
            transcribe: self.transcribe.clone(),
            // Where the account is and how it is reached is a worker's own environment to say.
            aws: AwsSettings {
                region: None,
                profile: None,
                endpoint_url: None,
                ..self.aws.clone()
            },
        })
    }

    /// The settings that a run was submitted with, as seen by one of its workers: the account is
    /// reached as `self` says.
    pub(crate) fn of_record(&self, record: serde_json::Value) -> serde_json::Result<Self> {
        let mut file: File = serde_json::from_value(record)?;
        file.aws.region.clone_from(&self.aws.region);
        file.aws.profile.clone_from(&self.aws.profile);
        file.aws.endpoint_url.clone_from(&self.aws.endpoint_url);
        Ok(Self::from_file(file))
    }
}

fn read(named: Option<&Path>) -> Result<File, Problem> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(File::default());
        }
        Err(error) => {
            return Err(Problem::preflight(format!(
                "cannot read the settings file {}: {error}",
                path.display()
            ))
            .hint("name an existing file with --config, or leave the option out"));
        }
    };
    toml::from_str(&text).map_err(|error| {
        let line = error
            .span()
            .map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        Problem::preflight(format!(
            "{}, line {line}: {}",
            path.display(),
            error.message()
        ))
        .hint("the README lists every setting")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn global(config: &Path) -> GlobalArguments {
        GlobalArguments {
            data_dir: None,
            target: None,
            region: None,
            profile: None,
            endpoint_url: None,
            config: Some(config.to_owned()),
            quiet: false,
            json: false,
            verbose: 0,
        }
    }

    fn resolve(text: &str) -> Result<Settings, Problem> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Settings::resolve(&global(file.path()))
    }

    #[test]
    fn a_misspelt_key_names_its_line() {
        let problem = resolve("data_dir = \"x\"\n[fetch]\nconcurency = 3\n").unwrap_err();
        assert!(problem.message.contains("line 3"), "{problem}");
        assert!(problem.message.contains("concurency"), "{problem}");
    }

    #[test]
    fn the_file_replaces_only_what_it_names() {
        let settings =
            resolve("data_dir = \"elsewhere\"\n[transcribe]\nmodel = \"small\"\n").unwrap();
        assert_eq!(settings.data_dir, Path::new("elsewhere"));
        assert_eq!(settings.transcribe.model, "small");
        assert_eq!(settings.transcribe.beam_size, 5);
        assert_eq!(settings.feeds, Path::new("feeds"));
    }

    #[test]
    fn the_readme_lists_the_defaults() {
        let readme = include_str!("../../README.md");
        let block = readme.split("```toml\n").nth(1).unwrap();
        let block = block.split("```").next().unwrap();
        let (listed, default) = (resolve(block).unwrap(), resolve("").unwrap());
        assert_eq!(format!("{listed:?}"), format!("{default:?}"));
    }

    #[test]
    fn workers_get_the_settings_of_their_run_and_reach_the_account_their_own_way() {
        let submitted = resolve(
            "target = \"aws\"\n[aws]\nprofile = \"mine\"\nraw_bucket = \"raw\"\n\
             [transcribe]\nmodel = \"small\"\n[politeness]\nstart_spacing_ms = 7\n",
        );
        let submitted = submitted.unwrap();
        let mut worker = resolve("").unwrap();
        worker.aws.region = Some("eu-west-1".to_owned());
        let seen = worker.of_record(submitted.to_record().unwrap()).unwrap();
        assert_eq!(seen.target, Target::Aws);
        assert_eq!(seen.aws.raw_bucket, "raw");
        assert_eq!(seen.aws.profile, None);
        assert_eq!(seen.aws.region.as_deref(), Some("eu-west-1"));
        assert_eq!(seen.transcribe.model, "small");
        assert_eq!(seen.politeness, submitted.politeness);
        assert!(worker.of_record(serde_json::json!({"unknown": 1})).is_err());
    }

    #[test]
    fn a_named_file_must_exist() {
        let problem = Settings::resolve(&global(Path::new("/no/such/podrun.toml"))).unwrap_err();
        assert!(problem.hint.is_some());
    }
}
