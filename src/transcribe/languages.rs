//! Whisper's languages, by code and by English name.

use super::engine::EngineInfo;
use super::tokenizer::{Tokenizer, TokenizerError};

/// How a recording's language is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Spoken {
    /// The model knows English only.
    EnglishOnly,
    /// It is given.
    Given(String),
    /// The model has to hear it.
    Unknown,
}

impl Spoken {
    /// What follows from the model and the `language` that was asked for.
    ///
    /// # Errors
    /// A language that the model does not know.
    pub(super) fn new(
        engine: &EngineInfo,
        tokenizer: &Tokenizer,
        language: Option<&str>,
    ) -> Result<Self, TokenizerError> {
        if !engine.is_multilingual {
            if let Some(language) = language.filter(|given| *given != "en") {
                tracing::warn!(
                    language,
                    "the model knows English only; the language is ignored"
                );
            }
            return Ok(Self::EnglishOnly);
        }
        match language {
            Some(language) => {
                tokenizer.language(language)?;
                Ok(Self::Given(language.to_owned()))
            }
            None => Ok(Self::Unknown),
        }
    }
}

/// Codes as the models' tokens have them, and names. The order is that of the tokens.
const LANGUAGES: [(&str, &str); 100] = [
    ("en", "english"),
    ("zh", "chinese"),
    ("de", "german"),
    ("es", "spanish"),
    ("ru", "russian"),
    ("ko", "korean"),
    ("fr", "french"),
    ("ja", "japanese"),
    ("pt", "portuguese"),
    ("tr", "turkish"),
    ("pl", "polish"),
    ("ca", "catalan"),
    ("nl", "dutch"),
    ("ar", "arabic"),
    ("sv", "swedish"),
    ("it", "italian"),
    ("id", "indonesian"),
    ("hi", "hindi"),
    ("fi", "finnish"),
    ("vi", "vietnamese"),
    ("he", "hebrew"),
    ("uk", "ukrainian"),
    ("el", "greek"),
    ("ms", "malay"),
    ("cs", "czech"),
    ("ro", "romanian"),
    ("da", "danish"),
    ("hu", "hungarian"),
    ("ta", "tamil"),
    ("no", "norwegian"),
    ("th", "thai"),
    ("ur", "urdu"),
    ("hr", "croatian"),
    ("bg", "bulgarian"),
    ("lt", "lithuanian"),
    ("la", "latin"),
    ("mi", "maori"),
    ("ml", "malayalam"),
    ("cy", "welsh"),
    ("sk", "slovak"),
    ("te", "telugu"),
    ("fa", "persian"),
    ("lv", "latvian"),
    ("bn", "bengali"),
    ("sr", "serbian"),
    ("az", "azerbaijani"),
    ("sl", "slovenian"),
    ("kn", "kannada"),
    ("et", "estonian"),
    ("mk", "macedonian"),
    ("br", "breton"),
    ("eu", "basque"),
    ("is", "icelandic"),
    ("hy", "armenian"),
    ("ne", "nepali"),
    ("mn", "mongolian"),
    ("bs", "bosnian"),
    ("kk", "kazakh"),
    ("sq", "albanian"),
    ("sw", "swahili"),
    ("gl", "galician"),
    ("mr", "marathi"),
    ("pa", "punjabi"),
    ("si", "sinhala"),
    ("km", "khmer"),
    ("sn", "shona"),
    ("yo", "yoruba"),
    ("so", "somali"),
    ("af", "afrikaans"),
    ("oc", "occitan"),
    ("ka", "georgian"),
    ("be", "belarusian"),
    ("tg", "tajik"),
    ("sd", "sindhi"),
    ("gu", "gujarati"),
    ("am", "amharic"),
    ("yi", "yiddish"),
    ("lo", "lao"),
    ("uz", "uzbek"),
    ("fo", "faroese"),
    ("ht", "haitian creole"),
    ("ps", "pashto"),
    ("tk", "turkmen"),
    ("nn", "nynorsk"),
    ("mt", "maltese"),
    ("sa", "sanskrit"),
    ("lb", "luxembourgish"),
    ("my", "myanmar"),
    ("bo", "tibetan"),
    ("tl", "tagalog"),
    ("mg", "malagasy"),
    ("as", "assamese"),
    ("tt", "tatar"),
    ("haw", "hawaiian"),
    ("ln", "lingala"),
    ("ha", "hausa"),
    ("ba", "bashkir"),
    ("jw", "javanese"),
    ("su", "sundanese"),
    ("yue", "cantonese"),
];

/// Further names in use.
const ALIASES: [(&str, &str); 12] = [
    ("my", "burmese"),
    ("ca", "valencian"),
    ("nl", "flemish"),
    ("ht", "haitian"),
    ("lb", "letzeburgesch"),
    ("ps", "pushto"),
    ("pa", "panjabi"),
    ("ro", "moldavian"),
    ("ro", "moldovan"),
    ("si", "sinhalese"),
    ("es", "castilian"),
    ("zh", "mandarin"),
];

/// The code of a language given by code (`es`) or English name (`Spanish`), in any case; `None` for one
/// that Whisper does not know.
pub fn language_code(name_or_code: &str) -> Option<&'static str> {
    let wanted = name_or_code.trim().to_lowercase();
    let all = LANGUAGES.iter().chain(&ALIASES);
    all.copied()
        .find(|(code, name)| wanted == *code || wanted == *name)
        .map(|(code, _)| code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_codes_of_any_case_are_known() {
        assert_eq!(language_code("English"), Some("en"));
        assert_eq!(language_code(" PT "), Some("pt"));
        assert_eq!(language_code("haitian creole"), Some("ht"));
        assert_eq!(language_code("Mandarin"), Some("zh"));
        assert_eq!(language_code("Klingon"), None);
        assert_eq!(language_code(""), None);
    }

    #[test]
    fn no_name_stands_for_two_languages() {
        let mut names: Vec<&str> = LANGUAGES
            .iter()
            .chain(&ALIASES)
            .map(|(_, name)| *name)
            .collect();
        names.extend(LANGUAGES.iter().map(|(code, _)| *code));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
