//! Which language a window is spoken in.

use crate::transcribe::engine::LanguageScore;

/// From this probability on a window is decoded in its own language where the episode's is another.
/// Music and noise make all languages a little likely; a guest who speaks another one is unmistakable.
const UNMISTAKABLE: f32 = 0.8;

/// How a window is decoded. No language stands for a model that knows one only.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Voice {
    pub(super) language: Option<String>,
    /// How sure that is; 1 where it was given.
    pub(super) probability: f32,
}

/// The language of most of what was heard: each window gives every language its probability.
/// `None` where nothing was heard.
pub(super) fn vote(heard: &[Vec<LanguageScore>]) -> Option<LanguageScore> {
    let mut sums: Vec<LanguageScore> = Vec::new();
    for score in heard.iter().flatten() {
        match sums.iter_mut().find(|sum| sum.language == score.language) {
            Some(sum) => sum.probability += score.probability,
            None => sums.push(score.clone()),
        }
    }
    // The first of equals: the order does not depend on anything but what was heard.
    let best = sums
        .into_iter()
        .reduce(|best, next| match next.probability > best.probability {
            true => next,
            false => best,
        });
    best.map(|best| LanguageScore {
        probability: best.probability / heard.len() as f32,
        ..best
    })
}

/// The window's own language where it is unmistakable, or else the episode's.
pub(super) fn voice(heard: &[LanguageScore], episode: &str) -> Voice {
    let of = |language: &str| heard.iter().find(|score| score.language == language);
    let own = heard
        .first()
        .filter(|best| best.probability >= UNMISTAKABLE);
    let language = own.map_or(episode, |own| &own.language);
    Voice {
        probability: of(language).map_or(0.0, |score| score.probability),
        language: Some(language.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(scores: &[(&str, f32)]) -> Vec<LanguageScore> {
        let score = |&(language, probability): &(&str, f32)| LanguageScore {
            language: language.to_owned(),
            probability,
        };
        scores.iter().map(score).collect()
    }

    #[test]
    fn the_likeliest_over_all_windows_wins() {
        let windows = [
            heard(&[("cy", 0.5), ("en", 0.45)]),
            heard(&[("en", 0.9), ("cy", 0.05)]),
            heard(&[("es", 0.6), ("en", 0.4)]),
        ];
        let winner = vote(&windows).unwrap();
        assert_eq!(winner.language, "en");
        assert!((winner.probability - 1.75 / 3.0).abs() < 1e-6);
        assert_eq!(vote(&[]), None);
        assert_eq!(vote(&[Vec::new()]), None);
    }

    #[test]
    fn a_window_departs_from_the_episode_only_when_it_is_sure() {
        let doubtful = heard(&[("cy", 0.6), ("en", 0.3)]);
        assert_eq!(voice(&doubtful, "en").language.as_deref(), Some("en"));
        assert_eq!(voice(&doubtful, "en").probability, 0.3);
        let sure = heard(&[("es", 0.95), ("en", 0.02)]);
        assert_eq!(voice(&sure, "en").language.as_deref(), Some("es"));
        assert_eq!(voice(&[], "en").probability, 0.0);
    }
}
