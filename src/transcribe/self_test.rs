//! Whether a loaded model hears at all.
//!
//! A graphics card whose driver does not fit the program may compute nothing and report no error:
//! every file then becomes an empty transcript, and a night's work is lost unseen. So a second and a
//! half of clear speech is heard first.

use std::io::{self, Cursor};

use tokio_util::sync::CancellationToken;

use super::options::{Mode, TranscribeOptions};
use super::source::MediaBytes;
use super::tokenizer::Task;
use super::transcriber::{HearError, Transcriber};

/// "My name is Clara.", as espeak-ng speaks it: 16 kHz, mono, 1.55 s from 2.75 s of the demo's first
/// episode (`ffmpeg -ss 2.75 -t 1.55 -ac 1 -ar 16000`).
const SPEECH: &[u8] = include_bytes!("self_test.flac");

/// The model does not do what it is for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelfTestError {
    /// It failed, or was cancelled.
    #[error("the self-test of the model failed: {0}")]
    Failed(#[source] HearError),
    /// It heard nothing.
    #[error(
        "the model {model} hears nothing in clear speech on {device}: {cause}",
        cause = likely_cause(device)
    )]
    Silent {
        /// Its name.
        model: String,
        /// What it runs on.
        device: String,
    },
}

fn likely_cause(device: &str) -> &'static str {
    if device == "cuda" {
        "most likely the driver of the graphics card is older than the CUDA code of this program \
         needs (its PTX is not understood); update the driver, or use --device cpu"
    } else {
        "most likely its files are damaged or its arithmetic does not suit this processor; load it \
         again, or try --compute-type float32"
    }
}

impl Transcriber {
    /// Hears a short clip of clear speech, whatever the options are otherwise. Blocks.
    ///
    /// # Errors
    /// [`SelfTestError::Silent`] where no text comes back. What the text says is not judged: small
    /// models and those of other languages hear the clip in their own way.
    pub fn self_test(&self) -> Result<(), SelfTestError> {
        let open = || -> io::Result<Box<dyn MediaBytes>> { Ok(Box::new(Cursor::new(SPEECH))) };
        let patient = Self {
            options: undemanding(),
            ..self.clone()
        };
        let heard = patient
            .hear(&open, &mut (), &CancellationToken::new())
            .map_err(SelfTestError::Failed)?;
        if heard.transcript.text.trim().is_empty() {
            return Err(SelfTestError::Silent {
                model: heard.made_by.model,
                device: heard.made_by.device,
            });
        }
        Ok(())
    }
}

/// Greedy, and no guard that leaves text out.
fn undemanding() -> TranscribeOptions {
    TranscribeOptions {
        mode: Mode::Sequential,
        task: Task::Transcribe,
        beam_size: 1,
        temperatures: vec![0.0],
        no_speech_threshold: None,
        log_prob_threshold: None,
        compression_ratio_threshold: None,
        ..TranscribeOptions::default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::scripted::{ScriptedEngine, decoded_for_test};
    use super::super::thread::EngineThreads;
    use super::super::tokenizer::tokenizer_for_test;
    use super::*;

    fn tested(text: &str) -> Result<(), SelfTestError> {
        let tokenizer = tokenizer_for_test();
        let tokens = tokenizer.encode(text).unwrap();
        let engine = ScriptedEngine::answering(move |_| Ok(decoded_for_test(&tokens)));
        let thread = EngineThreads::start(move || Ok(vec![engine])).unwrap();
        let transcriber = Transcriber {
            engine: thread.handle(),
            tokenizer: Arc::new(tokenizer),
            options: TranscribeOptions::default(),
        };
        transcriber.self_test()
    }

    #[test]
    fn a_model_that_says_something_passes() {
        assert!(tested(" hello").is_ok());
    }

    #[test]
    fn a_silent_model_is_told_with_its_likely_cause() {
        let error = tested("").unwrap_err().to_string();
        assert!(
            error.contains("scripted") && error.contains("on cpu"),
            "{error}"
        );
        assert!(likely_cause("cuda").contains("driver"));
    }
}
