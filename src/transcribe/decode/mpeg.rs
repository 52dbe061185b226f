//! Watches an MPEG audio stream for a change of rate or channels.
//!
//! The decoder takes its format from the first frame and refuses every frame of another; behind
//! the first joint of a spliced episode it would refuse the rest of the file. But damage can look
//! like a frame of another format too, so a change counts only when two packets in a row show it.

use symphonia::core::packet::Packet;

/// The part of a frame header that a decoder cannot change: version, layer, rate, mono or not.
type Shape = [u8; 3];

/// What to do with a packet.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Decode it.
    Same(Packet),
    /// Wait: the next packet decides.
    Held,
    /// Decode these with a new decoder.
    Changed([Packet; 2]),
}

/// Remembers the shape of the stream and a packet that deviates.
#[derive(Debug, Default)]
pub(super) struct ShapeWatch {
    current: Option<Shape>,
    held: Option<Packet>,
}

impl ShapeWatch {
    /// Judges the next packet; the flag tells whether a held packet is given up for it.
    pub(super) fn admit(&mut self, packet: Packet) -> (Verdict, bool) {
        let shape = shape(&packet.data);
        let current = *self.current.get_or_insert(shape);
        match self.held.take() {
            held if shape == current => (Verdict::Same(packet), held.is_some()),
            Some(first) if self::shape(&first.data) == shape => {
                self.current = Some(shape);
                (Verdict::Changed([first, packet]), false)
            }
            held => {
                self.held = Some(packet);
                (Verdict::Held, held.is_some())
            }
        }
    }
}

fn shape(frame: &[u8]) -> Shape {
    match frame {
        [_, version_and_layer, rate, mode, ..] => [
            version_and_layer & 0b0001_1110,
            rate & 0b0000_1100,
            u8::from(mode >> 6 == 0b11),
        ],
        _ => Shape::default(),
    }
}

#[cfg(test)]
mod tests {
    use symphonia::core::units::{Duration, Timestamp};

    use super::*;

    const STEREO: [u8; 4] = [0xff, 0xfb, 0x90, 0x44];
    const STEREO_OTHER_BITRATE: [u8; 4] = [0xff, 0xfb, 0xa2, 0x04];
    const MONO: [u8; 4] = [0xff, 0xfb, 0x90, 0xc4];

    fn packet(header: [u8; 4]) -> Packet {
        Packet::new(0, Timestamp::ZERO, Duration::ZERO, header)
    }

    /// One letter a packet: same, held, changed; in capitals where a held one is given up.
    fn verdicts(headers: &[[u8; 4]]) -> String {
        let mut watch = ShapeWatch::default();
        let mut letters = String::new();
        for header in headers {
            let (verdict, gives_up) = watch.admit(packet(*header));
            let letter = match verdict {
                Verdict::Same(_) => 's',
                Verdict::Held => 'h',
                Verdict::Changed(_) => 'c',
            };
            letters.push(if gives_up {
                letter.to_ascii_uppercase()
            } else {
                letter
            });
        }
        letters
    }

    #[test]
    fn a_bitrate_is_no_change() {
        assert_eq!(verdicts(&[STEREO, STEREO_OTHER_BITRATE]), "ss");
    }

    #[test]
    fn two_packets_make_a_change() {
        assert_eq!(
            verdicts(&[STEREO, MONO, MONO, MONO, STEREO, STEREO]),
            "shcshc"
        );
    }

    #[test]
    fn one_packet_is_damage() {
        assert_eq!(verdicts(&[STEREO, MONO, STEREO, STEREO]), "shSs");
    }
}
