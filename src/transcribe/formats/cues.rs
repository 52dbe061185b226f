//! Cues: what WebVTT and SubRip have in common. Each writer spells them its own way.
//!
//! A cue never crosses a segment, never ends before it starts, never starts before the one in front
//! of it ends, and has no empty line. Where the words of a segment are known and say what its text says,
//! it is laid out by them (`lines`); else it is one cue.

use std::ops::Range;

use super::lines::CueLayout;
use super::plain::{milliseconds, one_line};
use crate::domain::{Segment, Transcript, Word};

/// Shortest cue in milliseconds: WebVTT wants the end behind the start.
const SHORTEST_MS: u64 = 1;

/// A pause of so many seconds within a segment ends a cue: nothing is said, so nothing stands there.
const PAUSE_S: f64 = 2.0;

/// Languages written without spaces, by Whisper's codes: a line may break between any two words.
pub(in crate::transcribe) const WITHOUT_SPACES: [&str; 8] =
    ["zh", "yue", "ja", "th", "lo", "my", "km", "bo"];

/// A stretch of text on the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cue {
    pub(super) start_ms: u64,
    pub(super) end_ms: u64,
    /// None empty; each one a row of pieces to be written side by side.
    pub(super) lines: Vec<Vec<Piece>>,
}

/// A part of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) text: String,
    /// Whether it is underlined.
    pub(super) is_spoken_now: bool,
}

impl Cue {
    /// Its lines, each piece spelled by `spell`, those spoken now within `<u>`.
    pub(super) fn text(&self, spell: impl Fn(&str) -> String) -> String {
        let piece = |piece: &Piece| match piece.is_spoken_now {
            true => format!("<u>{}</u>", spell(&piece.text)),
            false => spell(&piece.text),
        };
        let line = |pieces: &Vec<Piece>| pieces.iter().map(piece).collect::<String>();
        self.lines.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// The cues of a cleaned transcript, in order of time.
pub(super) fn cues(transcript: &Transcript, layout: &CueLayout) -> Vec<Cue> {
    let breaks_anywhere = WITHOUT_SPACES.contains(&transcript.language.as_str());
    let mut cues = Vec::new();
    for segment in &transcript.segments {
        let text = one_line(&segment.text);
        if text.is_empty() {
            continue;
        }
        match units(segment, &text, breaks_anywhere) {
            Some(units) => {
                for run in runs(&units) {
                    lay_out(run, layout, &mut cues);
                }
            }
            None => cues.push(plain_cue(segment, text)),
        }
    }
    in_order(&mut cues);
    cues
}

fn plain_cue(segment: &Segment, text: String) -> Cue {
    Cue {
        start_ms: milliseconds(segment.start),
        end_ms: milliseconds(segment.end),
        lines: vec![vec![Piece {
            text,
            is_spoken_now: false,
        }]],
    }
}

/// What a line may not break: a word, or several that no space divides.
struct Unit {
    text: String,
    start: f64,
    end: f64,
}

/// The segment's words, if they spell its text.
fn units(segment: &Segment, text: &str, breaks_anywhere: bool) -> Option<Vec<Unit>> {
    let mut units: Vec<Unit> = Vec::new();
    for Word {
        word, start, end, ..
    } in &segment.words
    {
        let is_apart = breaks_anywhere || word.starts_with(char::is_whitespace);
        match units.last_mut() {
            Some(unit) if !is_apart => {
                unit.text.push_str(word);
                unit.end = *end;
            }
            _ => units.push(Unit {
                text: word.clone(),
                start: *start,
                end: *end,
            }),
        }
    }
    let spelled: String = units.iter().map(|unit| unit.text.as_str()).collect();
    if one_line(&spelled) != text {
        return None;
    }
    for unit in &mut units {
        // The space stands before a word and counts with the line it is in.
        let is_apart = unit.text.starts_with(char::is_whitespace);
        let space = if is_apart { " " } else { "" };
        unit.text = format!("{space}{}", one_line(&unit.text));
    }
    units.retain(|unit| !unit.text.trim().is_empty());
    Some(units)
}

/// Stretches without a long pause.
fn runs(units: &[Unit]) -> impl Iterator<Item = &[Unit]> {
    units.chunk_by(|before, after| after.start - before.end < PAUSE_S)
}

fn lay_out(units: &[Unit], layout: &CueLayout, cues: &mut Vec<Cue>) {
    let texts: Vec<&str> = units.iter().map(|unit| unit.text.as_str()).collect();
    for lines in layout.cues(&texts) {
        if layout.highlight_words {
            highlighted(units, &lines, cues);
        } else {
            cues.push(cue(units, &lines, None));
        }
    }
}

/// One cue a word, and one without a mark where nothing is said in between.
fn highlighted(units: &[Unit], lines: &[Range<usize>], cues: &mut Vec<Cue>) {
    let mut reached = None;
    for spoken in lines.iter().flat_map(Clone::clone) {
        let marked = cue(units, lines, Some(spoken));
        if let Some(reached) = reached.filter(|reached| *reached < marked.start_ms) {
            cues.push(Cue {
                start_ms: reached,
                end_ms: marked.start_ms,
                ..cue(units, lines, None)
            });
        }
        reached = Some(marked.end_ms);
        cues.push(marked);
    }
}

fn cue(units: &[Unit], lines: &[Range<usize>], spoken: Option<usize>) -> Cue {
    let all = lines.first().map_or(0, |line| line.start)..lines.last().map_or(0, |line| line.end);
    let timed = spoken.map_or(&units[all], |spoken| &units[spoken..=spoken]);
    let starts = timed.first().map_or(0.0, |unit| unit.start);
    let ends = timed.last().map_or(starts, |unit| unit.end);
    Cue {
        start_ms: milliseconds(starts),
        end_ms: milliseconds(ends),
        lines: lines
            .iter()
            .map(|line| pieces(units, line, spoken))
            .collect(),
    }
}

fn pieces(units: &[Unit], line: &Range<usize>, spoken: Option<usize>) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for number in line.clone() {
        let text = units[number].text.as_str();
        let bare = text.trim_start();
        let is_first = number == line.start;
        if !is_first && bare.len() < text.len() {
            push_plain(&mut pieces, " ");
        }
        if spoken == Some(number) {
            pieces.push(Piece {
                text: bare.to_owned(),
                is_spoken_now: true,
            });
        } else {
            push_plain(&mut pieces, bare);
        }
    }
    pieces
}

fn push_plain(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        Some(piece) if !piece.is_spoken_now => piece.text.push_str(text),
        _ => pieces.push(Piece {
            text: text.to_owned(),
            is_spoken_now: false,
        }),
    }
}

