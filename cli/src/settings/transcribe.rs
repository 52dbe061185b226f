//! `[transcribe]`, and what the flags of a run change of it.

use std::path::PathBuf;

use podrun::transcribe::formats::{CueLayout, Output, OutputFormat};
use podrun::transcribe::languages::language_code;
use podrun::transcribe::options::{Mode, TranscribeOptions};
use podrun::transcribe::tokenizer::Task;
use serde::{Deserialize, Serialize};

use crate::args::{
    DecodingArguments, FormatName, GuardArguments, ModelArguments, OrNone, SpeechArguments,
    TaskName, WordArguments,
};
use crate::exit::Problem;

/// `[transcribe]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TranscribeSettings {
    /// Name, hub repository or folder.
    pub(crate) model: String,
    /// Spoken language; detected where not given.
    pub(crate) language: Option<String>,
    /// Hypotheses kept while decoding.
    pub(crate) beam_size: u16,
    /// Windows decoded at a time.
    pub(crate) batch_size: u16,
    /// Processor threads; 0 for all cores.
    pub(crate) threads: u16,
    /// `auto`, `cpu` or `cuda`.
    pub(crate) device: String,
    /// Which graphics card, from 0.
    pub(crate) device_index: u16,
    /// CTranslate2's name of the arithmetic.
    pub(crate) compute_type: String,
    /// Formats of staged episodes beyond those that they always have.
    pub(crate) formats: Vec<OutputFormat>,
    /// Take publishers' own transcripts where they have times and are whole.
    pub(crate) reuse_transcripts: bool,
    /// What only flags change.
    #[serde(skip)]
    pub(crate) run: RunSettings,
}

/// Choices of a single run.
#[derive(Debug, Clone, Default)]
pub(crate) struct RunSettings {
    /// How to decode, but for what the settings file has.
    decoding: TranscribeOptions,
    /// How subtitles look.
    pub(crate) layout: CueLayout,
    /// Where downloaded models are kept, if not in the hub's cache.
    pub(crate) model_dir: Option<PathBuf>,
    /// Whether the model is tested first; `None` tests it on graphics cards.
    pub(crate) self_test: Option<bool>,
}

impl Default for TranscribeSettings {
    fn default() -> Self {
        let options = TranscribeOptions::default();
        // Both defaults are small; the types differ because a flag has a range.
        let small = |number| u16::try_from(number).unwrap_or(u16::MAX);
        Self {
            model: "base".to_owned(),
            language: None,
            beam_size: small(options.beam_size),
            batch_size: small(options.batch_size),
            threads: 0,
            device: "auto".to_owned(),
            device_index: 0,
            compute_type: "default".to_owned(),
            formats: Vec::new(),
            reuse_transcripts: false,
            run: RunSettings::default(),
        }
    }
}

impl TranscribeSettings {
    /// The library's options.
    pub(crate) fn options(&self) -> TranscribeOptions {
        let language = self.language.as_deref();
        TranscribeOptions {
            // A language that is not known is refused where the model is.
            language: language.map(|name| language_code(name).unwrap_or(name).to_owned()),
            beam_size: usize::from(self.beam_size),
            batch_size: usize::from(self.batch_size),
            ..self.run.decoding.clone()
        }
    }

    /// What is written of a staged episode.
    pub(crate) fn output(&self) -> Output {
        Output {
            extra: self.formats.iter().copied().collect(),
            layout: self.run.layout,
        }
    }

    /// Adds formats that a run asks for.
    pub(crate) fn add_formats(&mut self, names: &[FormatName]) {
        self.formats.extend(formats(names));
    }

    /// Lays the flags of a run over the settings.
    pub(crate) fn apply(&mut self, arguments: &SpeechArguments) -> Result<(), Problem> {
        self.apply_model(&arguments.model);
        self.apply_decoding(&arguments.decoding)?;
        self.apply_guards(&arguments.guards);
        self.apply_words(&arguments.words);
        Ok(())
    }

    fn apply_model(&mut self, flags: &ModelArguments) {
        set(&mut self.model, &flags.model);
        if let Some(folder) = &flags.model_directory {
            self.model = folder.display().to_string();
        }
        set(&mut self.device, &flags.device);
        set(&mut self.device_index, &flags.device_index);
        set(&mut self.compute_type, &flags.compute_type);
        if flags.fp16 == Some(false) {
            self.compute_type = "float32".to_owned();
        }
        set(&mut self.threads, &flags.threads);
        self.run.model_dir.clone_from(&flags.model_dir);
        self.run.self_test = flags.self_test;
    }

