//! The threads that own the model.
//!
//! A call to the model takes from tens of milliseconds to seconds and must not run on the async
//! runtime; and an engine need not be shared between threads. So each engine has a thread of its own,
//! and whoever wants something of it holds an [`EngineHandle`], which sends work to whichever thread is
//! free and waits. Work begins in order of arrival.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvError, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::engine::{
    AlignRequest, Alignment, DecodeOptions, Decoded, EngineError, EngineInfo, LanguageScore,
    MelWindow, SpeechEngine, WindowRequest,
};

/// Pieces of work that wait while the engines work; more make their senders wait.
const QUEUED: usize = 4;

/// How often a thread without work looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);

/// How long the threads' end is waited for: a call to a large model on a processor takes minutes, and a
/// process that is told to end has seconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// The running threads. Dropping it refuses what has not begun with [`EngineError::Stopped`] and waits a
/// few seconds for the rest.
#[derive(Debug)]
pub struct EngineThreads {
    handle: EngineHandle,
    threads: Vec<JoinHandle<()>>,
}

/// Asks the engines, from any thread.
#[derive(Debug, Clone)]
pub struct EngineHandle {
    inbox: SyncSender<Work>,
    info: EngineInfo,
    engines: usize,
    /// Set when no more work is to begin.
    stopped: Arc<AtomicBool>,
}

/// What an engine is to do. Dropping it tells whoever waits.
type Work = Box<dyn FnOnce(&mut dyn SpeechEngine) + Send>;

/// An answer on its way.
#[derive(Debug)]
pub struct Pending<T>(Receiver<T>);

impl<T> Pending<T> {
    /// Waits for it; [`EngineError::Stopped`] where the engine's thread ended before.
    pub fn wait(self) -> Result<T, EngineError> {
        self.0.recv().map_err(|RecvError| EngineError::Stopped)
    }

    /// Waits for it so long; `None` where it is not there yet.
    pub fn wait_for(&self, limit: Duration) -> Result<Option<T>, EngineError> {
        match self.0.recv_timeout(limit) {
            Ok(answer) => Ok(Some(answer)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(EngineError::Stopped),
        }
    }
}

impl EngineThreads {
    /// Loads engines that are all alike, on a thread, gives each its own, and returns when they are
    /// ready.
    ///
    /// # Errors
    /// What `load` says, and [`EngineError::Failed`] where it gave no engine.
    pub fn start<E, F>(load: F) -> Result<Self, EngineError>
    where
        E: SpeechEngine,
        F: FnOnce() -> Result<Vec<E>, EngineError> + Send + 'static,
    {
        let loading = spawn("speech-engine-load", load)?;
        let engines = loading.join().unwrap_or(Err(EngineError::Stopped))?;
        let info = engines.first().map(SpeechEngine::describe);
        let info = info.ok_or_else(|| EngineError::Failed("there is none".to_owned()))?;
        let (inbox, work) = sync_channel(QUEUED);
        let work = Arc::new(Mutex::new(work));
        let mut started = Self {
            handle: EngineHandle {
                inbox,
                info,
                engines: engines.len(),
                stopped: Arc::new(AtomicBool::new(false)),
            },
            threads: Vec::new(),
        };
        for engine in engines {
            let work = Arc::clone(&work);
            let stopped = Arc::clone(&started.handle.stopped);
            let thread = spawn("speech-engine", move || work_off(engine, &work, &stopped))?;
            started.threads.push(thread);
        }
        Ok(started)
    }

    /// A way to ask; it may outlive the threads and then answers [`EngineError::Stopped`].
    pub fn handle(&self) -> EngineHandle {
        self.handle.clone()
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, EngineError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|error| EngineError::Failed(format!("no thread for it: {error}")))
}

impl Drop for EngineThreads {
    fn drop(&mut self) {
        self.handle.stopped.store(true, Ordering::SeqCst);
        let deadline = Instant::now() + PATIENCE;
        for thread in self.threads.drain(..) {
            while !thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
            if thread.is_finished() {
                report(thread.join().is_ok());
            } else {
                tracing::warn!("the speech engine is still at work and is left behind");
            }
        }
    }
}

/// A message that nobody takes is no failure of the sender, but worth a line.
fn report(is_taken: bool) {
    if !is_taken {
        tracing::debug!("the speech engine or its caller had stopped before");
    }
}

fn work_off(mut engine: impl SpeechEngine, inbox: &Mutex<Receiver<Work>>, stopped: &AtomicBool) {
    loop {
        // Held while waiting: the others wait for the lock instead, which is the same to them.
        let inbox = inbox.lock().unwrap_or_else(PoisonError::into_inner);
        let next = inbox.recv_timeout(LOOK);
        if stopped.load(Ordering::SeqCst) {
            // Refused, with what was about to begin.
            inbox.try_iter().for_each(drop);
            return;
        }
        drop(inbox);
        match next {
            Ok(work) => work(&mut engine),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

impl EngineHandle {
    /// What the engines are.
    pub fn info(&self) -> &EngineInfo {
        &self.info
    }

    /// How many engines work at a time.
    pub fn engines(&self) -> usize {
        self.engines
    }

    /// Sends `work` to the next free engine and returns at once, or, with much work waiting, when the
    /// engines have caught up.
    ///
    /// # Errors
    /// [`EngineError::Stopped`].
    pub fn submit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn SpeechEngine) -> T + Send + 'static,
    ) -> Result<Pending<T>, EngineError> {
        let (answer, pending) = sync_channel(1);
        // A panic of the engine ends its thread, which drops the channel; the waiting end says so.
        let work: Work = Box::new(move |engine| report(answer.send(work(engine)).is_ok()));
        if self.stopped.load(Ordering::SeqCst) || self.inbox.send(work).is_err() {
            return Err(EngineError::Stopped);
        }
        Ok(Pending(pending))
    }

    /// Runs `work` on the next free engine and waits for its end.
    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn SpeechEngine) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        self.submit(work)?.wait()?
    }
}

