//! How to transcribe: what `podrun transcribe` and `podrun worker transcribe` have in common. Names and
//! meanings are those of openai/whisper and whisper-ctranslate2.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use podrun::transcribe::ct2_config::{ComputeType, Device};
use podrun::transcribe::formats::OutputFormat;
use podrun::transcribe::languages::language_code;

/// Options of the model and of decoding; none set means its default or the settings file's.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SpeechArguments {
    #[command(flatten)]
    pub(crate) model: ModelArguments,
    #[command(flatten)]
    pub(crate) decoding: DecodingArguments,
    #[command(flatten)]
    pub(crate) guards: GuardArguments,
    #[command(flatten)]
    pub(crate) words: WordArguments,
}

/// What hears.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct ModelArguments {
    /// Model by name, hub repository, or folder [default: base]
    #[arg(long, value_name = "NAME|DIR", env = "PODRUN_MODEL")]
    pub(crate) model: Option<String>,

    /// Folder that holds a model; the same as --model with a folder
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with = "model",
        hide_short_help = true
    )]
    pub(crate) model_directory: Option<PathBuf>,

    /// Folder that downloaded models are kept in [default: the hub's cache]
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    pub(crate) model_dir: Option<PathBuf>,

    /// What it runs on: auto, cpu or cuda. A card that was asked for and is not there is an error
    #[arg(long, value_name = "DEVICE", value_parser = device)]
    pub(crate) device: Option<String>,

    /// Which graphics card, from 0
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub(crate) device_index: Option<u16>,

    /// Arithmetic: default, auto, int8, float16, float32, int8_float16 and the like
    #[arg(long, value_name = "TYPE", value_parser = compute_type)]
    pub(crate) compute_type: Option<String>,

    /// False is the same as --compute-type float32
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = truth, conflicts_with = "compute_type",
        hide_short_help = true)]
    pub(crate) fp16: Option<bool>,

    /// Processor threads of the model [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=256))]
    pub(crate) threads: Option<u16>,

    /// Hear a bundled clip first and stop if nothing is heard [default: on graphics cards only]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = truth, hide_short_help = true)]
    pub(crate) self_test: Option<bool>,
}

/// How it decodes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Decoding")]
pub(crate) struct DecodingArguments {
    /// Spoken language, by code or name (`en`, `English`); detected where not given
    #[arg(long, value_name = "LANGUAGE", value_parser = or_none::<Language>)]
    pub(crate) language: Option<OrNone<Language>>,

    /// `transcribe`, or `translate` into English
    #[arg(long, value_enum, value_name = "TASK")]
    pub(crate) task: Option<TaskName>,

    /// Hypotheses kept while decoding; 1 is greedy [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=20))]
    pub(crate) beam_size: Option<u16>,

    /// Decode windows of speech each for itself, or (False) one after the other as openai/whisper does
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = truth)]
    pub(crate) batched: Option<bool>,

    /// Windows decoded at a time where they are; 0 chooses: 16 on a card, 1 on a processor
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=256))]
    pub(crate) batch_size: Option<u16>,

    /// Leave out what is no speech before decoding; batched decoding always does, the other never
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = truth, hide_short_help = true)]
    pub(crate) vad_filter: Option<bool>,

    /// Text that the first window, or every one where they are decoded at a time, sees before it: names,
    /// spelling, style
    #[arg(long, value_name = "TEXT", value_parser = or_none::<String>)]
    pub(crate) initial_prompt: Option<OrNone<String>>,

    /// Words to expect, seen before every window
    #[arg(long, value_name = "TEXT", value_parser = or_none::<String>)]
    pub(crate) hotwords: Option<OrNone<String>>,

    /// Text that the first window's answer begins with; with --batched=False
    #[arg(long, value_name = "TEXT", value_parser = or_none::<String>, hide_short_help = true)]
    pub(crate) prefix: Option<OrNone<String>>,

    /// Show each window the text before it: better names, but a loop then runs on; with --batched=False
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = truth, hide_short_help = true)]
    pub(crate) condition_on_previous_text: Option<bool>,

    /// Forget the text before above this temperature [default: 0.5]
    #[arg(long, value_name = "T", value_parser = zero_or_more, hide_short_help = true)]
    pub(crate) prompt_reset_on_temperature: Option<f32>,

    /// Temperature to decode with; 0 takes the likeliest [default: 0]
    #[arg(long, value_name = "T", value_parser = zero_or_more, hide_short_help = true)]
    pub(crate) temperature: Option<f32>,

    /// Decode a doubtful window again at temperatures so far apart, up to 1 [default: None]
    #[arg(long, value_name = "STEP", value_parser = or_none::<f32>, hide_short_help = true)]
    pub(crate) temperature_increment_on_fallback: Option<OrNone<f32>>,

    /// Samples drawn above temperature 0 [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100),
        hide_short_help = true)]
    pub(crate) best_of: Option<u16>,

    /// Beam search ends with beam size times this many hypotheses [default: 1]
    #[arg(long, value_name = "X", value_parser = above_zero, hide_short_help = true)]
    pub(crate) patience: Option<f32>,

    /// Exponent of the length in a hypothesis' score [default: 1]
    #[arg(long, value_name = "X", value_parser = zero_or_more, hide_short_help = true)]
    pub(crate) length_penalty: Option<f32>,

    /// Above 1, makes tokens that were given already less likely [default: 1]
    #[arg(long, value_name = "X", value_parser = above_zero, hide_short_help = true)]
    pub(crate) repetition_penalty: Option<f32>,

    /// Give no sequence of so many tokens twice in a window; 0 for no such rule [default: 0]
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub(crate) no_repeat_ngram_size: Option<u16>,

    /// Never begin a window with a blank or end it at once [default: True]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = truth, hide_short_help = true)]
    pub(crate) suppress_blank: Option<bool>,

    /// Only -1, the model's own list of signs that nobody says
    #[arg(long, value_name = "IDS", allow_hyphen_values = true, value_parser = own_list,
        hide_short_help = true)]
    pub(crate) suppress_tokens: Option<()>,
}

