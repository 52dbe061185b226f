//! The speech engine on CTranslate2.
//!
//! Only its encoder and decoder are used: features, tokens and windows are this crate's own.
//! Exceptions of the C++ code arrive as errors; what would be no exception but a crash, files
//! that do not fit together, is refused beforehand.

use std::fmt;
use std::sync::Arc;

use ct2rs::sys::{
    self, Config, LogLevel, StorageView, Whisper, WhisperGenerationResult, WhisperOptions,
    get_device_count, set_log_level,
};

use super::ct2_config::{ComputeType, Ct2Config, Device};
use super::engine::{
    AlignRequest, Alignment, DecodeOptions, Decoded, EngineError, EngineInfo, LanguageScore,
    MelWindow, SpeechEngine, WindowRequest,
};
use super::hub;
use super::model::ModelFiles;
use super::model_file;
use super::tokenizer::language_code;

/// Encoder positions over which attention is smoothed before it is followed (openai's width).
const MEDIAN_FILTER: i64 = 7;

/// A Whisper model in CTranslate2.
pub struct Ct2Engine {
    whisper: Whisper,
    info: EngineInfo,
    /// Token strings by id: CTranslate2 takes prompts as strings.
    vocabulary: Arc<[String]>,
    /// The encoder is most of the work; a window that is decoded again is not encoded again.
    encoded: Option<Encoded>,
}

struct Encoded {
    windows: Vec<Arc<MelWindow>>,
    output: StorageView<'static>,
}

impl fmt::Debug for Ct2Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Ct2Engine")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

impl Ct2Engine {
    /// Loads a model once; seconds for a large one.
    pub fn load(files: &ModelFiles, config: &Ct2Config) -> Result<Self, EngineError> {
        let single = Ct2Config {
            replicas: 1,
            device_indices: config.device_indices.iter().copied().take(1).collect(),
            ..config.clone()
        };
        let mut replicas = Self::load_replicas(files, &single)?;
        replicas.pop().ok_or(EngineError::Stopped)
    }

    /// Loads a model as often as `config` asks for; seconds for a large one.
    pub fn load_replicas(files: &ModelFiles, config: &Ct2Config) -> Result<Vec<Self>, EngineError> {
        let refused = |problem: String| EngineError::Load {
            path: files.directory().display().to_string(),
            problem,
        };
        // Its warnings go to the terminal past every other channel.
        set_log_level(LogLevel::Error);
        let vocabulary = model_file::check(files).map_err(refused)?;
        let device = find_device(config.device).map_err(refused)?;
        let model_digest = digest(files).map_err(|error| refused(error.to_string()))?;
        let vocabulary: Arc<[String]> = vocabulary.into();
        let replica = |settings: Config| {
            let whisper = Whisper::new(files.directory(), settings)
                .map_err(|error| refused(format!("{error}; {}", advice(config, device))))?;
            let info = EngineInfo {
                model: files.name().to_owned(),
                model_digest: Some(model_digest.clone()),
                n_mels: whisper.n_mels(),
                is_multilingual: whisper.is_multilingual(),
                compute_type: config.compute_type.to_string(),
                device: device.to_string(),
            };
            Ok(Self {
                whisper,
                info,
                vocabulary: Arc::clone(&vocabulary),
                encoded: None,
            })
        };
        let weights =
            std::fs::metadata(files.model()).map_err(|error| refused(error.to_string()))?;
        ct2_configs(config, device, weights.len())
            .into_iter()
            .map(replica)
            .collect()
    }

    /// Runs the encoder, unless it ran on these very windows the last time.
    fn encode_once(&mut self, windows: Vec<Arc<MelWindow>>) -> Result<(), EngineError> {
        let is_same = |encoded: &Encoded| {
            encoded.windows.len() == windows.len()
                && std::iter::zip(&encoded.windows, &windows).all(|(a, b)| Arc::ptr_eq(a, b))
        };
        if self.encoded.as_ref().is_some_and(is_same) {
            return Ok(());
        }
        // The old output goes before the new one is made: on a card, both may not fit.
        self.encoded = None;
        let mut features = self.stack(&windows)?;
        let shape = [windows.len(), self.info.n_mels, MelWindow::FRAMES];
        let input = StorageView::new(&shape, &mut features, sys::Device::CPU).map_err(failed)?;
        let output = self.whisper.encode(&input, false).map_err(failed)?;
        self.encoded = Some(Encoded { windows, output });
        Ok(())
    }

