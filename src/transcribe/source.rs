//! Bytes of a media file, as the decoder reads them: in order, with a few jumps while the container
//! is probed. [`BlobSource`] gives a [`BlobStore`]'s object that shape without holding it.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;

use crate::runtime::blob::{BlobError, BlobErrorKind, BlobStore};

/// What the decoder reads from: a file, a cursor, a [`BlobSource`].
pub trait MediaBytes: Read + Seek + Send {}

impl<T: Read + Seek + Send + ?Sized> MediaBytes for T {}

/// Opens the same media file from its beginning, as often as it is called.
pub type OpenMedia<'a> = dyn Fn() -> io::Result<Box<dyn MediaBytes>> + Send + Sync + 'a;

/// An object of a [`BlobStore`] as a blocking, seekable reader that holds two blocks of
/// [`BlobSource::BLOCK`] bytes at most: one for the place being read, and one so that a look at the
/// file's end and back (MP4's index, Ogg's last page) does not fetch the beginning twice.
///
/// It waits for the store through the runtime's handle, so it must be opened and read on a blocking
/// thread; inside an async task it panics, as [`Handle::block_on`] does.
#[derive(Debug)]
pub struct BlobSource {
    store: Arc<dyn BlobStore>,
    key: String,
    runtime: Handle,
    size: u64,
    position: u64,
    blocks: [Option<Block>; 2],
}

#[derive(Debug)]
struct Block {
    start: u64,
    bytes: Bytes,
}

impl Block {
    fn holds(&self, position: u64) -> bool {
        (self.start..self.start + self.bytes.len() as u64).contains(&position)
    }
}

impl BlobSource {
    /// Bytes asked from the store at once: large enough that a request's latency is small beside
    /// its transfer, small enough that many episodes can be read at the same time.
    pub const BLOCK: usize = 1 << 20;

    /// Looks the object up.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] without such an object, and whatever the store fails with; the
    /// [`BlobError`] is the error's inner one.
    pub fn open(
        store: Arc<dyn BlobStore>,
        key: impl Into<String>,
        runtime: Handle,
    ) -> io::Result<Self> {
        let key = key.into();
        let info = runtime.block_on(store.head(&key)).map_err(into_io)?;
        let Some(info) = info else {
            return Err(into_io(BlobError {
                location: store.location(&key),
                kind: BlobErrorKind::NotFound,
                source: None,
            }));
        };
        Ok(Self {
            store,
            key,
            runtime,
            size: info.size,
            position: 0,
            blocks: [None, None],
        })
    }

    /// The block around the position, moved to the front.
    fn block(&mut self) -> io::Result<&Block> {
        let position = self.position;
        let is_held = |block: &Option<Block>| block.as_ref().is_some_and(|b| b.holds(position));
        if !is_held(&self.blocks[0]) {
            self.blocks.swap(0, 1);
        }
        if !is_held(&self.blocks[0]) {
            self.blocks[0] = Some(self.fetch()?);
        }
        Ok(self.blocks[0].as_ref().expect("it was just put there"))
    }

    fn fetch(&self) -> io::Result<Block> {
        let start = self.position - self.position % Self::BLOCK as u64;
        let wanted = (self.size - start).min(Self::BLOCK as u64) as usize;
        let bytes = self
            .runtime
            .block_on(self.store.read_range(&self.key, start, wanted))
            .map_err(into_io)?;
        if bytes.len() != wanted {
            // Not an early end of the audio: the store has broken off or the object was replaced,
            // and both may read well another time.
            return Err(io::Error::other(format!(
                "{}: {} bytes at {start} instead of {wanted}",
                self.store.location(&self.key),
                bytes.len()
            )));
        }
        Ok(Block { start, bytes })
    }
}

