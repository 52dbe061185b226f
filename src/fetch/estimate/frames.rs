//! Counts MPEG and ADTS frames.

use crate::fetch::mpeg::{FrameHeader, Frames, HEADER_LEN, frames};
use crate::fetch::sniff::{ID3_HEADER, id3_end};

/// Frames in a row that are believed where a tag claims to go on.
const SURE: usize = 4;

/// Follows frames from header to header; what is between them is skipped and not looked at.
#[derive(Debug, Default)]
pub(super) struct FrameCount {
    /// Bytes that were not decided on: fewer than one frame and the header behind it.
    rest: Vec<u8>,
    /// Bytes ahead that belong to what was already counted.
    skip: u64,
    is_begun: bool,
    /// The frame that the next header is expected behind.
    last: Option<FrameHeader>,
    counted: Counted,
}

/// All frames of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Counted {
    pub(super) seconds: f64,
    /// Bytes in frames and in the tags between them.
    pub(super) bytes: u64,
}

impl FrameCount {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let skipped = usize::try_from(self.skip).map_or(bytes.len(), |skip| skip.min(bytes.len()));
        self.skip -= skipped as u64;
        let bytes = &bytes[skipped..];
        if self.rest.is_empty() {
            // The usual case, for which nothing is copied.
            let decided = self.walk(bytes, false);
            self.rest.extend_from_slice(&bytes[decided..]);
            return;
        }
        let mut rest = std::mem::take(&mut self.rest);
        rest.extend_from_slice(bytes);
        let decided = self.walk(&rest, false);
        rest.drain(..decided);
        self.rest = rest;
    }

    pub(super) fn finish(mut self) -> Counted {
        let rest = std::mem::take(&mut self.rest);
        self.walk(&rest, true);
        self.counted
    }

    /// Counts what can be decided and says how much that was; at the file's `end` all of it can.
    fn walk(&mut self, bytes: &[u8], end: bool) -> usize {
        let mut at = 0;
        while let Some(step) = self.step(&bytes[at..], end) {
            let here = bytes.len() - at;
            if step >= here {
                self.skip += (step - here) as u64;
                return bytes.len();
            }
            at += step;
        }
        at
    }

    /// How far to go from here, or `None` where more bytes are needed to tell.
    fn step(&mut self, bytes: &[u8], end: bool) -> Option<usize> {
        let needed = if bytes.starts_with(b"I") {
            ID3_HEADER
        } else {
            HEADER_LEN
        };
        if bytes.len() < needed {
            return None;
        }
        if let Some(tag) = id3_end(bytes).filter(|_| bytes.starts_with(b"ID3")) {
            return Some(self.tag(bytes, tag));
        }
        self.is_begun = true;
        let Some(frame) = FrameHeader::parse(bytes) else {
            self.last = None;
            return Some(1);
        };
        let is_expected = self.last.is_some_and(|last| last.is_like(&frame));
        if !is_expected {
            // A lone header may be chance: the next one decides, or the file's end.
            match bytes
                .get(frame.length()..)
                .filter(|next| next.len() >= HEADER_LEN)
            {
                Some(next) => {
                    let is_followed = FrameHeader::parse(next).is_some_and(|n| n.is_like(&frame));
                    if !is_followed && !next.starts_with(b"ID3") && !next.starts_with(b"TAG") {
                        self.last = None;
                        return Some(1);
                    }
                }
                None if end => {}
                None => return None,
            }
        }
        self.last = Some(frame);
        self.counted.seconds += frame.seconds();
        self.counted.bytes += frame.length() as u64;
        Some(frame.length())
    }

    /// Steps over a tag that claims to end at `end`. The first tag may lie: it is held against what
    /// the first bytes show.
    fn tag(&mut self, bytes: &[u8], end: usize) -> usize {
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        self.last = None;
        let lies = is_first
            && match bytes.get(end..) {
                Some(behind) => !begins_like_audio(behind),
                None => first_run(bytes).is_some(),
            };
        let step = match lies {
            true => first_run(bytes).unwrap_or(ID3_HEADER),
            false => end,
        };
        self.counted.bytes += step as u64;
        step
    }
}

/// Whether frames follow, behind the zeros that pad a tag.
fn begins_like_audio(bytes: &[u8]) -> bool {
    let padding = bytes.iter().take_while(|byte| **byte == 0).count();
    let audio = &bytes[padding..];
    audio.len() < HEADER_LEN || audio.starts_with(b"ID3") || frames(audio, 2) != Frames::None
}

/// Where frames begin beyond doubt.
fn first_run(bytes: &[u8]) -> Option<usize> {
    (ID3_HEADER..bytes.len()).find(|at| matches!(frames(&bytes[*at..], SURE), Frames::Run(_)))
}
