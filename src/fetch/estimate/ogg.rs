//! The last granule position of an Ogg stream (RFC 3533), in the unit of its codec.

/// Length of a page's header without its table of segments.
const PAGE_HEADER: usize = 27;
/// Longest header with its table.
const LONGEST_HEADER: usize = PAGE_HEADER + 255;

/// Walks from page to page. Streams that follow each other (chained files) add up; of streams that
/// are interleaved, the first one with a codec that is known here counts.
#[derive(Debug, Default)]
pub(super) struct LastGranule {
    rest: Vec<u8>,
    skip: u64,
    stream: Option<Stream>,
    earlier: f64,
}

#[derive(Debug)]
struct Stream {
    serial: u32,
    rate: u32,
    /// Samples at the start that are not played.
    pre_skip: u64,
    granule: u64,
    is_over: bool,
}

impl Stream {
    fn seconds(&self) -> f64 {
        self.granule.saturating_sub(self.pre_skip) as f64 / f64::from(self.rate)
    }
}

impl LastGranule {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let skipped = usize::try_from(self.skip).map_or(bytes.len(), |skip| skip.min(bytes.len()));
        self.skip -= skipped as u64;
        let mut rest = std::mem::take(&mut self.rest);
        rest.extend_from_slice(&bytes[skipped..]);
        let decided = self.walk(&rest, LONGEST_HEADER);
        rest.drain(..decided);
        self.rest = rest;
    }

    pub(super) fn seconds(mut self) -> Option<f64> {
        let rest = std::mem::take(&mut self.rest);
        self.walk(&rest, PAGE_HEADER);
        let seconds = self.stream.as_ref()?.seconds();
        Some(self.earlier + seconds)
    }

    /// Reads pages while at least `needed` bytes are there.
    fn walk(&mut self, bytes: &[u8], needed: usize) -> usize {
        let mut at = 0;
        while bytes.len() - at >= needed {
            let here = &bytes[at..];
            let step = self.page(here).unwrap_or(1);
            if step >= here.len() {
                self.skip = (step - here.len()) as u64;
                return bytes.len();
            }
            at += step;
        }
        at
    }

    /// The length of the page that begins here, if one does.
    fn page(&mut self, bytes: &[u8]) -> Option<usize> {
        let header: &[u8; PAGE_HEADER] = bytes.first_chunk()?;
        if !header.starts_with(b"OggS\0") {
            return None;
        }
        let table = bytes.get(PAGE_HEADER..PAGE_HEADER + usize::from(header[26]))?;
        let content: usize = table.iter().map(|length| usize::from(*length)).sum();
        let flags = header[5];
        let granule = u64::from_le_bytes(*header[6..].first_chunk()?);
        let serial = u32::from_le_bytes(*header[14..].first_chunk()?);
        let begin = PAGE_HEADER + table.len();
        if flags & 2 != 0 {
            self.begin(serial, &bytes[begin..bytes.len().min(begin + content)]);
        } else if let Some(stream) = self.stream.as_mut().filter(|s| s.serial == serial) {
            // All bits set: no packet ends on this page.
            if granule != u64::MAX {
                stream.granule = stream.granule.max(granule);
            }
            stream.is_over |= flags & 4 != 0;
        }
        Some(begin + content)
    }

    fn begin(&mut self, serial: u32, packet: &[u8]) {
        let is_free = self.stream.as_ref().is_none_or(|stream| stream.is_over);
        let Some((rate, pre_skip)) = codec(packet).filter(|_| is_free) else {
            return;
        };
        if let Some(over) = self.stream.take() {
            self.earlier += over.seconds();
        }
        self.stream = Some(Stream {
            serial,
            rate,
            pre_skip,
            granule: 0,
            is_over: false,
        });
    }
}

/// Granules a second, and samples that are not played, by a stream's first packet.
fn codec(packet: &[u8]) -> Option<(u32, u64)> {
    let word = |at: usize| Some(u32::from_le_bytes(*packet.get(at..)?.first_chunk()?));
    let (rate, pre_skip) = if packet.starts_with(b"OpusHead") {
        let pre_skip = u16::from_le_bytes(*packet.get(10..)?.first_chunk()?);
        // RFC 7845: always, whatever the input's rate was.
        (48_000, u64::from(pre_skip))
    } else if packet.starts_with(b"\x01vorbis") {
        (word(12)?, 0)
    } else if packet.starts_with(b"Speex   ") {
        (word(36)?, 0)
    } else if packet.starts_with(b"\x7fFLAC") {
        let info = packet.get(17..)?;
        let rate = u32::from_be_bytes(*info.get(10..)?.first_chunk()?) >> 12;
        (rate, 0)
    } else {
        return None;
    };
    (rate > 0).then_some((rate, pre_skip))
}
