//! Whatever the bytes, the sniffer and the length estimates end; frames are counted alike in one piece
//! and byte by byte.

#![no_main]

use libfuzzer_sys::fuzz_target;
use podrun::domain::AudioContainer;
use podrun::fetch::estimate::{Estimate, Probe};
use podrun::fetch::sniff::sniff;

fn probe(container: AudioContainer, bytes: &[u8], piece: usize) -> Estimate {
    let mut probe = Probe::new(container);
    for piece in bytes.chunks(piece.max(1)) {
        probe.push(piece);
    }
    probe.finish()
}

fuzz_target!(|bytes: &[u8]| {
    let _ = sniff(bytes);
    let Some((first, rest)) = bytes.split_first() else { return };
    let container = AudioContainer::ALL[usize::from(*first) % AudioContainer::ALL.len()];
    let whole = probe(container, rest, rest.len());
    if let Some(seconds) = whole.duration_s {
        assert!(seconds.is_finite() && seconds >= 0.0);
    }
    // A tag in front is judged by the first piece, which in the program is the sniffing window.
    let is_framed = matches!(container, AudioContainer::Mp3 | AudioContainer::Aac);
    if is_framed && !rest.starts_with(b"ID3") {
        assert_eq!(whole, probe(container, rest, 1));
    }
});
