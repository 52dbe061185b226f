//! Feed bodies as they come over the wire: plain, or one gzip.

use std::io::Read;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;

use super::parse::MAX_FEED_BYTES;
use crate::domain::{Failure, FailureClass};

/// RFC 1952: the two magic bytes and the only compression method there is.
const GZIP: [u8; 3] = [0x1f, 0x8b, 8];

/// A body that unpacks to more than this many times its size is an attack: feeds manage 5 to 30.
const MAX_RATIO: usize = 200;

/// Below this size the ratio does not matter: what is small when unpacked hurts nobody.
const HARMLESS: usize = 8 * 1024 * 1024;

/// A body, unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unpacked {
    pub(super) bytes: Bytes,
    /// What was odd about it.
    pub(super) warning: Option<String>,
}

/// Unpacks `body` where it begins like a gzip. The magic bytes decide and not the header: servers
/// label plain bodies as gzip and serve `feed.xml.gz` without a label, and no feed begins this way.
///
/// A gzip that breaks off gives what could be unpacked, and a warning. More than [`MAX_FEED_BYTES`],
/// or more than 200 times the size of the body, is [`FailureClass::TooLarge`]; no more than that is
/// ever held in memory. Takes CPU time in proportion to what comes out.
pub(super) fn unpack(body: Vec<u8>) -> Result<Unpacked, Failure> {
    if !body.starts_with(&GZIP) {
        return Ok(Unpacked {
            bytes: body.into(),
            warning: None,
        });
    }
    let by_ratio = body.len().saturating_mul(MAX_RATIO).max(HARMLESS);
    let cap = by_ratio.min(MAX_FEED_BYTES);
    let mut bytes = Vec::new();
    let mut reader = MultiGzDecoder::new(body.as_slice()).take(cap as u64 + 1);
    let ended = reader.read_to_end(&mut bytes);
    if bytes.len() > cap {
        let problem = match cap {
            MAX_FEED_BYTES => format!("the feed unpacks to more than {cap} bytes"),
            _ => format!("the feed unpacks to more than {MAX_RATIO} times its size"),
        };
        return Err(Failure::new(FailureClass::TooLarge, problem));
    }
    Ok(Unpacked {
        warning: ended.err().map(|_| {
            format!(
                "the compressed feed is damaged; {} bytes of it could be unpacked",
                bytes.len()
            )
        }),
        bytes: bytes.into(),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn text(lines: usize) -> Vec<u8> {
        (0..lines)
            .flat_map(|line| format!("<item><guid>{line}</guid></item>\n").into_bytes())
            .collect()
    }

    #[test]
    fn plain_and_packed_bodies_come_out_alike() {
        let plain = text(1000);
        for body in [plain.clone(), gzip(&plain)] {
            let unpacked = unpack(body).unwrap();
            assert_eq!(unpacked.bytes, plain);
            assert_eq!(unpacked.warning, None);
        }
        let two = [gzip(b"<rss>"), gzip(b"</rss>")].concat();
        assert_eq!(&unpack(two).unwrap().bytes[..], b"<rss></rss>");
    }

    #[test]
    fn case_025_a_bomb_is_stopped_by_its_ratio_and_by_its_size() {
        let by_ratio = gzip(&vec![b' '; HARMLESS + 1024 * 1024]);
        assert!(by_ratio.len() * 900 < HARMLESS, "{}", by_ratio.len());
        let failure = unpack(by_ratio).unwrap_err();
        assert_eq!(failure.class, FailureClass::TooLarge);
        assert!(failure.message.contains("200 times"), "{failure}");
        // Noise in front keeps the ratio honest; the size still counts.
        let mut seed = 1_u32;
        let noise = (0..400_000).map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed.to_be_bytes()[0]
        });
        let mut large: Vec<u8> = noise.collect();
        large.resize(MAX_FEED_BYTES + 1, b' ');
        let failure = unpack(gzip(&large)).unwrap_err();
        assert!(failure.message.contains("67108864 bytes"), "{failure}");
    }

    #[test]
    fn a_small_feed_may_be_very_compressible() {
        let plain = vec![b' '; HARMLESS];
        assert_eq!(unpack(gzip(&plain)).unwrap().bytes.len(), HARMLESS);
    }

    #[test]
    fn case_026_a_truncated_gzip_gives_what_came_and_a_warning() {
        let (plain, packed) = (text(20_000), gzip(&text(20_000)));
        let unpacked = unpack(packed[..packed.len() / 2].to_vec()).unwrap();
        assert!(plain.starts_with(&unpacked.bytes) && unpacked.bytes.len() > plain.len() / 4);
        assert!(unpacked.warning.unwrap().contains("damaged"));
        let unpacked = unpack(GZIP.to_vec()).unwrap();
        assert!(unpacked.bytes.is_empty() && unpacked.warning.is_some());
    }
}
