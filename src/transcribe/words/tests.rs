use std::sync::LazyLock;

use proptest::prelude::*;

use super::super::tokenizer::tokenizer_for_test;
use super::word_for_test as word;
use super::*;

/// Making one takes longer than a case does.
static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(tokenizer_for_test);

const PREPENDED: &str = "\"'“¿([{-";
const APPENDED: &str = "\"'.。,，!！?？:：”)]}、";

fn aligned(path: &[(u32, u32)], probabilities: &[f32]) -> Alignment {
    Alignment {
        path: path.to_vec(),
        probabilities: probabilities.to_vec(),
    }
}

/// Words of `text`, one encoder position for each of its bytes, which are its tokens here.
fn evenly(language: &str, text: &str) -> Vec<TokenWord> {
    let tokenizer = &*TOKENIZER;
    let tokens = tokenizer.encode(text).unwrap();
    let count = tokens.len() as u32;
    let path: Vec<_> = (0..=count).map(|step| (step, step)).collect();
    let alignment = aligned(&path, &vec![0.5; tokens.len()]);
    words_of(tokenizer, language, &tokens, &alignment, 30.0).unwrap()
}

fn texts(words: &[TokenWord]) -> Vec<&str> {
    words.iter().map(|word| word.text.as_str()).collect()
}

fn times(words: &[TokenWord]) -> Vec<(f64, f64)> {
    let round = |seconds: f64| (seconds * 1000.0).round() / 1000.0;
    words
        .iter()
        .map(|word| (round(word.start), round(word.end)))
        .collect()
}

#[test]
fn words_begin_at_spaces_and_punctuation() {
    let words = evenly("en", " Hello, it's a \"day\".");
    // Bytes are tokens here, so that a space and the quote behind it are two pieces.
    assert_eq!(
        texts(&words),
        [" Hello", ",", " it", "'s", " a", " ", "\"day", "\"", "."]
    );
    assert!(words.iter().all(|word| word.probability == 0.5));
}

#[test]
fn without_spaces_every_character_is_a_word() {
    let words = evenly("ja", "日本 é");
    assert_eq!(texts(&words), ["日", "本", " ", "é"]);
    // Three tokens for three bytes.
    assert_eq!(times(&words)[0], (0.0, 0.06));
    assert_eq!(texts(&evenly("en", "日本 é")), ["日本", " é"]);
}

#[test]
fn a_character_that_is_cut_stays_in_one_word() {
    let tokenizer = &*TOKENIZER;
    let mut tokens = tokenizer.encode(" né").unwrap();
    tokens.pop();
    let words = words_of(tokenizer, "zh", &tokens, &Alignment::default(), 1.0).unwrap();
    assert_eq!(texts(&words), [" ", "n", "\u{fffd}"]);
    // Said as such, it is no sign of a cut; the text stays the same.
    assert_eq!(texts(&evenly("zh", "a\u{fffd}b")).concat(), "a\u{fffd}b");
}

#[test]
fn a_token_without_text_goes_with_the_next() {
    let tokenizer = &*TOKENIZER;
    let empty = 256;
    let a = tokenizer.encode("a").unwrap()[0];
    let tokens = [empty, a, empty];
    let words = words_of(tokenizer, "en", &tokens, &Alignment::default(), 3.0).unwrap();
    assert_eq!(words.len(), 1);
    assert_eq!((words[0].text.as_str(), words[0].tokens.len()), ("a", 3));
    let nothing = words_of(tokenizer, "en", &[empty], &Alignment::default(), 3.0).unwrap();
    assert_eq!(nothing, []);
}

/// The path of dynamic time warping stays on a token for several positions, or on a position for
/// several tokens.
#[test]
fn times_are_where_the_path_first_meets_a_token() {
    let path = [
        (0, 10),
        (0, 11),
        (1, 20),
        (1, 21),
        (2, 21),
        (3, 50),
        (3, 99),
    ];
    assert_eq!(times::token_starts(&path, 3, 30.0), [0.2, 0.4, 0.42, 1.0]);
}

#[test]
fn a_broken_path_still_gives_times_in_order() {
    let spread = times::token_starts(&[], 2, 30.0);
    assert_eq!(spread, [0.0, 15.0, 30.0]);
    let gaps = times::token_starts(&[(1, 50), (4, 100)], 5, 30.0);
    assert_eq!(gaps, [1.0, 1.0, 2.0, 2.0, 2.0, 30.0]);
    let backwards = times::token_starts(&[(0, 100), (1, 50), (9, 7), (2, u32::MAX)], 2, 30.0);
    assert_eq!(backwards, [2.0, 2.0, 30.0]);
    assert_eq!(times::token_starts(&[(0, 50)], 1, f64::NAN), [0.0, 0.0]);
}

#[test]
fn marks_join_their_words_and_do_not_move_them() {
    let words = vec![
        word(" (", 0.0, 0.1),
        word(" \"", 0.1, 0.2),
        word("Yes", 0.2, 0.5),
        word(",", 0.5, 0.9),
        word("\"", 0.9, 1.0),
        word(" he", 1.0, 1.2),
        word(" -", 1.2, 1.3),
    ];
    let merged = merge_punctuation(words, PREPENDED, APPENDED);
    assert_eq!(texts(&merged), [" ( \"Yes,\"", " he", " -"]);
    assert_eq!(times(&merged), [(0.2, 0.5), (1.0, 1.2), (1.2, 1.3)]);
    assert_eq!(merged[0].tokens.len(), 5);
}