impl Read for BlobSource {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.size || buffer.is_empty() {
            return Ok(0);
        }
        let position = self.position;
        let block = self.block()?;
        let rest = &block.bytes[(position - block.start) as usize..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for BlobSource {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

fn into_io(error: BlobError) -> io::Error {
    let kind = match error.kind {
        BlobErrorKind::NotFound => io::ErrorKind::NotFound,
        BlobErrorKind::PermissionDenied => io::ErrorKind::PermissionDenied,
        BlobErrorKind::InvalidKey => io::ErrorKind::InvalidInput,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::sync::Mutex;

    use async_trait::async_trait;
    use tokio::runtime::Runtime;

    use super::*;
    use crate::runtime::blob::{BlobInfo, BlobWriter, PutMode, Version};

    /// One object, and a record of what was asked of it.
    #[derive(Debug)]
    struct OneObject {
        bytes: Bytes,
        claimed: u64,
        asked: Mutex<Vec<(u64, usize)>>,
    }

    impl OneObject {
        fn new(length: usize) -> Arc<Self> {
            let bytes: Vec<u8> = (0..length).map(|i| (i / 7 % 251) as u8).collect();
            Self::claiming(bytes, length as u64)
        }

        fn claiming(bytes: Vec<u8>, claimed: u64) -> Arc<Self> {
            Arc::new(Self {
                bytes: bytes.into(),
                claimed,
                asked: Mutex::default(),
            })
        }

        fn refuse<T>(&self, key: &str) -> Result<T, BlobError> {
            Err(BlobError {
                location: self.location(key),
                kind: BlobErrorKind::PermissionDenied,
                source: None,
            })
        }
    }

    impl fmt::Display for OneObject {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("one object")
        }
    }

    #[async_trait]
    impl BlobStore for OneObject {
        async fn put(&self, key: &str, _: Bytes, _: PutMode) -> Result<BlobInfo, BlobError> {
            self.refuse(key)
        }
        async fn create(&self, key: &str, _: PutMode) -> Result<Box<dyn BlobWriter>, BlobError> {
            self.refuse(key)
        }
        async fn read_range(&self, _: &str, offset: u64, len: usize) -> Result<Bytes, BlobError> {
            self.asked.lock().unwrap().push((offset, len));
            let start = (offset as usize).min(self.bytes.len());
            let end = (start + len).min(self.bytes.len());
            Ok(self.bytes.slice(start..end))
        }
        async fn head(&self, key: &str) -> Result<Option<BlobInfo>, BlobError> {
            if key == "locked" {
                return self.refuse(key);
            }
            Ok((key == "there").then(|| BlobInfo {
                size: self.claimed,
                version: Version("1".into()),
            }))
        }
        async fn list(&self, p: &str, _: Option<&str>, _: usize) -> Result<Vec<String>, BlobError> {
            self.refuse(p)
        }
        async fn delete(&self, key: &str) -> Result<(), BlobError> {
            self.refuse(key)
        }
        fn location(&self, key: &str) -> String {
            format!("one:{key}")
        }
    }

    const MIB: usize = BlobSource::BLOCK;

    #[test]
    fn reads_the_object_block_by_block() {
        let runtime = Runtime::new().unwrap();
        let store = OneObject::new(2 * MIB + 5);
        let mut source =
            BlobSource::open(store.clone(), "there", runtime.handle().clone()).unwrap();
        let mut all = Vec::new();
        source.read_to_end(&mut all).unwrap();
        assert_eq!(all, store.bytes);
        let asked = store.asked.lock().unwrap().clone();
        let blocks = [(0, MIB), (MIB as u64, MIB), (2 * MIB as u64, 5)];
        assert_eq!(asked, blocks);
    }

    #[test]
    fn a_look_at_the_end_keeps_the_block_at_the_beginning() {
        let runtime = Runtime::new().unwrap();
        let store = OneObject::new(3 * MIB);
        let mut source =
            BlobSource::open(store.clone(), "there", runtime.handle().clone()).unwrap();
        let mut four = [0; 4];
        source.read_exact(&mut four).unwrap();
        assert_eq!(source.seek(SeekFrom::End(-4)).unwrap(), 3 * MIB as u64 - 4);
        source.read_exact(&mut four).unwrap();
        assert_eq!(four, store.bytes[3 * MIB - 4..]);
        assert_eq!(
            source.read(&mut four).unwrap(),
            0,
            "the end is an end, not an error"
        );
        source.seek(SeekFrom::Start(100)).unwrap();
        source.read_exact(&mut four).unwrap();
        assert_eq!(four, store.bytes[100..104]);
        assert_eq!(store.asked.lock().unwrap().len(), 2);
        assert!(
            source.seek(SeekFrom::Current(-200)).is_err(),
            "before the start"
        );
    }

    #[test]
    fn failures_keep_their_condition() {
        let runtime = Runtime::new().unwrap();
        let open = |key: &str| {
            let error = BlobSource::open(OneObject::new(9), key, runtime.handle().clone());
            error.unwrap_err()
        };
        assert_eq!(open("absent").kind(), io::ErrorKind::NotFound);
        let locked = open("locked");
        assert_eq!(locked.kind(), io::ErrorKind::PermissionDenied);
        assert!(locked.get_ref().unwrap().is::<BlobError>());
    }

    #[test]
    fn an_object_that_shrank_is_no_early_end() {
        let runtime = Runtime::new().unwrap();
        let store = OneObject::claiming(vec![1; 10], 20);
        let mut source = BlobSource::open(store, "there", runtime.handle().clone()).unwrap();
        let error = source.read(&mut [0; 4]).unwrap_err();
        assert_eq!(error.to_string(), "one:there: 10 bytes at 0 instead of 20");
    }
}
