//! Uploads files to a bucket as a fetch does, all of them at once: what the way to S3 costs in processor
//! time and memory is this process's own. `tools/bench/upload` measures it.
//!
//! ```text
//! cargo run --release --no-default-features --example upload -- ENDPOINT BUCKET FILE...
//! ```
//!
//! Credentials are the SDK's own chain's. Every file becomes an object of a new random name.

use std::error::Error;
use std::path::{Path, PathBuf};

use futures::TryStreamExt;
use podrun::runtime::aws::{AwsClients, AwsConfig};
use podrun::runtime::blob::{BlobStore, PutMode, S3BlobStore};
use tokio::fs::File;
use tokio::task::JoinSet;
use tokio_util::io::ReaderStream;

/// What is read from a file at a time: as much as comes from a fast host.
const PIECE: usize = 256 * 1024;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: upload ENDPOINT BUCKET FILE...";
    let (endpoint, bucket) = arguments.next().zip(arguments.next()).ok_or(usage)?;
    let config = AwsConfig {
        region: Some("us-east-1".to_owned()),
        endpoint_url: Some(endpoint),
        path_style: Some(true),
        ..AwsConfig::default()
    };
    let store = S3BlobStore::new(AwsClients::load(&config).await?.s3, bucket);
    let mut uploads = JoinSet::new();
    for file in arguments.map(PathBuf::from) {
        let store = store.clone();
        uploads.spawn(async move { upload(&store, &file).await });
    }
    while let Some(upload) = uploads.join_next().await {
        upload??;
    }
    Ok(())
}

async fn upload(store: &S3BlobStore, file: &Path) -> Result<(), Failure> {
    let key = format!("upload/{}", uuid::Uuid::new_v4().simple());
    let mut pieces = ReaderStream::with_capacity(File::open(file).await?, PIECE);
    let mut writer = store.create(&key, PutMode::Create).await?;
    while let Some(piece) = pieces.try_next().await? {
        writer.write(piece).await?;
    }
    writer.finish().await?;
    Ok(())
}