/// So that what is written for an engine runs on a shared one. Every call blocks until the answer is
/// there.
impl SpeechEngine for EngineHandle {
    fn describe(&self) -> EngineInfo {
        self.info.clone()
    }

    /// Does nothing: the calls that follow may reach another engine.
    fn encode(&mut self, _: &[Arc<MelWindow>]) -> Result<(), EngineError> {
        Ok(())
    }

    fn detect_language(
        &mut self,
        windows: &[Arc<MelWindow>],
    ) -> Result<Vec<Vec<LanguageScore>>, EngineError> {
        let windows = windows.to_vec();
        self.run(move |engine| engine.detect_language(&windows))
    }

    fn generate(
        &mut self,
        requests: &[WindowRequest],
        options: &DecodeOptions,
    ) -> Result<Vec<Decoded>, EngineError> {
        let (requests, options) = (requests.to_vec(), options.clone());
        self.run(move |engine| engine.generate(&requests, &options))
    }

    fn align(
        &mut self,
        start: &[u32],
        requests: &[AlignRequest],
    ) -> Result<Vec<Alignment>, EngineError> {
        let (start, requests) = (start.to_vec(), requests.to_vec());
        self.run(move |engine| engine.align(&start, &requests))
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

    fn start(engine: ScriptedEngine) -> EngineThreads {
        EngineThreads::start(move || Ok(vec![engine])).unwrap()
    }

    #[test]
    fn answers_come_from_many_threads() {
        let engine = ScriptedEngine::answering(|call| Ok(decoded_for_test(&call.request.prompt)));
        let thread = start(engine);
        std::thread::scope(|scope| {
            for prompt in 0..16u32 {
                let mut handle = thread.handle();
                scope.spawn(move || {
                    let mut asked = request();
                    asked.prompt = vec![prompt];
                    let answers = handle.generate(&[asked], &DecodeOptions::default());
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
            let answer = handle.generate(&[request()], &DecodeOptions::default());
            assert_eq!(answer, Err(EngineError::Stopped));
        }
        drop(thread);
    }

    #[test]
    fn a_handle_outlives_the_thread() {
        let thread = start(ScriptedEngine::with_answers([]));
        let mut handle = thread.handle();
        drop(thread);
        assert_eq!(
            handle.detect_language(&[window_for_test(1)]),
            Err(EngineError::Stopped)
        );
    }

    #[test]
    fn dropping_waits_for_the_call_in_progress() {
        let delay = Duration::from_millis(200);
        let engine = ScriptedEngine::with_answers([decoded_for_test(&[7])]).delayed(delay);
        let calls = engine.calls();
        let thread = start(engine);
        let mut handle = thread.handle();
        let caller =
            std::thread::spawn(move || handle.generate(&[request()], &DecodeOptions::default()));
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
        let started = EngineThreads::start(move || Err::<Vec<ScriptedEngine>, _>(told));
        assert_eq!(started.unwrap_err(), refusal);
        let panicked =
            EngineThreads::start(|| -> Result<Vec<ScriptedEngine>, _> { panic!("told to") });
        assert_eq!(panicked.unwrap_err(), EngineError::Stopped);
    }

    #[test]
    fn two_engines_work_at_the_same_time() {
        // Each waits for the other: with one thread the first would wait for ever.
        let barrier = Arc::new(std::sync::Barrier::new(2));
        let engine = |barrier: Arc<std::sync::Barrier>| {
            ScriptedEngine::answering(move |_| {
                barrier.wait();
                Ok(decoded_for_test(&[7]))
            })
        };
        let engines = vec![engine(Arc::clone(&barrier)), engine(barrier)];
        let threads = EngineThreads::start(move || Ok(engines)).unwrap();
        let handle = threads.handle();
        assert_eq!(handle.engines(), 2);
        let ask =
            || handle.submit(|engine| engine.generate(&[request()], &DecodeOptions::default()));
        let pending = [ask().unwrap(), ask().unwrap()];
        for answer in pending {
            assert_eq!(answer.wait().unwrap().unwrap()[0].tokens, [7]);
        }
    }
}
