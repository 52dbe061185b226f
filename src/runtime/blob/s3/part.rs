//! Parts of an upload: their sizes, checksums and buffers.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, Digest, checksum_combine};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Size of a part. Large enough that a request costs little for each byte (S3's least is 5 MiB), small
/// enough that a few transfers at once stay far below a small machine's memory.
pub(super) const PART: usize = 8 << 20;
/// Size of a part once an object turned out to be enormous.
const LARGE_PART: usize = 16 << 20;
/// Number of the last part of the usual size.
const LAST_USUAL: i32 = 5_000;
/// S3 takes no more parts than these.
const MOST_PARTS: i32 = 10_000;

/// Size of part `number`, counted from 1; `None` where there can be no further part. All together hold
/// 117 GiB.
pub(super) fn part_size(number: i32) -> Option<usize> {
    match number {
        1..=LAST_USUAL => Some(PART),
        _ if number <= MOST_PARTS => Some(LARGE_PART),
        _ => None,
    }
}

/// A CRC64NVME with the number of bytes that it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checksum {
    value: u64,
    pub(super) bytes: u64,
}

impl Checksum {
    /// Of nothing.
    pub(super) fn empty() -> Self {
        Self::of(&[])
    }

    pub(super) fn of(bytes: &[u8]) -> Self {
        Self {
            value: crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes),
            bytes: bytes.len() as u64,
        }
    }

    /// Of what this is of, followed by what `next` is of.
    #[must_use]
    pub(super) fn then(self, next: Self) -> Self {
        let Self { value, bytes } = next;
        Self {
            value: checksum_combine(CrcAlgorithm::Crc64Nvme, self.value, value, bytes),
            bytes: self.bytes + bytes,
        }
    }

    /// As the service spells it: big endian, in base64.
    pub(super) fn encoded(self) -> String {
        STANDARD.encode(self.value.to_be_bytes())
    }
}

/// The memory of one object's parts. Buffers are used again: an allocator that gets and gives back
/// megabytes all the time, from several threads, holds half as much again.
#[derive(Debug)]
pub(super) struct Buffers {
    places: Arc<Semaphore>,
    idle: Mutex<Vec<BytesMut>>,
}

impl Buffers {
    /// For so many parts at once.
    pub(super) fn new(parts: usize) -> Arc<Self> {
        Arc::new(Self {
            places: Arc::new(Semaphore::new(parts)),
            idle: Mutex::default(),
        })
    }

    /// An empty part of `size` bytes, as soon as there is a place for it.
    pub(super) async fn part(self: &Arc<Self>, number: i32, size: usize) -> Filling {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let idle = self.idle().pop().unwrap_or_default();
        let bytes = match idle.capacity() < size {
            // Not touched before it is filled, so that a small object takes little of it.
            true => BytesMut::with_capacity(size),
            false => idle,
        };
        Filling {
            number,
            bytes,
            digest: Digest::new(CrcAlgorithm::Crc64Nvme),
            size,
            // Fails only where it is closed, and nobody does that.
            place: place.ok(),
            buffers: Arc::clone(self),
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<BytesMut>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part on its way in.
#[derive(Debug)]
pub(super) struct Filling {
    pub(super) number: i32,
    bytes: BytesMut,
    digest: Digest,
    size: usize,
    place: Option<OwnedSemaphorePermit>,
    buffers: Arc<Buffers>,
}

impl Filling {
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= self.size
    }

    /// Takes from the front of `bytes` what has room.
    pub(super) fn take_from(&mut self, bytes: &mut Bytes) {
        let taken = bytes.split_to(bytes.len().min(self.size - self.bytes.len()));
        self.digest.update(&taken);
        self.bytes.extend_from_slice(&taken);
    }

    /// No more comes.
    pub(super) fn fill(self) -> Part {
        Part {
            number: self.number,
            checksum: Checksum {
                value: self.digest.finalize(),
                bytes: self.bytes.len() as u64,
            },
            bytes: self.bytes.freeze(),
            _place: self.place,
            buffers: self.buffers,
        }
    }
}

/// A part on its way out. Dropping it frees its place and its buffer.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) number: i32,
    pub(super) bytes: Bytes,
    pub(super) checksum: Checksum,
    _place: Option<OwnedSemaphorePermit>,
    buffers: Arc<Buffers>,
}

impl Drop for Part {
    fn drop(&mut self) {
        // Somebody may have it still; then it goes when they are done.
        if let Ok(mut bytes) = std::mem::take(&mut self.bytes).try_into_mut() {
            bytes.clear();
            self.buffers.idle().push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn all_parts_hold_what_is_promised_and_s3_takes_each() {
        let sizes: Vec<_> = (1..).map_while(part_size).collect();
        assert_eq!(sizes.len(), 10_000);
        assert!(sizes.iter().all(|size| (5 << 20..=16 << 20).contains(size)));
        let total: u64 = sizes.iter().map(|size| *size as u64).sum();
        assert!(total >> 30 == 117, "{total}");
        let usual: u64 = sizes.iter().take_while(|size| **size == PART).count() as u64;
        assert_eq!((usual * PART as u64) >> 30, 39);
    }

    #[test]
    fn checksums_of_parts_make_the_checksum_of_the_whole() {
        // The check value of CRC-64/NVME in the catalogue of CRC algorithms.
        let whole = Checksum::of(b"123456789");
        assert_eq!(whole.value, 0xae8b_1486_0a79_9888);
        assert_eq!(whole.encoded(), "rosUhgp5mIg=");
        let parts = [&b"1234"[..], b"", b"56789"].map(Checksum::of);
        let combined = parts.into_iter().fold(Checksum::empty(), Checksum::then);
        assert_eq!(combined, whole);
    }

    #[tokio::test]
    async fn a_part_takes_what_has_room() {
        let buffers = Buffers::new(1);
        let mut filling = buffers.part(1, 5).await;
        let mut rest = Bytes::from_static(b"12");
        filling.take_from(&mut rest);
        assert!(rest.is_empty() && !filling.is_full());
        let mut rest = Bytes::from_static(b"3456789");
        filling.take_from(&mut rest);
        assert!(filling.is_full());
        assert_eq!(rest, "6789");
        let part = filling.fill();
        assert_eq!(part.bytes, "12345");
        assert_eq!(part.checksum, Checksum::of(b"12345"));
    }

    #[tokio::test]
    async fn a_place_is_free_again_with_its_buffer_after_the_part() {
        let buffers = Buffers::new(1);
        let mut filling = buffers.part(1, PART).await;
        filling.take_from(&mut Bytes::from_static(b"123"));
        let part = filling.fill();
        assert!(buffers.part(2, PART).now_or_never().is_none());
        let address = part.bytes.as_ptr();
        drop(part);
        let mut next = buffers.part(2, PART).await;
        assert!(!next.is_full());
        next.take_from(&mut Bytes::from_static(b"45"));
        let next = next.fill();
        assert_eq!(next.bytes.as_ptr(), address);
        assert_eq!(next.bytes, "45");
        assert_eq!(next.checksum, Checksum::of(b"45"));
    }
}