    fn apply_decoding(&mut self, flags: &DecodingArguments) -> Result<(), Problem> {
        if let Some(OrNone(language)) = &flags.language {
            self.language = language.as_ref().map(|language| language.0.to_owned());
        }
        set(&mut self.beam_size, &flags.beam_size);
        set(&mut self.batch_size, &flags.batch_size);
        let decoding = &mut self.run.decoding;
        decoding.mode = mode(flags)?.unwrap_or(decoding.mode);
        decoding.task = match flags.task {
            Some(TaskName::Translate) => Task::Translate,
            Some(TaskName::Transcribe) | None => Task::Transcribe,
        };
        if let Some(temperatures) = temperatures(flags) {
            decoding.temperatures = temperatures;
        }
        set_or_none(&mut decoding.initial_prompt, &flags.initial_prompt);
        set_or_none(&mut decoding.hotwords, &flags.hotwords);
        set_or_none(&mut decoding.prefix, &flags.prefix);
        set(
            &mut decoding.condition_on_previous_text,
            &flags.condition_on_previous_text,
        );
        set(
            &mut decoding.prompt_reset_on_temperature,
            &flags.prompt_reset_on_temperature,
        );
        set(&mut decoding.best_of, &flags.best_of.map(usize::from));
        set(&mut decoding.patience, &flags.patience);
        set(&mut decoding.length_penalty, &flags.length_penalty);
        set(&mut decoding.repetition_penalty, &flags.repetition_penalty);
        let ngram = flags.no_repeat_ngram_size.map(usize::from);
        set(&mut decoding.no_repeat_ngram_size, &ngram);
        set(&mut decoding.suppress_blank, &flags.suppress_blank);
        Ok(())
    }

    fn apply_guards(&mut self, flags: &GuardArguments) {
        let decoding = &mut self.run.decoding;
        set_or_none(
            &mut decoding.compression_ratio_threshold,
            &flags.compression_ratio_threshold,
        );
        set_or_none(&mut decoding.log_prob_threshold, &flags.logprob_threshold);
        set_or_none(
            &mut decoding.no_speech_threshold,
            &flags.no_speech_threshold,
        );
        set_or_none(
            &mut decoding.hallucination_silence_threshold,
            &flags.hallucination_silence_threshold,
        );
    }

    fn apply_words(&mut self, flags: &WordArguments) {
        let decoding = &mut self.run.decoding;
        set(&mut decoding.word_timestamps, &flags.word_timestamps);
        set(
            &mut decoding.prepend_punctuations,
            &flags.prepend_punctuations,
        );
        set(
            &mut decoding.append_punctuations,
            &flags.append_punctuations,
        );
        let layout = &mut self.run.layout;
        set_or_none(&mut layout.max_words_per_line, &flags.max_words_per_line);
        if layout.max_words_per_line.is_some() {
            layout.max_line_count = 1;
        }
        for (limit, flag) in [
            (&mut layout.max_line_width, &flags.max_line_width),
            (&mut layout.max_line_count, &flags.max_line_count),
        ] {
            if let Some(OrNone(wanted)) = flag {
                *limit = wanted.unwrap_or(usize::MAX);
            }
        }
        set(&mut layout.highlight_words, &flags.highlight_words);
    }
}

/// The formats behind their names.
pub(crate) fn formats(names: &[FormatName]) -> Vec<OutputFormat> {
    let mut formats = Vec::new();
    for name in names {
        match name {
            FormatName::All => formats.extend(FormatName::ALL),
            FormatName::One(format) => formats.push(*format),
        }
    }
    formats
}

/// Batched decoding is the one that looks for speech, so a wish for that is a wish for it.
fn mode(flags: &DecodingArguments) -> Result<Option<Mode>, Problem> {
    let chosen = |is_batched| match is_batched {
        true => Mode::Batched,
        false => Mode::Sequential,
    };
    match (flags.batched, flags.vad_filter) {
        (Some(batched), Some(vad)) if batched != vad => Err(Problem::usage(format!(
            "--batched={batched} and --vad-filter={vad} contradict each other: batched decoding \
             always leaves out what is no speech, the other never"
        ))
        .hint("leave one of them out")),
        (batched, vad) => Ok(batched.or(vad).map(chosen)),
    }
}

/// The temperature, and those above it up to 1 where an increment is given.
fn temperatures(flags: &DecodingArguments) -> Option<Vec<f32>> {
    let increment = flags.temperature_increment_on_fallback.as_ref();
    if flags.temperature.is_none() && increment.is_none() {
        return None;
    }
    let first = flags.temperature.unwrap_or(0.0);
    // Below a hundredth the ladder would be endless, and no two rungs would differ.
    let step = increment
        .and_then(|step| step.0)
        .filter(|step| *step >= 0.01);
    let Some(step) = step else {
        return Some(vec![first]);
    };
    let rungs = (0_u16..=100).map(|rung| first + f32::from(rung) * step);
    let mut ladder: Vec<f32> = rungs.take_while(|t| *t <= 1.0 + 1e-4).collect();
    if ladder.is_empty() {
        ladder.push(first);
    }
    Some(ladder)
}

