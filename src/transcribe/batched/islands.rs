//! Speech between two pauses whose words are too few.
//!
//! Where the model skips a sentence, alignment may spread the neighbours' words over it, so that no word
//! is long and no stretch is without words. But speakers keep their pace: a piece of speech with far fewer
//! letters a second than the window's others says more than its words.

use super::gaps::Gap;
use super::pauses::{pauses, seconds};
use crate::transcribe::words::TokenWord;

/// Shorter pieces are a word or two, whose pace says nothing, in seconds.
const SHORTEST_S: f64 = 0.8;

/// Pieces that are slower than this share of the median pace hide something.
const SPARSE: f64 = 0.55;

/// Pieces of speech with far fewer letters a second than the window's others, in order. `speech` has the
/// probability of speech for each frame of 10 ms of the window.
pub(super) fn sparse(words: &[TokenWord], speech: &[f32]) -> Vec<Gap> {
    let islands = islands(speech);
    let pace = |island: &Gap| letters(words, *island) / (island.end - island.start);
    let limit = SPARSE * median(islands.iter().map(pace).collect());
    let sparse = islands.into_iter().filter(|island| pace(island) < limit);
    sparse.collect()
}

/// What lies between the pauses that were heard.
fn islands(speech: &[f32]) -> Vec<Gap> {
    let mut islands = Vec::new();
    let mut reached = 0;
    for (start, end) in pauses(speech).into_iter().chain([(speech.len(), 0)]) {
        islands.push(Gap {
            start: seconds(reached),
            end: seconds(start),
        });
        reached = end;
    }
    islands.retain(|island| island.end - island.start >= SHORTEST_S);
    islands
}

/// Letters said in a piece; a word that reaches beyond it counts by its share of time.
fn letters(words: &[TokenWord], island: Gap) -> f64 {
    let share = |word: &TokenWord| match word.duration() > 0.0 {
        true => {
            let inside = word.end.min(island.end) - word.start.max(island.start);
            inside.max(0.0) / word.duration()
        }
        false => f64::from(u8::from(
            island.start <= word.start && word.start < island.end,
        )),
    };
    let count = |word: &TokenWord| word.text.trim().chars().count() as f64;
    words.iter().map(|word| share(word) * count(word)).sum()
}

/// The middle one, or the higher of the two; 0 of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcribe::words::word_for_test as word;

    /// Speech of a second each, and pauses of 0.3 s between.
    fn speech(pieces: usize) -> Vec<f32> {
        let piece = [[0.9; 100].as_slice(), &[0.1; 30]].concat();
        piece.repeat(pieces)
    }

    #[test]
    fn a_piece_that_its_neighbours_words_are_spread_over_is_sparse() {
        let words = [
            word(" twelve letters", 0.0, 1.0),
            word(" and as many", 1.3, 2.1),
            // The third piece has three letters of its own, and a share of the next one's word.
            word(" but", 2.2, 3.2),
            word(" then so many", 3.2, 4.9),
            word(" again twelve", 5.2, 6.2),
        ];
        let found = sparse(&words, &speech(5));
        assert_eq!(
            found,
            [Gap {
                start: 2.6,
                end: 3.6
            }]
        );
    }

    #[test]
    fn an_even_pace_hides_nothing() {
        let words: Vec<TokenWord> = (0..5)
            .map(|n| word(" letters", f64::from(n) * 1.3, f64::from(n) * 1.3 + 1.0))
            .collect();
        assert_eq!(sparse(&words, &speech(5)), []);
        assert_eq!(sparse(&[], &speech(5)), []);
        assert_eq!(sparse(&words, &[]), []);
    }

    #[test]
    fn words_without_length_count_where_they_are() {
        let mut words = vec![word(" twelve letters", 0.0, 1.0); 5];
        for (n, word) in words.iter_mut().enumerate() {
            word.start = n as f64 * 1.3 + 0.5;
            word.end = word.start;
        }
        assert_eq!(sparse(&words, &speech(5)), []);
        words.remove(3);
        assert_eq!(sparse(&words, &speech(5)).len(), 1);
    }

    #[test]
    fn short_speech_has_no_pace() {
        // Half a second.
        let short = [[0.9; 50].as_slice(), &[0.1; 30]].concat().repeat(5);
        let words = [word(" many letters", 0.0, 0.5)];
        assert_eq!(sparse(&words, &short), []);
    }
}