    /// All windows' features in one row.
    fn stack(&self, windows: &[Arc<MelWindow>]) -> Result<Vec<f32>, EngineError> {
        let expected = self.info.n_mels * MelWindow::FRAMES;
        let mut features = Vec::with_capacity(windows.len() * expected);
        for window in windows {
            if window.n_mels != self.info.n_mels || window.features.len() != expected {
                return Err(EngineError::Failed(format!(
                    "it was given features of {} mel bands and {} values, and takes {} bands and \
                     {expected} values",
                    window.n_mels,
                    window.features.len(),
                    self.info.n_mels
                )));
            }
            features.extend_from_slice(&window.features);
        }
        Ok(features)
    }

    fn encoder_output(&self) -> Result<&StorageView<'static>, EngineError> {
        let encoded = self.encoded.as_ref();
        encoded
            .map(|encoded| &encoded.output)
            .ok_or_else(|| EngineError::Failed("it encoded nothing".to_owned()))
    }

    fn prompt(&self, request: &WindowRequest) -> Result<Vec<&str>, EngineError> {
        let token = |&id: &u32| {
            let token = self.vocabulary.get(id as usize);
            token.map(String::as_str).ok_or_else(|| unknown(id))
        };
        request.prompt.iter().map(token).collect()
    }

    fn check_known(&self, tokens: impl IntoIterator<Item = u32>) -> Result<(), EngineError> {
        let mut tokens = tokens.into_iter();
        let beyond = tokens.find(|&token| token as usize >= self.vocabulary.len());
        beyond.map_or(Ok(()), |token| Err(unknown(token)))
    }
}

impl SpeechEngine for Ct2Engine {
    fn describe(&self) -> EngineInfo {
        self.info.clone()
    }

    fn encode(&mut self, windows: &[Arc<MelWindow>]) -> Result<(), EngineError> {
        match windows {
            [] => Ok(()),
            windows => self.encode_once(windows.to_vec()),
        }
    }

    fn detect_language(
        &mut self,
        windows: &[Arc<MelWindow>],
    ) -> Result<Vec<Vec<LanguageScore>>, EngineError> {
        if windows.is_empty() || !self.info.is_multilingual {
            return Ok(vec![Vec::new(); windows.len()]);
        }
        self.encode_once(windows.to_vec())?;
        let heard = self
            .whisper
            .detect_language(self.encoder_output()?)
            .map_err(failed)?;
        let scores = heard.into_iter().map(|languages| {
            let scores = languages.into_iter().filter_map(|score| {
                Some(LanguageScore {
                    language: language_code(&score.language)?.to_owned(),
                    probability: score.probability,
                })
            });
            scores.collect()
        });
        Ok(scores.collect())
    }

