//! A stream of samples with mirrored ends, for filters that look around a sample.

/// Samples not consumed yet, preceded by a mirror image of the beginning and, once finished,
/// followed by one of the end. The edge samples themselves are not repeated.
#[derive(Debug)]
pub(super) struct Mirrored {
    before: usize,
    after: usize,
    is_begun: bool,
    samples: Vec<f32>,
}

impl Mirrored {
    /// So many mirrored samples before and after the stream.
    pub(super) fn new(before: usize, after: usize) -> Self {
        Self {
            before,
            after,
            is_begun: false,
            samples: Vec::new(),
        }
    }

    /// What lies ready; nothing until there is enough to mirror.
    pub(super) fn ready(&self) -> &[f32] {
        if self.is_begun { &self.samples } else { &[] }
    }

    /// Gives up the first `count` samples of [`ready`](Self::ready).
    pub(super) fn advance(&mut self, count: usize) {
        self.samples.drain(..count);
    }

    /// Appends to the stream.
    pub(super) fn push(&mut self, samples: &[f32]) {
        self.samples.extend_from_slice(samples);
        if !self.is_begun && self.samples.len() > self.before {
            let image: Vec<f32> = self.samples[1..=self.before]
                .iter()
                .rev()
                .copied()
                .collect();
            self.samples.splice(0..0, image);
            self.is_begun = true;
        }
    }

    /// Ends the stream. One that is shorter than a margin is mirrored back and forth to fill it.
    pub(super) fn finish(&mut self) {
        let length = self.samples.len() as isize;
        if length == 0 {
            return;
        }
        let before = if self.is_begun {
            0
        } else {
            self.before as isize
        };
        self.samples = (-before..length + self.after as isize)
            .map(|index| self.samples[reflect(index, length)])
            .collect();
        self.is_begun = true;
    }
}

/// The index inside `0..length` that mirrors at both ends show at `index`.
fn reflect(index: isize, length: isize) -> usize {
    let period = (2 * (length - 1)).max(1);
    let folded = index.rem_euclid(period);
    folded.min(period - folded) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirrored(stream: &[f32], before: usize, after: usize) -> Vec<f32> {
        let mut mirrored = Mirrored::new(before, after);
        for &sample in stream {
            mirrored.push(&[sample]);
        }
        mirrored.finish();
        mirrored.ready().to_vec()
    }

    #[test]
    fn mirrors_both_ends_without_their_edges() {
        let stream = [1.0, 2.0, 3.0, 4.0];
        let expected = [3.0, 2.0, 1.0, 2.0, 3.0, 4.0, 3.0, 2.0, 1.0];
        assert_eq!(mirrored(&stream, 2, 3), expected);
    }

    #[test]
    fn short_streams_are_mirrored_back_and_forth() {
        assert_eq!(
            mirrored(&[1.0, 2.0], 3, 2),
            [2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0]
        );
        assert_eq!(mirrored(&[1.0], 2, 1), [1.0; 4]);
        assert!(mirrored(&[], 2, 1).is_empty());
    }
}
