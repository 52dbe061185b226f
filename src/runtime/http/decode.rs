//! Bodies that come compressed, though media is asked for as it is.
//!
//! A decoder is bounded by what went into it, not only by the size of what comes out: a body of a
//! megabyte may hold a gigabyte of zeros. What comes out of one piece is held in memory, so pieces are
//! small.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::{MultiGzDecoder, ZlibDecoder};

/// Most bytes out for one byte in. Text reaches 20, and nothing that is audio reaches 2.
const MAX_RATIO: u64 = 200;
/// Below this much output no ratio is held against it.
const FREE: u64 = 1 << 20;

/// Codings of a body (RFC 9110, section 8.4.1) that can be undone here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// `gzip`, `x-gzip`.
    Gzip,
    /// `deflate`: zlib's form.
    Deflate,
}

/// A coding that cannot be undone here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnknownCoding;

impl Coding {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// Reads `Content-Encoding`. Servers write nonsense there (`utf-8`, `none`), which changes no
    /// bytes.
    pub(super) fn parse(value: &[u8]) -> Result<Option<Self>, UnknownCoding> {
        match value.trim_ascii().to_ascii_lowercase().as_slice() {
            b"gzip" | b"x-gzip" => Ok(Some(Self::Gzip)),
            b"deflate" => Ok(Some(Self::Deflate)),
            b"br" | b"zstd" | b"compress" | b"x-compress" => Err(UnknownCoding),
            several if several.contains(&b',') => Err(UnknownCoding),
            _ => Ok(None),
        }
    }
}

/// Why a body cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum DecodeError {
    #[error("its compression is damaged")]
    Damaged,
    #[error("its compression ends early")]
    Cut,
    #[error("it unpacks to more than {MAX_RATIO} times its size")]
    Bomb,
}

/// Undoes one coding, piece by piece.
pub(super) struct Decoder {
    inner: Inner,
    taken: u64,
}

enum Inner {
    Gzip(MultiGzDecoder<Output>),
    Deflate(ZlibDecoder<Output>),
}

impl Decoder {
    /// Most bytes to push at once. Deflate unpacks to 1032 times its size at most (RFC 1951), so what
    /// comes out of one piece is about a megabyte.
    pub(super) const PIECE: usize = 1024;

    pub(super) fn new(coding: Coding) -> Self {
        let output = Output::default();
        let inner = match coding {
            Coding::Gzip => Inner::Gzip(MultiGzDecoder::new(output)),
            Coding::Deflate => Inner::Deflate(ZlibDecoder::new(output)),
        };
        Self { inner, taken: 0 }
    }

    /// What `bytes`, at most [`PIECE`](Self::PIECE) of them, unpack to, as far as can be told by now.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Bytes, DecodeError> {
        debug_assert!(bytes.len() <= Self::PIECE, "what comes out has no bound");
        self.taken += bytes.len() as u64;
        let limit = (self.taken * MAX_RATIO).max(FREE);
        self.output().limit = limit;
        let written = match &mut self.inner {
            Inner::Gzip(decoder) => decoder.write_all(bytes).and_then(|()| decoder.flush()),
            Inner::Deflate(decoder) => decoder.write_all(bytes).and_then(|()| decoder.flush()),
        };
        self.outcome(written, DecodeError::Damaged)
    }

    /// What is left, if the coding ends here.
    pub(super) fn finish(&mut self) -> Result<Bytes, DecodeError> {
        let finished = match &mut self.inner {
            Inner::Gzip(decoder) => decoder.try_finish(),
            Inner::Deflate(decoder) => decoder.try_finish(),
        };
        self.outcome(finished, DecodeError::Cut)
    }

    fn outcome(
        &mut self,
        result: io::Result<()>,
        otherwise: DecodeError,
    ) -> Result<Bytes, DecodeError> {
        let output = self.output();
        if output.overflowed {
            return Err(DecodeError::Bomb);
        }
        match result {
            Ok(()) => Ok(std::mem::take(&mut output.bytes).into()),
            Err(_) => Err(otherwise),
        }
    }

    fn output(&mut self) -> &mut Output {
        match &mut self.inner {
            Inner::Gzip(decoder) => decoder.get_mut(),
            Inner::Deflate(decoder) => decoder.get_mut(),
        }
    }
}