/// Moves cues behind one another.
fn in_order(cues: &mut [Cue]) {
    let mut previous_end_ms = 0;
    for cue in cues {
        cue.start_ms = cue.start_ms.max(previous_end_ms);
        cue.end_ms = cue.end_ms.max(cue.start_ms + SHORTEST_MS);
        previous_end_ms = cue.end_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{spoken, transcript};
    use super::*;

    fn shown(transcript: &Transcript, layout: &CueLayout) -> Vec<(u64, u64, String)> {
        cues(transcript, layout)
            .iter()
            .map(|cue| (cue.start_ms, cue.end_ms, cue.text(str::to_owned)))
            .collect()
    }

    fn said(text: &str) -> Transcript {
        let mut one = transcript(&[(0.0, 60.0, text)]);
        one.segments[0].words = spoken(text);
        one
    }

    #[test]
    fn words_make_short_cues_with_times_of_their_own() {
        let text = " one two three four five six seven eight nine ten eleven twelve thirteen \
                    fourteen fifteen";
        let cues = shown(&said(text), &CueLayout::default());
        assert_eq!(cues.len(), 2);
        let words = cues.iter().map(|(_, _, text)| text.replace('\n', " "));
        assert_eq!(words.collect::<Vec<_>>().join(" "), text.trim());
        // The spoken words of the test are half a second apart and 0.4 s long.
        let first = cues[0].2.split_whitespace().count() as u64;
        assert_eq!((cues[0].0, cues[0].1), (0, first * 500 - 100));
        assert_eq!((cues[1].0, cues[1].1), (first * 500, 7400));
    }

    #[test]
    fn a_pause_ends_a_cue() {
        let mut one = said(" yes no");
        one.segments[0].words[1].start = 10.0;
        one.segments[0].words[1].end = 10.5;
        let expected = [
            (0, 400, "yes".to_owned()),
            (10_000, 10_500, "no".to_owned()),
        ];
        assert_eq!(shown(&one, &CueLayout::default()), expected);
    }

    #[test]
    fn words_that_do_not_spell_the_text_are_not_used() {
        let mut one = said(" yes no");
        one.segments[0].words.pop();
        let expected = [(0, 60_000, "yes no".to_owned())];
        assert_eq!(shown(&one, &CueLayout::default()), expected);
    }

    #[test]
    fn a_line_breaks_at_spaces_alone_or_anywhere_in_languages_without() {
        let layout = CueLayout {
            max_line_width: 6,
            max_line_count: 1,
            ..CueLayout::default()
        };
        let mut one = said(" twenty -one");
        one.segments[0].words[1].word = "-one".to_owned();
        one.segments[0].text = " twenty-one".to_owned();
        assert_eq!(shown(&one, &layout)[0].2, "twenty-one");
        let mut one = said("今日 は雨");
        one.segments[0].words[1].word = "は雨".to_owned();
        one.segments[0].text = "今日は雨".to_owned();
        one.language = "ja".to_owned();
        let lines = shown(&one, &layout).into_iter().map(|(_, _, text)| text);
        assert_eq!(lines.collect::<Vec<_>>(), ["今日", "は雨"]);
    }

    #[test]
    fn each_word_is_marked_in_its_turn() {
        let layout = CueLayout {
            highlight_words: true,
            ..CueLayout::default()
        };
        let expected = [
            (0, 400, "<u>Oh</u> no".to_owned()),
            (400, 500, "Oh no".to_owned()),
            (500, 900, "Oh <u>no</u>".to_owned()),
        ];
        assert_eq!(shown(&said(" Oh no"), &layout), expected);
    }
}
