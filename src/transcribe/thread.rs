//! The thread that owns the model.
//!
//! A call to the model takes from tens of milliseconds to seconds and must not run on the async
//! runtime; and an engine need not be shared between threads. So one thread owns it, and whoever
//! wants an answer holds an [`EngineHandle`], which sends the question and waits. Questions are
//! answered one at a time, in order of arrival.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::engine::{
    AlignRequest, Alignment, DecodeOptions, Decoded, EngineError, EngineInfo, LanguageScore,
    MelWindow, SpeechEngine, WindowRequest,
};

/// Questions that wait while the engine works; more make their callers wait.
const QUEUED: usize = 4;

/// The running thread. Dropping it lets the call in progress finish, refuses the others with
/// [`EngineError::Stopped`] and waits for the end of the thread.
#[derive(Debug)]
pub struct EngineThread {
    handle: EngineHandle,
    thread: Option<JoinHandle<()>>,
}

/// Asks the engine, from any thread; every call blocks until the answer is there.
#[derive(Debug, Clone)]
pub struct EngineHandle {
    questions: SyncSender<Question>,
    info: EngineInfo,
}

#[derive(Debug)]
enum Question {
    Generate {
        requests: Vec<WindowRequest>,
        options: DecodeOptions,
        answer: SyncSender<Result<Vec<Decoded>, EngineError>>,
    },
    DetectLanguage {
        windows: Vec<Arc<MelWindow>>,
        answer: SyncSender<Result<Vec<Vec<LanguageScore>>, EngineError>>,
    },
    Align {
        start: Vec<u32>,
        requests: Vec<AlignRequest>,
        answer: SyncSender<Result<Vec<Alignment>, EngineError>>,
    },
    Stop,
}

impl EngineThread {
    /// Starts the thread, loads the engine on it and returns when it is ready.
    pub fn start<E, F>(load: F) -> Result<Self, EngineError>
    where
        E: SpeechEngine,
        F: FnOnce() -> Result<E, EngineError> + Send + 'static,
    {
        let (questions, inbox) = sync_channel(QUEUED);
        let (ready, loaded) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("speech-engine".to_owned())
            .spawn(move || match load() {
                Ok(engine) => {
                    let info = engine.describe();
                    if ready.send(Ok(info)).is_ok() {
                        answer_all(engine, &inbox);
                    }
                }
                Err(error) => report(ready.send(Err(error)).is_ok()),
            })
            .map_err(|error| EngineError::Failed(format!("no thread for it: {error}")))?;
        let info = loaded.recv().unwrap_or(Err(EngineError::Stopped))?;
        Ok(Self {
            handle: EngineHandle { questions, info },
            thread: Some(thread),
        })
    }

    /// A way to ask; it may outlive the thread and then answers [`EngineError::Stopped`].
    pub fn handle(&self) -> EngineHandle {
        self.handle.clone()
    }
}

impl Drop for EngineThread {
    fn drop(&mut self) {
        // Both fail only where the thread has ended already: by a panic, which it told.
        report(self.handle.questions.send(Question::Stop).is_ok());
        if let Some(thread) = self.thread.take() {
            report(thread.join().is_ok());
        }
    }
}

/// A message that nobody takes is no failure of the sender, but worth a line.
fn report(is_taken: bool) {
    if !is_taken {
        tracing::debug!("the speech engine or its caller had stopped before");
    }
}

fn answer_all(mut engine: impl SpeechEngine, inbox: &Receiver<Question>) {
    for question in inbox {
        match question {
            Question::Generate {
                requests,
                options,
                answer,
            } => report(answer.send(engine.generate(&requests, &options)).is_ok()),
            Question::DetectLanguage { windows, answer } => {
                report(answer.send(engine.detect_language(&windows)).is_ok());
            }
            Question::Align {
                start,
                requests,
                answer,
            } => report(answer.send(engine.align(&start, &requests)).is_ok()),
            Question::Stop => return,
        }
    }
}

impl EngineHandle {
    /// What the engine is.
    pub fn info(&self) -> &EngineInfo {
        &self.info
    }

    /// [`SpeechEngine::generate`] on the engine's thread.
    pub fn generate(
        &self,
        requests: Vec<WindowRequest>,
        options: &DecodeOptions,
    ) -> Result<Vec<Decoded>, EngineError> {
        self.ask(|answer| Question::Generate {
            requests,
            options: options.clone(),
            answer,
        })
    }

    /// [`SpeechEngine::detect_language`] on the engine's thread.
    pub fn detect_language(
        &self,
        windows: Vec<Arc<MelWindow>>,
    ) -> Result<Vec<Vec<LanguageScore>>, EngineError> {
        self.ask(|answer| Question::DetectLanguage { windows, answer })
    }