/// When an answer is doubted.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Doubtful answers")]
pub(crate) struct GuardArguments {
    /// Above this compression ratio an answer repeats itself [default: 2.4]
    #[arg(long, value_name = "X", value_parser = or_none::<f64>, hide_short_help = true)]
    pub(crate) compression_ratio_threshold: Option<OrNone<f64>>,

    /// Below this mean log-probability an answer is doubted [default: -1]
    #[arg(long, value_name = "X", value_parser = or_none::<f64>, allow_hyphen_values = true,
        hide_short_help = true)]
    pub(crate) logprob_threshold: Option<OrNone<f64>>,

    /// Above this probability of no speech a doubted window is silent [default: 0.6]
    #[arg(long, value_name = "P", value_parser = or_none::<f64>, hide_short_help = true)]
    pub(crate) no_speech_threshold: Option<OrNone<f64>>,

    /// Skip silences longer than this around words that are likely invented, in seconds
    #[arg(long, value_name = "S", value_parser = or_none::<f64>, hide_short_help = true)]
    pub(crate) hallucination_silence_threshold: Option<OrNone<f64>>,
}

/// Word times, and how subtitles are laid out by them.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Words and subtitles")]
pub(crate) struct WordArguments {
    /// Find the time of each word
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = truth)]
    pub(crate) word_timestamps: Option<bool>,

    /// Columns of a subtitle line, where word times are known [default: 42]
    #[arg(long, value_name = "N", value_parser = or_none::<usize>)]
    pub(crate) max_line_width: Option<OrNone<usize>>,

    /// Lines of a subtitle, where word times are known [default: 2]
    #[arg(long, value_name = "N", value_parser = or_none::<usize>)]
    pub(crate) max_line_count: Option<OrNone<usize>>,

    /// Words of a subtitle line; the subtitle then is one line unless --max-line-count says otherwise
    #[arg(long, value_name = "N", value_parser = or_none::<usize>, hide_short_help = true)]
    pub(crate) max_words_per_line: Option<OrNone<usize>>,

    /// Underline each word of a subtitle while it is said
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = truth, hide_short_help = true)]
    pub(crate) highlight_words: Option<bool>,

    /// Punctuation that belongs to the word behind it
    #[arg(long, value_name = "SIGNS", hide_short_help = true)]
    pub(crate) prepend_punctuations: Option<String>,

    /// Punctuation that belongs to the word before it
    #[arg(long, value_name = "SIGNS", hide_short_help = true)]
    pub(crate) append_punctuations: Option<String>,
}

/// What the model is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TaskName {
    Transcribe,
    Translate,
}

/// A value, or `None` spelled out: the option is then switched off.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OrNone<T>(pub(crate) Option<T>);

/// A language that Whisper knows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Language(pub(crate) &'static str);

impl FromStr for Language {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        language_code(text).map(Self).ok_or_else(|| {
            "is no language that Whisper knows; give a code like `en` or a name like `English`"
                .to_owned()
        })
    }
}

/// One format, or those that openai/whisper calls `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FormatName {
    All,
    One(OutputFormat),
}

impl FormatName {
    /// txt, vtt, srt, tsv and json.
    pub(crate) const ALL: [OutputFormat; 5] = [
        OutputFormat::Txt,
        OutputFormat::Vtt,
        OutputFormat::Srt,
        OutputFormat::Tsv,
        OutputFormat::TranscriptJson,
    ];
}

impl FromStr for FormatName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = text.to_ascii_lowercase().replace('_', "-");
        if wanted == "all" {
            return Ok(Self::All);
        }
        let known = OutputFormat::ALL;
        let found = known.into_iter().find(|format| format.as_str() == wanted);
        found.map(Self::One).ok_or_else(|| {
            let names = known.map(OutputFormat::as_str).join(", ");
            format!("is no format; give some of {names}, or all")
        })
    }
}

fn or_none<T: FromStr>(text: &str) -> Result<OrNone<T>, String>
where
    T::Err: std::fmt::Display,
{
    if text.eq_ignore_ascii_case("none") {
        return Ok(OrNone(None));
    }
    let value = text.parse().map_err(|error: T::Err| error.to_string())?;
    Ok(OrNone(Some(value)))
}

fn truth(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("is neither True nor False".to_owned()),
    }
}

fn device(text: &str) -> Result<String, String> {
    let device = Device::from_str(text).map_err(|error| error.to_string())?;
    Ok(device.to_string())
}

fn compute_type(text: &str) -> Result<String, String> {
    let compute_type = ComputeType::from_str(text).map_err(|error| error.to_string())?;
    Ok(compute_type.to_string())
}

fn zero_or_more(text: &str) -> Result<f32, String> {
    number(text, |value| value >= 0.0, "0 or more")
}

fn above_zero(text: &str) -> Result<f32, String> {
    number(text, |value| value > 0.0, "above 0")
}

fn number(text: &str, is_fit: fn(f32) -> bool, wanted: &str) -> Result<f32, String> {
    let value: f32 = text.parse().map_err(|_| "is no number".to_owned())?;
    let is_fit = value.is_finite() && is_fit(value);
    is_fit.then_some(value).ok_or(format!("must be {wanted}"))
}

fn own_list(text: &str) -> Result<(), String> {
    match text {
        "-1" => Ok(()),
        _ => Err("can only be -1: the model's own list is always kept".to_owned()),
    }
}
