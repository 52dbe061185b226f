//! An engine that says what a test wants it to say.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::engine::{
    AlignRequest, Alignment, DecodeOptions, Decoded, EngineError, EngineInfo, LanguageScore,
    MelWindow, SpeechEngine, WindowRequest,
};

type Answer = dyn FnMut(&ScriptedCall) -> Result<Decoded, EngineError> + Send;

/// A [`SpeechEngine`] without a model: answers come from a list or a closure, after a delay.
pub struct ScriptedEngine {
    info: EngineInfo,
    languages: Vec<LanguageScore>,
    delay: Duration,
    answer: Box<Answer>,
    calls: ScriptedCalls,
}

/// One window the engine was asked about.
#[derive(Debug, Clone, PartialEq)]
pub struct ScriptedCall {
    /// How many windows were asked about before, over the engine's life.
    pub index: usize,
    /// The window and its prompt.
    pub request: WindowRequest,
    /// How to decode it.
    pub options: DecodeOptions,
}

/// What a [`ScriptedEngine`] was asked; readable while it runs.
#[derive(Debug, Clone, Default)]
pub struct ScriptedCalls {
    started: Arc<AtomicUsize>,
    asked: Arc<Mutex<Vec<ScriptedCall>>>,
}

impl ScriptedCalls {
    /// Calls of `generate` that began.
    pub fn started(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }

    /// Every window asked about so far.
    pub fn asked(&self) -> Vec<ScriptedCall> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ScriptedCall>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ScriptedEngine {
    /// Answers by a closure, once a window.
    pub fn answering(
        answer: impl FnMut(&ScriptedCall) -> Result<Decoded, EngineError> + Send + 'static,
    ) -> Self {
        let english = LanguageScore {
            language: "en".to_owned(),
            probability: 0.9,
        };
        Self {
            info: EngineInfo {
                model: "scripted".to_owned(),
                model_digest: None,
                n_mels: 80,
                is_multilingual: true,
                compute_type: "none".to_owned(),
                device: "cpu".to_owned(),
            },
            languages: vec![english],
            delay: Duration::ZERO,
            answer: Box::new(answer),
            calls: ScriptedCalls::default(),
        }
    }

    /// Answers with these in turn, and fails when they are used up.
    pub fn with_answers(answers: impl IntoIterator<Item = Decoded>) -> Self {
        let mut answers: VecDeque<Decoded> = answers.into_iter().collect();
        Self::answering(move |call| {
            let used_up = || EngineError::Failed(format!("no answer for window {}", call.index));
            answers.pop_front().ok_or_else(used_up)
        })
    }

    /// Takes this long for each call.
    pub fn delayed(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Hears these languages in every window, best first.
    pub fn hearing(mut self, languages: impl IntoIterator<Item = (&'static str, f32)>) -> Self {
        let score = |(language, probability): (&str, f32)| LanguageScore {
            language: language.to_owned(),
            probability,
        };
        self.languages = languages.into_iter().map(score).collect();
        self
    }

    /// Knows English only.
    pub fn english_only(mut self) -> Self {
        self.info.is_multilingual = false;
        self.languages.clear();
        self
    }

    /// What it is asked, from now on.
    pub fn calls(&self) -> ScriptedCalls {
        self.calls.clone()
    }
}

impl fmt::Debug for ScriptedEngine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ScriptedEngine")
            .field("info", &self.info)
            .field("calls", &self.calls)
            .finish_non_exhaustive()
    }
}

impl SpeechEngine for ScriptedEngine {
    fn describe(&self) -> EngineInfo {
        self.info.clone()
    }

    fn encode(&mut self, _: &[Arc<MelWindow>]) -> Result<(), EngineError> {
        Ok(())
    }

    fn detect_language(
        &mut self,
        windows: &[Arc<MelWindow>],
    ) -> Result<Vec<Vec<LanguageScore>>, EngineError> {
        std::thread::sleep(self.delay);
        Ok(vec![self.languages.clone(); windows.len()])
    }

    fn generate(
        &mut self,
        requests: &[WindowRequest],
        options: &DecodeOptions,
    ) -> Result<Vec<Decoded>, EngineError> {
        self.calls.started.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(self.delay);
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            let call = ScriptedCall {
                index: self.calls.lock().len(),
                request: request.clone(),
                options: options.clone(),
            };
            self.calls.lock().push(call.clone());
            answers.push((self.answer)(&call)?);
        }
        Ok(answers)
    }

    /// Each token takes an equal part of the window's audio.
    fn align(
        &mut self,
        _: &[u32],
        requests: &[AlignRequest],
    ) -> Result<Vec<Alignment>, EngineError> {
        std::thread::sleep(self.delay);
        let alignments = requests.iter().map(|request| {
            let tokens = request.text.len();
            let positions = request.window.frames / 2;
            let path = (0..=tokens)
                .map(|token| (token as u32, (token * positions / tokens.max(1)) as u32));
            Alignment {
                path: if tokens == 0 {
                    Vec::new()
                } else {
                    path.collect()
                },
                probabilities: vec![0.9; tokens],
            }
        });
        Ok(alignments.collect())
    }
}

/// An answer of these tokens that no guard doubts.
pub fn decoded_for_test(tokens: &[u32]) -> Decoded {
    Decoded {
        tokens: tokens.to_vec(),
        score: -0.2,
        no_speech_prob: 0.01,
    }
}

/// A silent window of 80 mel bands whose first `frames` columns count as audio.
pub fn window_for_test(frames: usize) -> Arc<MelWindow> {
    Arc::new(MelWindow {
        features: vec![0.0; 80 * MelWindow::FRAMES],
        n_mels: 80,
        frames,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_turn_and_end_in_a_failure() {
        let mut engine = ScriptedEngine::with_answers([decoded_for_test(&[1])]);
        let request = WindowRequest {
            window: window_for_test(10),
            prompt: vec![9],
        };
        let options = DecodeOptions::default();
        let calls = engine.calls();
        let answers = engine.generate(std::slice::from_ref(&request), &options);
        assert_eq!(answers.unwrap()[0].tokens, [1]);
        let failure = engine.generate(&[request], &options).unwrap_err();
        assert_eq!(
            failure,
            EngineError::Failed("no answer for window 1".to_owned())
        );
        assert_eq!(calls.asked().len(), 2);
        assert_eq!(calls.asked()[0].request.prompt, [9]);
    }
}
