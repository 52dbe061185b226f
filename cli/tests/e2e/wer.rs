//! How far a transcript is from what was spoken.

/// Word errors (inserted, deleted, replaced) per spoken word: 0 is perfect, above 1 means that more
/// was heard than was said. Case and punctuation do not count; `tools/speech/wer.py` agrees.
pub(crate) fn word_error_rate(truth: &str, heard: &str) -> f64 {
    let (truth, heard) = (words(truth), words(heard));
    word_errors(&truth, &heard) as f64 / truth.len().max(1) as f64
}

fn words(text: &str) -> Vec<String> {
    let is_spoken = |c: &char| c.is_alphanumeric() || *c == '_' || c.is_whitespace();
    let plain: String = text.to_lowercase().chars().filter(is_spoken).collect();
    plain.split_whitespace().map(str::to_owned).collect()
}

/// Levenshtein's distance over words, one row of his table at a time.
fn word_errors(truth: &[String], heard: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (spoken_before, spoken) in truth.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], spoken_before + 1);
        for (heard_before, word) in heard.iter().enumerate() {
            let replaced = diagonal + usize::from(spoken != word);
            diagonal = row[heard_before + 1];
            let missing_or_added = 1 + diagonal.min(row[heard_before]);
            row[heard_before + 1] = missing_or_added.min(replaced);
        }
    }
    row[heard.len()]
}

#[cfg(test)]
mod tests {
    use super::word_error_rate;

    #[test]
    fn case_and_punctuation_are_no_errors() {
        assert_eq!(
            word_error_rate("¿Por qué no, Énergie?", "por qué no énergie"),
            0.0
        );
        assert_eq!(word_error_rate("One\ntwo.", " One two."), 0.0);
    }

    #[test]
    fn each_kind_of_error_counts_once() {
        assert_eq!(word_error_rate("a b c d", "a x c d"), 0.25);
        assert_eq!(word_error_rate("a b c d", "a c d"), 0.25);
        assert_eq!(word_error_rate("a b c d", "a b b c d"), 0.25);
        assert_eq!(
            word_error_rate("kitten sits here now", "sits here now kitten"),
            0.5
        );
    }

    #[test]
    fn silence_and_babble() {
        assert_eq!(word_error_rate("", ""), 0.0);
        assert_eq!(word_error_rate("a b", ""), 1.0);
        assert_eq!(word_error_rate("", "a b"), 2.0);
    }
}