/// Takes what comes out, up to the limit.
#[derive(Debug, Default)]
struct Output {
    bytes: Vec<u8>,
    total: u64,
    limit: u64,
    overflowed: bool,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.total += bytes.len() as u64;
        if self.total > self.limit {
            self.overflowed = true;
            return Err(io::Error::other("over the limit"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    fn gzipped(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn decoded(coding: Coding, bytes: &[u8], piece: usize) -> Result<Vec<u8>, DecodeError> {
        let mut decoder = Decoder::new(coding);
        let mut out = Vec::new();
        for piece in bytes.chunks(piece) {
            out.extend_from_slice(&decoder.push(piece)?);
        }
        out.extend_from_slice(&decoder.finish()?);
        Ok(out)
    }

    #[test]
    fn both_codings_are_undone_in_any_pieces() {
        let text: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(&text).unwrap();
        let zlib = zlib.finish().unwrap();
        for piece in [1, 7, 1000, Decoder::PIECE] {
            assert_eq!(decoded(Coding::Gzip, &gzipped(&text), piece).unwrap(), text);
            assert_eq!(decoded(Coding::Deflate, &zlib, piece).unwrap(), text);
        }
        let twice = [gzipped(b"a"), gzipped(b"b")].concat();
        assert_eq!(decoded(Coding::Gzip, &twice, 5).unwrap(), b"ab");
    }

    #[test]
    fn what_is_cut_or_damaged_is_no_body() {
        let whole = gzipped(&[7; 5000]);
        let cut = &whole[..whole.len() - 3];
        assert_eq!(decoded(Coding::Gzip, cut, 10), Err(DecodeError::Cut));
        let mut damaged = whole;
        damaged[12] ^= 0xff;
        assert!(decoded(Coding::Gzip, &damaged, 10).is_err());
        assert_eq!(
            decoded(Coding::Gzip, b"plain text", 4),
            Err(DecodeError::Damaged)
        );
    }

    #[test]
    fn a_bomb_is_given_up_before_it_is_unpacked() {
        let bomb = gzipped(&vec![0; 64 << 20]);
        assert!(bomb.len() * 200 < 64 << 20);
        let mut decoder = Decoder::new(Coding::Gzip);
        let mut kept = 0;
        let given_up = bomb
            .chunks(Decoder::PIECE)
            .find_map(|piece| match decoder.push(piece) {
                Ok(bytes) => {
                    kept += bytes.len();
                    None
                }
                Err(error) => Some(error),
            });
        assert_eq!(given_up, Some(DecodeError::Bomb));
        assert!(kept as u64 <= bomb.len() as u64 * MAX_RATIO + FREE);
    }

    #[test]
    fn one_piece_unpacks_to_a_megabyte_or_so() {
        // The bytes that pack badly earn the zeros behind them their ratio.
        let noise: Vec<u8> = (0..400_000_u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        let packed = gzipped(&[noise, vec![0; 32 << 20]].concat());
        let mut decoder = Decoder::new(Coding::Gzip);
        let mut most = 0;
        for piece in packed.chunks(Decoder::PIECE) {
            most = most.max(decoder.push(piece).unwrap().len());
        }
        assert!(most <= 1100 * Decoder::PIECE, "{most}");
    }

    #[test]
    fn only_real_codings_count() {
        assert_eq!(Coding::parse(b" GZIP "), Ok(Some(Coding::Gzip)));
        for nonsense in [&b""[..], b"identity", b"utf-8", b"none"] {
            assert_eq!(Coding::parse(nonsense), Ok(None));
        }
        for unknown in [&b"br"[..], b"zstd", b"gzip, gzip"] {
            assert_eq!(Coding::parse(unknown), Err(UnknownCoding));
        }
    }
}
