//! A manifest that a command line names: a file here, or an object on S3.

use std::path::Path;

use podrun::manifest::ManifestFile;

use crate::exit::Problem;
use crate::settings::Settings;
use crate::wire;

/// Reads it whole, so that a wrong row is told before anything is done.
pub(super) async fn open(settings: &Settings, named: &str) -> anyhow::Result<ManifestFile> {
    let file = if named.starts_with("s3://") {
        let (store, key) = wire::s3_object(settings, named).await?;
        ManifestFile::copy(&*store, &key).await
    } else {
        ManifestFile::open(Path::new(named)).await
    };
    let file = file.map_err(Problem::preflight)?;
    for warning in file.warnings() {
        tracing::warn!(manifest = file.name(), "{warning}");
    }
    Ok(file)
}