#[test]
fn the_median_leaves_out_words_without_length_and_is_bounded() {
    let words = [
        word("a", 0.0, 0.0),
        word("b", 0.0, 0.2),
        word("c", 0.2, 0.6),
        word("d", 0.6, 9.0),
    ];
    let median = |words: &[TokenWord]| TypicalDuration::of(words).median;
    assert!((median(&words) - 0.4).abs() < 1e-9);
    assert!((median(&words[1..3]) - 0.3).abs() < 1e-9);
    assert_eq!(median(&words[3..]), 0.7);
    assert_eq!(median(&words[..1]), 0.0);
}

#[test]
fn the_pause_between_sentences_is_neither_marks_nor_words() {
    let typical = TypicalDuration { median: 0.2 };
    let mut words = [
        word(" one", 0.0, 0.3),
        word(".", 0.3, 2.0),
        word(" Two", 2.0, 4.0),
        word(" three", 4.0, 6.0),
    ];
    shorten_at_sentence_ends(&mut words, typical);
    let expected = [(0.0, 0.3), (0.3, 0.7), (3.6, 4.0), (4.0, 6.0)];
    assert_eq!(times(&words), expected);
}

#[test]
fn the_first_words_after_a_pause_are_shortened() {
    let typical = TypicalDuration { median: 0.2 };
    let mut words = [word(" one", 10.0, 12.0), word(" two", 12.0, 12.2)];
    shorten_after_pause(&mut words, typical, 9.0);
    assert_eq!(times(&words), [(11.6, 12.0), (12.0, 12.2)]);

    let mut both = [word(" one", 10.0, 10.3), word(" two", 10.3, 12.0)];
    shorten_after_pause(&mut both, typical, 9.0);
    assert_eq!(times(&both), [(11.2, 11.6), (11.6, 12.0)]);

    let mut no_pause = [word(" one", 10.0, 10.7)];
    shorten_after_pause(&mut no_pause, typical, 10.0);
    assert_eq!(times(&no_pause), [(10.0, 10.7)]);
    shorten_after_pause(&mut [], typical, 0.0);
}

/// In order, none ending before it begins, all within the window.
fn assert_ordered(words: &[TokenWord], window: f64) -> Result<(), TestCaseError> {
    let mut latest = 0.0;
    for word in words {
        prop_assert!(latest <= word.start && word.start <= word.end, "{words:?}");
        prop_assert!((0.0..=1.0).contains(&word.probability));
        prop_assert!(!word.text.is_empty() && !word.tokens.is_empty());
        latest = word.end;
    }
    // A last bit may be lost where a word is shortened to its start and a length.
    prop_assert!(latest <= window.max(0.0) + 1e-9, "{latest} of {window}");
    Ok(())
}

fn tokens_of(words: &[TokenWord]) -> Vec<u32> {
    words.iter().flat_map(|word| word.tokens.clone()).collect()
}

/// Mostly text, and now and then whatever a broken model gives.
fn any_tokens() -> impl Strategy<Value = Vec<u32>> {
    let text = any::<String>().prop_map(|text| TOKENIZER.encode(&text).unwrap());
    prop_oneof![text, prop::collection::vec(0..2000_u32, 0..60)]
}

fn any_alignment() -> impl Strategy<Value = Alignment> {
    let step = (0..70_u32, prop_oneof![0..1600_u32, any::<u32>()]);
    let path = prop::collection::vec(step, 0..80);
    (path, prop::collection::vec(any::<f32>(), 0..70)).prop_map(|(path, probabilities)| Alignment {
        path,
        probabilities,
    })
}

proptest! {
    #[test]
    fn words_are_in_order_whatever_the_model_says(
        tokens in any_tokens(),
        alignment in any_alignment(),
        window in prop_oneof![0.0..=30.0_f64, any::<f64>()],
        language in prop_oneof![Just("en"), Just("ja")],
        since in -10.0..40.0_f64,
    ) {
        let tokenizer = &*TOKENIZER;
        let window = if window.is_finite() { window } else { 0.0 };
        let mut words = words_of(tokenizer, language, &tokens, &alignment, window).unwrap();
        assert_ordered(&words, window)?;
        let text = tokenizer.decode(&tokens).unwrap();
        if !words.is_empty() {
            prop_assert_eq!(tokens_of(&words), tokens.clone());
        }
        prop_assert_eq!(texts(&words).concat(), text);
        let typical = TypicalDuration::of(&words);
        shorten_at_sentence_ends(&mut words, typical);
        assert_ordered(&words, window)?;
        let joined = texts(&words).concat();
        let mut words = merge_punctuation(words, PREPENDED, APPENDED);
        assert_ordered(&words, window)?;
        prop_assert_eq!(texts(&words).concat(), joined);
        shorten_after_pause(&mut words, typical, since);
        assert_ordered(&words, window)?;
    }

    #[test]
    fn parts_are_split_as_each_alone(text in "[ a-zé日.,]{0,30}", at in 0..30_usize) {
        let tokenizer = &*TOKENIZER;
        let at = text.char_indices().map(|(i, _)| i).nth(at).unwrap_or(text.len());
        let parts: Vec<Vec<u32>> = [&text[..at], &text[at..]]
            .iter()
            .map(|part| tokenizer.encode(part).unwrap())
            .collect();
        let words = words_of_parts(tokenizer, "en", &parts, &Alignment::default(), 30.0).unwrap();
        prop_assert_eq!(words.len(), 2);
        for (words, part) in words.iter().zip(&parts) {
            prop_assert_eq!(&tokens_of(words), part);
        }
        assert_ordered(&words.concat(), 30.0)?;
    }
}
