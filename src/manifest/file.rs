//! A manifest file, read row by row: one of a hundred thousand episodes takes no more memory than
//! a short one.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use futures::Stream;
use tokio::sync::mpsc::Sender;

use super::ManifestRow;
use super::csv::ManifestReader;
use super::store::{MAX_MANIFEST_BYTES, ManifestStoreError};
use crate::runtime::blob::BlobStore;

/// Rows that are read ahead.
const AHEAD: usize = 256;

/// Bytes that are copied from a store at once.
const PIECE: usize = 4 << 20;

/// A manifest on this machine whose every row was looked at.
#[derive(Debug)]
pub struct ManifestFile {
    path: PathBuf,
    name: String,
    warnings: Vec<String>,
    /// Of one that was copied; removed with the value.
    _copy: Option<tempfile::TempPath>,
}

impl ManifestFile {
    /// Opens a file of the user's and looks at all of it, so that a bad row is told before anything is
    /// done about the good ones.
    ///
    /// # Errors
    /// A file that cannot be read or a row that is wrong, with its line.
    pub async fn open(path: &Path) -> Result<Self, ManifestStoreError> {
        let name = path.display().to_string();
        if tokio::fs::metadata(path)
            .await
            .is_ok_and(|data| data.is_file() || data.is_dir())
        {
            return Self::checked(path.to_owned(), name, None).await;
        }
        // It can be read once only.
        let (path, called) = (path.to_owned(), name.clone());
        let copy = blocking(move || copy_stream(&path, &called)).await?;
        Self::checked(copy.to_path_buf(), name, Some(copy)).await
    }

    /// Copies a manifest of a store to a temporary file and looks at all of it.
    ///
    /// # Errors
    /// As [`open`](Self::open), and what the store says; one above [`MAX_MANIFEST_BYTES`] is refused.
    pub async fn copy(store: &dyn BlobStore, key: &str) -> Result<Self, ManifestStoreError> {
        let name = store.location(key);
        let unwritable = |problem: io::Error| ManifestStoreError::Write {
            file: format!("copy of {name}"),
            problem: problem.to_string(),
        };
        let mut copy = tempfile::NamedTempFile::new().map_err(unwritable)?;
        let mut offset = 0;
        loop {
            let piece = store.read_range(key, offset, PIECE).await?;
            // A few megabytes into the page cache: shorter than handing them to a thread.
            copy.write_all(&piece).map_err(unwritable)?;
            offset += piece.len() as u64;
            if piece.len() < PIECE {
                break;
            }
            if offset > MAX_MANIFEST_BYTES as u64 {
                return Err(ManifestStoreError::TooLarge { file: name });
            }
        }
        let copy = copy.into_temp_path();
        Self::checked(copy.to_path_buf(), name, Some(copy)).await
    }

    async fn checked(
        path: PathBuf,
        name: String,
        copy: Option<tempfile::TempPath>,
    ) -> Result<Self, ManifestStoreError> {
        let (file, called) = (path.clone(), name.clone());
        let look = move || {
            let mut reader = open(&file, &called)?;
            for row in reader.by_ref() {
                row?;
            }
            Ok::<_, ManifestStoreError>(reader.warnings())
        };
        let warnings = blocking(look).await?;
        Ok(Self {
            path,
            name,
            warnings,
            _copy: copy,
        })
    }

    /// What it is called, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What was odd about it and survived.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The rows in the file's order, each episode once. They are read on a thread, a few hundred ahead;
    /// what is remembered of each episode are 16 bytes.
    pub fn into_rows(self) -> impl Stream<Item = Result<ManifestRow, ManifestStoreError>> + Send {
        let (sender, receiver) = tokio::sync::mpsc::channel(AHEAD);
        // The thread keeps the copy until it has read it.
        tokio::task::spawn_blocking(move || self.send_rows(&sender));
        futures::stream::unfold(receiver, |mut receiver| async {
            let row = receiver.recv().await?;
            Some((row, receiver))
        })
    }

    fn send_rows(&self, rows: &Sender<Result<ManifestRow, ManifestStoreError>>) {
        let reader = match open(&self.path, &self.name) {
            Ok(reader) => reader,
            Err(error) => {
                // Nobody listens any more: nobody has to know.
                let _ = rows.blocking_send(Err(error));
                return;
            }
        };
        for row in reader {
            if rows.blocking_send(row.map_err(Into::into)).is_err() {
                return;
            }
        }
    }
}

/// The text of a pipe or a terminal, in a temporary file. Blocks until its end.
fn copy_stream(path: &Path, name: &str) -> Result<tempfile::TempPath, ManifestStoreError> {
    let unreadable = |problem: io::Error| ManifestStoreError::Open {
        file: name.to_owned(),
        problem: problem.to_string(),
    };
    let text = File::open(path).map_err(unreadable)?;
    let mut copy = tempfile::NamedTempFile::new().map_err(unreadable)?;
    let limit = MAX_MANIFEST_BYTES as u64;
    let copied = io::copy(&mut text.take(limit + 1), &mut copy).map_err(unreadable)?;
    match copied > limit {
        true => Err(ManifestStoreError::TooLarge {
            file: name.to_owned(),
        }),
        false => Ok(copy.into_temp_path()),
    }
}

/// Blocks on the file system, as does reading.
fn open(path: &Path, name: &str) -> Result<ManifestReader<BufReader<File>>, ManifestStoreError> {
    let unreadable = |problem: io::Error| ManifestStoreError::Open {
        file: name.to_owned(),
        problem: problem.to_string(),
    };
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.is_dir() {
        return Err(unreadable(io::Error::from(io::ErrorKind::IsADirectory)));
    }
    Ok(ManifestReader::try_new(BufReader::new(file), name)?)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ManifestStoreError> + Send + 'static,
) -> Result<T, ManifestStoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        Err(ManifestStoreError::Open {
            file: "manifest".to_owned(),
            problem: error.to_string(),
        })
    })
}
