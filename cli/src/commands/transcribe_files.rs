//! `podrun transcribe FILE...`: files straight to text, without a data directory.

mod destination;
mod input;

use std::sync::Arc;
use std::time::{Duration, Instant};

use podrun::domain::{EpisodeId, FailureClass, StageName};
use podrun::runtime::telemetry::{Event, Observer};
use podrun::transcribe::formats::FinishedTranscript;
use podrun::transcribe::sequential::Watch;
use podrun::transcribe::transcriber::{HearError, Heard, Transcriber};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use self::destination::Destination;
use self::input::{Input, Media};
use super::transcribe::load;
use crate::args::{GlobalArguments, TranscribeArguments};
use crate::exit::Code;
use crate::output::{self, text};
use crate::settings::TranscribeSettings;
use crate::signals::Shutdown;
use crate::wire::speech;

const STAGE: StageName = StageName::Transcribe;

/// The result of a run.
#[derive(Debug, Serialize)]
struct Summary {
    model: String,
    done: u64,
    failed: u64,
    interrupted: bool,
    elapsed_s: f64,
    files: Vec<FileResult>,
}

/// What became of one file.
#[derive(Debug, Default, Serialize)]
struct FileResult {
    file: String,
    /// What was written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    outputs: Vec<String>,
    /// The transcript itself, where it goes nowhere else.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    language: Option<String>,
    audio_s: Option<f64>,
    elapsed_s: f64,
    /// What is wrong with the file; what could be decoded was transcribed.
    damage: Option<String>,
    error: Option<String>,
}

/// Why a file has no transcript.
enum Stop {
    Failed(FailureClass, String),
    Interrupted,
}

pub(crate) async fn run(
    global: &GlobalArguments,
    settings: &TranscribeSettings,
    options: &TranscribeArguments,
    shutdown: &Shutdown,
) -> anyhow::Result<Code> {
    let inputs = Input::all(&options.files)?;
    let destination = Destination::new(options, &inputs)?;
    let mut run = Run {
        global,
        settings,
        destination,
        observer: output::observer(global),
        cancel: shutdown.token.clone(),
    };
    let summary = run.all(&inputs).await?;
    run.print(&summary)?;
    Ok(match shutdown.code() {
        Some(code) if summary.interrupted => Code::Signalled(code),
        _ if summary.failed > 0 => Code::Partial,
        _ => Code::Done,
    })
}

struct Run<'a> {
    global: &'a GlobalArguments,
    settings: &'a TranscribeSettings,
    destination: Destination,
    observer: Arc<dyn Observer>,
    cancel: CancellationToken,
}