    fn generate(
        &mut self,
        requests: &[WindowRequest],
        options: &DecodeOptions,
    ) -> Result<Vec<Decoded>, EngineError> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        self.encode_once(requests.iter().map(|r| Arc::clone(&r.window)).collect())?;
        let prompts = requests.iter().map(|request| self.prompt(request));
        let prompts: Vec<Vec<&str>> = prompts.collect::<Result<_, _>>()?;
        // CTranslate2 writes to the place of each, wherever that is.
        let suppressed = options.suppress_tokens.iter();
        let suppressed = suppressed.filter_map(|&token| u32::try_from(token).ok());
        self.check_known(suppressed)?;
        let results = self
            .whisper
            .generate(self.encoder_output()?, &prompts, &ct2_options(options))
            .map_err(failed)?;
        if results.len() != requests.len() {
            let (asked, given) = (requests.len(), results.len());
            let problem = format!("it gave {given} answers to {asked} windows");
            return Err(EngineError::Failed(problem));
        }
        results.into_iter().map(best).collect()
    }

    fn align(
        &mut self,
        start: &[u32],
        requests: &[AlignRequest],
    ) -> Result<Vec<Alignment>, EngineError> {
        // CTranslate2 fails on windows without text or audio, and has nothing to say of them.
        let can = |request: &AlignRequest| !request.text.is_empty() && request.window.frames >= 2;
        if !requests.iter().any(can) {
            return Ok(vec![Alignment::default(); requests.len()]);
        }
        let text = requests.iter().flat_map(|request| &request.text);
        self.check_known(text.chain(start).copied())?;
        self.encode_once(requests.iter().map(|r| Arc::clone(&r.window)).collect())?;
        let start: Vec<usize> = start.iter().map(|&token| token as usize).collect();
        let text = requests.iter().map(|request| {
            let tokens = request.text.iter().map(|&token| token as usize);
            tokens.collect::<Vec<_>>()
        });
        let frames = frames_to_align(requests);
        let aligned = self
            .whisper
            .align(
                self.encoder_output()?,
                &start,
                &text.collect::<Vec<_>>(),
                &frames,
                MEDIAN_FILTER,
            )
            .map_err(failed)?;
        if aligned.len() != requests.len() {
            let (asked, given) = (requests.len(), aligned.len());
            let problem = format!("it aligned {given} of {asked} windows");
            return Err(EngineError::Failed(problem));
        }
        let alignments = std::iter::zip(aligned, requests).map(|(aligned, request)| {
            if !can(request) {
                return Alignment::default();
            }
            let steps = aligned.alignments.iter();
            let step = |value: i64| u32::try_from(value).unwrap_or(0);
            Alignment {
                path: steps.map(|a| (step(a.token_x), step(a.frame_x))).collect(),
                probabilities: aligned.text_token_probs,
            }
        });
        Ok(alignments.collect())
    }
}

/// Frames of audio of each window, two at least, as CTranslate2 wants them.
///
/// Where all windows are of one length, its shortcut takes the texts for one length too and lets the
/// padding of the shorter ones into their alignment. So one of them is taken for a position of
/// 0.02 s shorter: the one with the longest text, which has no padding.
fn frames_to_align(requests: &[AlignRequest]) -> Vec<usize> {
    let mut frames: Vec<usize> = requests.iter().map(|r| r.window.frames.max(2)).collect();
    let differ = |values: &[usize]| values.iter().any(|value| *value != values[0]);
    let positions: Vec<usize> = frames.iter().map(|frames| frames / 2).collect();
    let lengths: Vec<usize> = requests.iter().map(|request| request.text.len()).collect();
    let longest = (0..lengths.len()).max_by_key(|&i| lengths[i]);
    if let Some(longest) =
        longest.filter(|&i| differ(&lengths) && !differ(&positions) && frames[i] >= 4)
    {
        frames[longest] -= 2;
    }
    frames
}

fn unknown(token: u32) -> EngineError {
    EngineError::Failed(format!("it knows no token {token}"))
}

/// The first of a result's hypotheses.
fn best(result: WhisperGenerationResult) -> Result<Decoded, EngineError> {
    let tokens = result.sequences_ids.into_iter().next();
    let score = result.scores.first();
    let (Some(tokens), Some(&score)) = (tokens, score) else {
        return Err(EngineError::Failed("it gave no hypothesis".to_owned()));
    };
    let tokens = tokens.into_iter().map(u32::try_from);
    Ok(Decoded {
        tokens: tokens.collect::<Result<_, _>>().map_err(failed)?,
        score,
        no_speech_prob: result.no_speech_prob,
    })
}