fn set<T: Clone>(setting: &mut T, flag: &Option<T>) {
    if let Some(value) = flag {
        setting.clone_from(value);
    }
}

fn set_or_none<T: Clone>(setting: &mut Option<T>, flag: &Option<OrNone<T>>) {
    if let Some(OrNone(value)) = flag {
        setting.clone_from(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Arguments, Command};

    fn applied(line: &str) -> TranscribeSettings {
        let words = ["podrun", "transcribe"]
            .into_iter()
            .chain(line.split_whitespace());
        let parsed = Arguments::of_words(words.map(Into::into));
        let parsed = parsed.unwrap_or_else(|error| panic!("{line}: {error}"));
        let Command::Transcribe(arguments) = parsed.command else {
            panic!("another command");
        };
        let mut settings = TranscribeSettings::default();
        settings.apply(&arguments.speech).unwrap();
        settings
    }

    #[test]
    fn a_line_for_openai_whisper_means_the_same() {
        let settings = applied(
            "a.mp3 --model small --language English --task translate --beam_size 3 --best_of 4 \
             --patience 2.0 --length_penalty 0.5 --temperature 0.2 \
             --temperature_increment_on_fallback 0.4 --compression_ratio_threshold 2.0 \
             --logprob_threshold -0.5 --no_speech_threshold None --word_timestamps True \
             --condition_on_previous_text False --suppress_tokens -1 --fp16 False --threads 2 \
             --max_line_width 30 --max_line_count 1 --highlight_words True --verbose False \
             --hallucination_silence_threshold 2 --initial_prompt Podrun --device cpu",
        );
        let options = settings.options();
        assert_eq!((settings.model.as_str(), settings.threads), ("small", 2));
        assert_eq!(settings.compute_type, "float32");
        let expected = TranscribeOptions {
            language: Some("en".to_owned()),
            task: Task::Translate,
            beam_size: 3,
            best_of: 4,
            patience: 2.0,
            length_penalty: 0.5,
            temperatures: options.temperatures.clone(),
            compression_ratio_threshold: Some(2.0),
            log_prob_threshold: Some(-0.5),
            no_speech_threshold: None,
            word_timestamps: true,
            hallucination_silence_threshold: Some(2.0),
            initial_prompt: Some("Podrun".to_owned()),
            ..TranscribeOptions::default()
        };
        assert_eq!(options, expected);
        let rounded = options.temperatures.iter().map(|t| (t * 10.0).round());
        assert_eq!(rounded.collect::<Vec<_>>(), [2.0, 6.0, 10.0]);
        let layout = settings.run.layout;
        assert_eq!((layout.max_line_width, layout.max_line_count), (30, 1));
        assert!(layout.highlight_words);
    }

    #[test]
    fn both_spellings_and_bare_switches_are_the_same() {
        for line in [
            "a.mp3 --word-timestamps --batched --batch-size 4 --hotwords x",
            "--word_timestamps True --batched=true --batch_size 4 --hotwords x a.mp3",
            "--word-timestamps a.mp3 --batched True --batch_size=4 --hotwords=x",
        ] {
            let options = applied(line).options();
            assert!(options.word_timestamps, "{line}");
            assert_eq!(
                (options.mode, options.batch_size),
                (Mode::Batched, 4),
                "{line}"
            );
            assert_eq!(options.hotwords.as_deref(), Some("x"), "{line}");
        }
    }

    #[test]
    fn none_switches_off() {
        let settings = applied("--temperature_increment_on_fallback None --language None");
        assert_eq!(settings.options().temperatures, [0.0]);
        assert_eq!(settings.options().language, None);
        let endless = applied("--temperature_increment_on_fallback 0.2 --temperature 3");
        assert_eq!(endless.options().temperatures, [3.0]);
        let words = applied("--max-words-per-line 3").run.layout;
        assert_eq!(
            (words.max_words_per_line, words.max_line_count),
            (Some(3), 1)
        );
    }

    #[test]
    fn flags_that_contradict_each_other_are_told() {
        let parsed = Arguments::of_words(
            "podrun transcribe --batched False --vad_filter True"
                .split(' ')
                .map(Into::into),
        );
        let Command::Transcribe(arguments) = parsed.unwrap().command else {
            panic!("another command");
        };
        let applied = TranscribeSettings::default().apply(&arguments.speech);
        assert!(applied.unwrap_err().message.contains("--vad-filter"));
    }
}