    /// [`SpeechEngine::align`] on the engine's thread.
    pub fn align(
        &self,
        start: Vec<u32>,
        requests: Vec<AlignRequest>,
    ) -> Result<Vec<Alignment>, EngineError> {
        self.ask(|answer| Question::Align {
            start,
            requests,
            answer,
        })
    }

    /// A panic of the engine ends its thread, which drops both channels; either end of them
    /// then says so.
    fn ask<T>(
        &self,
        question: impl FnOnce(SyncSender<Result<T, EngineError>>) -> Question,
    ) -> Result<T, EngineError> {
        let (answer, reply) = sync_channel(1);
        self.questions
            .send(question(answer))
            .map_err(|_| EngineError::Stopped)?;
        reply.recv().unwrap_or(Err(EngineError::Stopped))
    }
}

/// So that what is written for an engine runs on a shared one.
impl SpeechEngine for EngineHandle {
    fn describe(&self) -> EngineInfo {
        self.info.clone()
    }

    fn detect_language(
        &mut self,
        windows: &[Arc<MelWindow>],
    ) -> Result<Vec<Vec<LanguageScore>>, EngineError> {
        Self::detect_language(self, windows.to_vec())
    }

    fn generate(
        &mut self,
        requests: &[WindowRequest],
        options: &DecodeOptions,
    ) -> Result<Vec<Decoded>, EngineError> {
        Self::generate(self, requests.to_vec(), options)
    }

    fn align(
        &mut self,
        start: &[u32],
        requests: &[AlignRequest],
    ) -> Result<Vec<Alignment>, EngineError> {
        Self::align(self, start.to_vec(), requests.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::scripted::{ScriptedEngine, decoded_for_test, window_for_test};
    use super::*;

    fn request() -> WindowRequest {
        WindowRequest {
            window: window_for_test(100),
            prompt: vec![1],
        }
    }

    fn start(engine: ScriptedEngine) -> EngineThread {
        EngineThread::start(move || Ok(engine)).unwrap()
    }

    #[test]
    fn answers_come_from_many_threads() {
        let engine = ScriptedEngine::answering(|call| Ok(decoded_for_test(&call.request.prompt)));
        let thread = start(engine);
        std::thread::scope(|scope| {
            for prompt in 0..16u32 {
                let handle = thread.handle();
                scope.spawn(move || {
                    let mut asked = request();
                    asked.prompt = vec![prompt];
                    let answers = handle.generate(vec![asked], &DecodeOptions::default());
                    assert_eq!(answers.unwrap()[0].tokens, [prompt]);
                });
            }
        });
    }

    #[test]
    fn an_engine_that_panics_stops_for_everybody() {
        let thread = start(ScriptedEngine::answering(|_| panic!("told to")));
        let mut handle = thread.handle();
        for _ in 0..2 {
            let answer =
                SpeechEngine::generate(&mut handle, &[request()], &DecodeOptions::default());
            assert_eq!(answer, Err(EngineError::Stopped));
        }
        drop(thread);
    }

    #[test]
    fn a_handle_outlives_the_thread() {
        let thread = start(ScriptedEngine::with_answers([]));
        let handle = thread.handle();
        drop(thread);
        assert_eq!(
            handle.detect_language(vec![window_for_test(1)]),
            Err(EngineError::Stopped)
        );
    }

    #[test]
    fn dropping_waits_for_the_call_in_progress() {
        let delay = Duration::from_millis(200);
        let engine = ScriptedEngine::with_answers([decoded_for_test(&[7])]).delayed(delay);
        let calls = engine.calls();
        let thread = start(engine);
        let handle = thread.handle();
        let caller =
            std::thread::spawn(move || handle.generate(vec![request()], &DecodeOptions::default()));
        let deadline = Instant::now() + Duration::from_secs(10);
        while calls.started() == 0 && Instant::now() < deadline {
            std::thread::yield_now();
        }
        drop(thread);
        assert_eq!(caller.join().unwrap().unwrap()[0].tokens, [7]);
    }

    #[test]
    fn an_engine_that_does_not_load_says_why() {
        let refusal = EngineError::Load {
            path: "models/base".to_owned(),
            problem: "it has no model.bin".to_owned(),
        };
        let told = refusal.clone();
        let started = EngineThread::start(move || Err::<ScriptedEngine, _>(told));
        assert_eq!(started.unwrap_err(), refusal);
        let panicked = EngineThread::start(|| -> Result<ScriptedEngine, _> { panic!("told to") });
        assert_eq!(panicked.unwrap_err(), EngineError::Stopped);
    }
}