/// At temperature 0 a beam; above, `best_of` samples of the whole distribution, the likeliest of
/// which is first.
fn ct2_options(options: &DecodeOptions) -> WhisperOptions {
    let common = WhisperOptions {
        length_penalty: options.length_penalty,
        repetition_penalty: options.repetition_penalty,
        no_repeat_ngram_size: options.no_repeat_ngram_size,
        max_length: options.max_length,
        return_scores: true,
        return_no_speech_prob: true,
        max_initial_timestamp_index: options.max_initial_timestamp_index,
        suppress_blank: options.suppress_blank,
        suppress_tokens: options.suppress_tokens.clone(),
        ..WhisperOptions::default()
    };
    if options.temperature > 0.0 {
        WhisperOptions {
            beam_size: 1,
            num_hypotheses: options.best_of,
            sampling_topk: 0,
            sampling_temperature: options.temperature,
            ..common
        }
    } else {
        WhisperOptions {
            beam_size: options.beam_size,
            patience: options.patience,
            ..common
        }
    }
}

fn find_device(device: Device) -> Result<Device, String> {
    let has_cuda = get_device_count(sys::Device::CUDA) > 0;
    match device {
        Device::Auto if has_cuda => Ok(Device::Cuda),
        Device::Auto => Ok(Device::Cpu),
        Device::Cuda if !has_cuda => Err(
            "there is no graphics card that this build can use; take the device `cpu`, or a build \
             with CUDA on a machine with an NVIDIA driver"
                .to_owned(),
        ),
        given => Ok(given),
    }
}

/// Settings for each replica. CTranslate2's own pool would copy the weights too, but could hand what
/// one device encoded to another.
fn ct2_configs(config: &Ct2Config, device: Device, weights: u64) -> Vec<Config> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let replicas = config.replicas_of(device, weights, cores).max(1);
    let (ct2_device, indices) = match device {
        Device::Cuda if config.device_indices.is_empty() => (sys::Device::CUDA, vec![0]),
        Device::Cuda => (sys::Device::CUDA, config.device_indices.clone()),
        Device::Auto | Device::Cpu => (sys::Device::CPU, vec![0]),
    };
    let replica = |index: u16| Config {
        device: ct2_device,
        compute_type: ct2_compute_type(config.compute_type),
        device_indices: vec![index.into()],
        num_threads_per_replica: (config.threads_of(cores) / replicas).max(1),
        ..Config::default()
    };
    let copies = (0..replicas).flat_map(|_| &indices);
    copies.map(|&index| replica(index)).collect()
}

fn ct2_compute_type(compute_type: ComputeType) -> sys::ComputeType {
    match compute_type {
        ComputeType::Default => sys::ComputeType::DEFAULT,
        ComputeType::Auto => sys::ComputeType::AUTO,
        ComputeType::Float32 => sys::ComputeType::FLOAT32,
        ComputeType::Float16 => sys::ComputeType::FLOAT16,
        ComputeType::Bfloat16 => sys::ComputeType::BFLOAT16,
        ComputeType::Int16 => sys::ComputeType::INT16,
        ComputeType::Int8 => sys::ComputeType::INT8,
        ComputeType::Int8Float32 => sys::ComputeType::INT8_FLOAT32,
        ComputeType::Int8Float16 => sys::ComputeType::INT8_FLOAT16,
        ComputeType::Int8Bfloat16 => sys::ComputeType::INT8_BFLOAT16,
    }
}

/// What to do where CTranslate2 refuses: its files were checked, so mostly the settings.
fn advice(config: &Ct2Config, device: Device) -> String {
    match config.compute_type {
        ComputeType::Default | ComputeType::Auto => {
            "download or convert the model again".to_owned()
        }
        given => format!("if {given} is not for the device {device}, take `default`"),
    }
}

/// The digest that the cache names the weights by, or else their own.
fn digest(files: &ModelFiles) -> std::io::Result<String> {
    let path = files.model().canonicalize()?;
    match hub::digest_in_name(&path) {
        Some(digest) => Ok(digest),
        None => hub::sha256(&path),
    }
}

fn failed(error: impl fmt::Display) -> EngineError {
    EngineError::Failed(error.to_string())
}
