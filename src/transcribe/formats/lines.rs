//! Breaking a row of words into lines, and lines into cues, of about the same width.

use std::ops::Range;

use unicode_width::UnicodeWidthStr;

/// How cues of WebVTT and SubRip are laid out, where word times are known. Without them a segment
/// is a cue of one line: nobody could say when its parts are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CueLayout {
    /// Columns of a line; a wide character takes two. A longer word has a line of its own.
    pub max_line_width: usize,
    /// Lines of a cue.
    pub max_line_count: usize,
    /// Words of a line.
    pub max_words_per_line: Option<usize>,
    /// A cue for each word, which is underlined in it, for reading along.
    pub highlight_words: bool,
}

impl Default for CueLayout {
    /// What broadcasters ask for: two lines of 42 columns.
    fn default() -> Self {
        Self {
            max_line_width: 42,
            max_line_count: 2,
            max_words_per_line: None,
            highlight_words: false,
        }
    }
}

impl CueLayout {
    /// Divides words into cues, each a list of lines, each a range of words. As few cues as the
    /// layout allows, and none much shorter than the others: a last word alone reads badly.
    pub(super) fn cues(&self, words: &[&str]) -> Vec<Vec<Range<usize>>> {
        let widths: Vec<usize> = words.iter().map(|word| word.width()).collect();
        let fits = |range: &Range<usize>, limit: usize| {
            width(&widths, range) <= limit
                && self.lines(&widths, range).len() <= self.max_line_count.max(1)
        };
        let cues = balanced(0..words.len(), width(&widths, &(0..words.len())), fits);
        cues.into_iter()
            .map(|cue| self.lines(&widths, &cue))
            .collect()
    }

    fn lines(&self, widths: &[usize], cue: &Range<usize>) -> Vec<Range<usize>> {
        let most_words = self.max_words_per_line.unwrap_or(usize::MAX).max(1);
        let fits = |range: &Range<usize>, limit: usize| {
            range.len() <= most_words && width(widths, range) <= limit
        };
        balanced(cue.clone(), self.max_line_width.max(1), fits)
    }
}

/// Columns of words side by side.
fn width(widths: &[usize], range: &Range<usize>) -> usize {
    widths[range.clone()].iter().sum()
}

/// As few pieces as `limit` allows, under the smallest limit that allows as few.
fn balanced(
    all: Range<usize>,
    limit: usize,
    fits: impl Fn(&Range<usize>, usize) -> bool,
) -> Vec<Range<usize>> {
    let fewest = pack(all.clone(), |piece| fits(piece, limit)).len();
    let (mut low, mut high) = (0, limit);
    while low < high {
        let middle = low + (high - low) / 2;
        if pack(all.clone(), |piece| fits(piece, middle)).len() > fewest {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    pack(all, |piece| fits(piece, high))
}

/// Fills piece after piece; a single word that fits nowhere is a piece of its own.
fn pack(all: Range<usize>, fits: impl Fn(&Range<usize>) -> bool) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let mut start = all.start;
    for end in all.clone().skip(1) {
        if !fits(&(start..end + 1)) {
            pieces.push(start..end);
            start = end;
        }
    }
    if start < all.end {
        pieces.push(start..all.end);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn laid_out(layout: CueLayout, text: &str) -> Vec<Vec<String>> {
        let words: Vec<&str> = text.split_inclusive(' ').collect();
        let line = |range: Range<usize>| words[range].concat().trim().to_owned();
        layout
            .cues(&words)
            .into_iter()
            .map(|cue| cue.into_iter().map(line).collect())
            .collect()
    }

    #[test]
    fn two_lines_of_about_the_same_width() {
        let text = "The quick brown fox jumps over the lazy dog and runs away";
        let expected = [
            "The quick brown fox jumps over",
            "the lazy dog and runs away",
        ];
        assert_eq!(laid_out(CueLayout::default(), text), [expected]);
    }

    #[test]
    fn no_last_word_stands_alone() {
        let text = "one two three four five six seven eight nine ten eleven twelve thirteen \
                    fourteen fifteen sixteen";
        let cues = laid_out(CueLayout::default(), text);
        assert_eq!(cues.len(), 2);
        let lengths: Vec<usize> = cues.iter().map(|cue| cue.concat().len()).collect();
        assert!(lengths[0].abs_diff(lengths[1]) < 20, "{cues:?}");
    }

    #[test]
    fn words_per_line_and_wide_characters_count() {
        let layout = CueLayout {
            max_words_per_line: Some(2),
            max_line_count: 1,
            ..CueLayout::default()
        };
        let cues = laid_out(layout, "a b c d e");
        assert_eq!(cues, [["a b"], ["c d"], ["e"]]);
        let narrow = CueLayout {
            max_line_width: 4,
            max_line_count: 1,
            ..CueLayout::default()
        };
        let words = ["今", "日", "は", "雨"];
        let cues = narrow.cues(&words);
        assert!(cues.iter().all(|lines| lines.len() == 1));
        assert_eq!(cues.concat(), [0..2, 2..4]);
    }

    proptest! {
        #[test]
        fn every_word_has_its_place_and_no_line_is_too_wide(
            words in prop::collection::vec("[a-z]{1,12} ", 0..60),
            max_line_width in 1_usize..60,
            max_line_count in 1_usize..4,
            max_words_per_line in prop::option::of(1_usize..6),
        ) {
            let layout = CueLayout {
                max_line_width, max_line_count, max_words_per_line, highlight_words: false,
            };
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let cues = layout.cues(&words);
            let places: Vec<usize> = cues.iter().flatten().flat_map(Clone::clone).collect();
            prop_assert_eq!(places, (0..words.len()).collect::<Vec<_>>());
            for line in cues.iter().flatten() {
                let is_one_word = line.len() == 1;
                let width: usize = words[line.clone()].iter().map(|word| word.len()).sum();
                prop_assert!(is_one_word || width <= max_line_width);
                prop_assert!(line.len() <= max_words_per_line.unwrap_or(usize::MAX));
            }
            prop_assert!(cues.iter().all(|cue| cue.len() <= max_line_count));
        }
    }
}
