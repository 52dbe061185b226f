//! Other spellings of flags that people have in their scripts: underscores, and True or False behind
//! a switch, as openai/whisper and its kin write them.

use std::ffi::OsString;

/// `--two_words` becomes `--two-words`, and `--flag True` becomes `--flag=True`: a switch takes a value only behind an equals sign, or else it
/// would swallow the file that follows it. `--verbose True|False` is left out: what it chooses there,
/// `--output-dir` and `--quiet` choose here.
pub(super) fn joined(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    let mut is_over = false;
    for argument in arguments {
        let follows = joined.last().and_then(|last| last.to_str());
        let flag = follows.filter(|last| is_bare_flag(last) && !is_over);
        match flag {
            Some("--verbose") if is_truth(&argument) => {
                joined.pop();
            }
            Some(flag) if is_truth(&argument) => {
                let mut whole = OsString::from(format!("{flag}="));
                whole.push(&argument);
                joined.pop();
                joined.push(whole);
            }
            _ => {
                is_over |= argument == "--";
                joined.push(if is_over { argument } else { dashed(argument) });
            }
        }
    }
    joined
}

/// A flag with dashes in its name; its value stays as it is.
fn dashed(argument: OsString) -> OsString {
    match argument.to_str() {
        Some(text) if text.starts_with("--") => {
            let end = text.find('=').unwrap_or(text.len());
            format!("{}{}", text[..end].replace('_', "-"), &text[end..]).into()
        }
        _ => argument,
    }
}

fn is_bare_flag(text: &str) -> bool {
    text.len() > 2 && text.starts_with("--") && !text.contains('=')
}

fn is_truth(argument: &OsString) -> bool {
    let text = argument.to_str();
    text.is_some_and(|text| text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined_line(line: &str) -> String {
        let words = joined(line.split(' ').map(OsString::from));
        let words = words.into_iter().map(|word| word.into_string().unwrap());
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn truth_values_go_to_their_flags_and_files_stay_files() {
        assert_eq!(
            joined_line("transcribe --word_timestamps True a.mp3 --fp16 false"),
            "transcribe --word-timestamps=True a.mp3 --fp16=false"
        );
        assert_eq!(joined_line("x --batched a.mp3"), "x --batched a.mp3");
        assert_eq!(joined_line("x --a=b True"), "x --a=b True");
        assert_eq!(joined_line("x a.mp3 --verbose False"), "x a.mp3");
        assert_eq!(joined_line("x -- --a True"), "x -- --a True");
        assert_eq!(joined_line("x --a_b=c_d e_f"), "x --a-b=c_d e_f");
        assert_eq!(joined_line("x -- --a_b"), "x -- --a_b");
    }
}