impl Run<'_> {
    async fn all(&mut self, inputs: &[Input]) -> anyhow::Result<Summary> {
        let started = Instant::now();
        let mut summary = Summary {
            model: self.settings.model.clone(),
            done: 0,
            failed: 0,
            interrupted: false,
            elapsed_s: 0.0,
            files: Vec::new(),
        };
        let model = speech::check(self.settings)?;
        // Loading a model takes its time, and a file that is not there needs none.
        let speech = match inputs.iter().any(|input| input.problem().is_none()) {
            true => Some(load(self.settings, model, &self.observer).await?),
            false => None,
        };
        let layout = self.settings.run.layout;
        for input in inputs {
            let begun = Instant::now();
            let transcriber = speech
                .as_ref()
                .map(|speech| speech.transcriber(self.settings.options()));
            let heard = self.hear(input, transcriber).await;
            let mut result = FileResult {
                file: input.name.clone(),
                elapsed_s: begun.elapsed().as_secs_f64(),
                ..FileResult::default()
            };
            match heard {
                Ok(heard) => self.deliver(input, &heard, &layout, &mut result)?,
                Err(Stop::Failed(class, problem)) => {
                    self.failed(input, class, problem, &mut result)
                }
                Err(Stop::Interrupted) => {
                    summary.interrupted = true;
                    break;
                }
            }
            summary.failed += u64::from(result.error.is_some());
            summary.done += u64::from(result.error.is_none());
            summary.files.push(result);
        }
        summary.elapsed_s = started.elapsed().as_secs_f64();
        Ok(summary)
    }

    async fn hear(&self, input: &Input, transcriber: Option<Transcriber>) -> Result<Heard, Stop> {
        if self.cancel.is_cancelled() {
            return Err(Stop::Interrupted);
        }
        if let Some(problem) = input.problem() {
            return Err(Stop::Failed(FailureClass::NotFound, problem));
        }
        let Some(transcriber) = transcriber else {
            let problem = "it appeared only now; run the command again".to_owned();
            return Err(Stop::Failed(FailureClass::NotFound, problem));
        };
        self.observer.event(&Event::EpisodeStarted {
            stage: STAGE,
            episode: input.episode.clone(),
            title: String::new(),
        });
        let input = input.clone();
        let mut watch = FileWatch {
            observer: Arc::clone(&self.observer),
            episode: input.episode.clone(),
            cancel: self.cancel.clone(),
        };
        let cancel = self.cancel.clone();
        let hearing = tokio::task::spawn_blocking(move || {
            let media = Media::of(&input, &cancel).map_err(|error| match error {
                None => Stop::Interrupted,
                Some(error) => Stop::Failed(FailureClass::Storage, error.to_string()),
            })?;
            let heard = transcriber.hear(&|| media.open(), &mut watch, &cancel);
            heard.map_err(|error| match error {
                HearError::Cancelled => Stop::Interrupted,
                HearError::Failed(failure) => Stop::Failed(failure.class, failure.to_string()),
                other => Stop::Failed(FailureClass::Engine, other.to_string()),
            })
        });
        tokio::select! {
            heard = hearing => heard.unwrap_or_else(|error| {
                let problem = format!("the transcription ended unexpectedly: {error}");
                Err(Stop::Failed(FailureClass::Engine, problem))
            }),
            // Nobody may ever write to stdin again; the process ends without it.
            () = stuck(&self.cancel) => Err(Stop::Interrupted),
        }
    }

    /// Brings a transcript to where it was asked for.
    fn deliver(
        &mut self,
        input: &Input,
        heard: &Heard,
        layout: &podrun::transcribe::formats::CueLayout,
        result: &mut FileResult,
    ) -> anyhow::Result<()> {
        let finished = FinishedTranscript {
            episode: &input.episode,
            transcript: &heard.transcript,
            model: &heard.made_by.model,
        };
        result.language = Some(heard.transcript.language.clone());
        result.audio_s = Some(heard.transcript.duration);
        result.damage.clone_from(&heard.damage);
        if let Some(damage) = &heard.damage {
            tracing::warn!(
                file = input.name,
                damage,
                "transcribed what could be decoded"
            );
        }
        match &self.destination {
            Destination::Stdout(format) => {
                let content = format.render(&finished, layout);
                if self.global.json {
                    result.content = Some(content);
                } else {
                    output::print_raw(&content)?;
                }
            }
            Destination::Folder(folder) => match folder.write(input, &finished, layout) {
                Ok(outputs) => result.outputs = outputs,
                Err(problem) => {
                    self.failed(input, FailureClass::Storage, problem, result);
                    return Ok(());
                }
            },
        }
        self.observer.event(&Event::EpisodeDone {
            stage: STAGE,
            episode: input.episode.clone(),
            amount: ((heard.transcript.duration * 1000.0) as u64).max(1),
            elapsed_s: result.elapsed_s,
        });
        Ok(())
    }

    fn failed(&self, input: &Input, class: FailureClass, problem: String, result: &mut FileResult) {
        self.observer.event(&Event::EpisodeFailed {
            stage: STAGE,
            episode: input.episode.clone(),
            class,
            reason: problem.clone(),
        });
        if self.global.quiet {
            output::complain(&format!("{}: {problem}", input.name));
        }
        result.error = Some(problem);
    }

    fn print(&self, summary: &Summary) -> anyhow::Result<()> {
        match self.destination {
            // The transcripts are the result.
            Destination::Stdout(_) if !self.global.json => Ok(()),
            _ => output::print_result(self.global, summary, || summary.text()),
        }
    }
}

impl Summary {
    fn text(&self) -> String {
        let seconds: f64 = self.files.iter().filter_map(|file| file.audio_s).sum();
        let audio = text::clock(Duration::from_secs_f64(seconds.max(0.0)));
        let elapsed = text::clock(Duration::from_secs_f64(self.elapsed_s));
        let files = text::count(self.done, "file");
        let mut line = format!("transcribed {files} ({audio} of audio) in {elapsed}");
        if self.failed > 0 {
            line += &format!(", {} failed", self.failed);
        }
        line.push('\n');
        for path in self.files.iter().flat_map(|file| &file.outputs) {
            line += &format!("  {}\n", text::printable(path));
        }
        line
    }
}

/// A while after the cancellation, for those who do not listen to it.
async fn stuck(cancel: &CancellationToken) {
    const PATIENCE: Duration = Duration::from_secs(10);
    cancel.cancelled().await;
    tokio::time::sleep(PATIENCE).await;
}

/// Tells how far it is, and whether to go on.
struct FileWatch {
    observer: Arc<dyn Observer>,
    episode: EpisodeId,
    cancel: CancellationToken,
}

impl Watch for FileWatch {
    fn progress(&mut self, seconds: f64, total: f64) {
        self.observer.event(&Event::EpisodeProgress {
            stage: STAGE,
            episode: self.episode.clone(),
            done: (seconds * 1000.0) as u64,
            total: Some((total * 1000.0) as u64),
        });
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}
