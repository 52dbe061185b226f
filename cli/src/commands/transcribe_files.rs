//! `podrun transcribe FILE...`: files straight to text, without a data directory.

mod destination;
mod input;
mod summary;

use std::sync::Arc;
use std::time::Instant;

use podrun::domain::{EpisodeId, FailureClass, StageName};
use podrun::runtime::telemetry::{Event, Observer};
use podrun::transcribe::formats::FinishedTranscript;
use podrun::transcribe::sequential::Watch;
use podrun::transcribe::transcriber::{HearError, Heard, Transcriber};
use tokio_util::sync::CancellationToken;

use self::destination::Destination;
use self::input::{Input, Media};
use self::summary::{FileResult, Summary};
use super::transcribe::load;
use crate::args::{GlobalArguments, TranscribeArguments};
use crate::exit::Code;
use crate::output;
use crate::settings::TranscribeSettings;
use crate::signals::Shutdown;
use crate::wire::speech;

const STAGE: StageName = StageName::Transcribe;

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
    let run = Run {
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
    async fn all(&self, inputs: &[Input]) -> anyhow::Result<Summary> {
        let started = Instant::now();
        let mut summary = Summary::new(&self.settings.model);
        let model = speech::check(self.settings)?;
        // Loading a model takes its time, and a file that is not there needs none.
        let speech = match inputs.iter().any(|input| input.problem().is_none()) {
            true => Some(load(self.settings, model, &self.observer).await?),
            false => None,
        };
        for input in inputs {
            let transcriber = speech
                .as_ref()
                .map(|speech| speech.transcriber(self.settings.options()));
            match self.one(input, transcriber).await? {
                Some(result) => summary.count(result),
                None => {
                    summary.interrupted = true;
                    break;
                }
            }
        }
        summary.elapsed_s = started.elapsed().as_secs_f64();
        Ok(summary)
    }

    /// What became of a file; `None` where the run was interrupted.
    async fn one(
        &self,
        input: &Input,
        transcriber: Option<Transcriber>,
    ) -> anyhow::Result<Option<FileResult>> {
        let begun = Instant::now();
        let heard = self.hear(input, transcriber).await;
        let mut result = FileResult {
            file: input.name.clone(),
            elapsed_s: begun.elapsed().as_secs_f64(),
            ..FileResult::default()
        };
        match heard {
            Ok(heard) => self.deliver(input, &heard, &mut result)?,
            Err(Stop::Failed(class, problem)) => self.failed(input, class, problem, &mut result),
            Err(Stop::Interrupted) => return Ok(None),
        }
        Ok(Some(result))
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
        let media = self.media(input).await?;
        let cancel = self.cancel.clone();
        let mut watch = FileWatch {
            observer: Arc::clone(&self.observer),
            episode: input.episode.clone(),
            cancel: cancel.clone(),
        };
        let hearing = tokio::task::spawn_blocking(move || {
            transcriber.hear(&|| media.open(), &mut watch, &cancel)
        });
        hearing
            .await
            .map_err(unexpected)?
            .map_err(|error| match error {
                HearError::Cancelled => Stop::Interrupted,
                HearError::Failed(failure) => Stop::Failed(failure.class, failure.to_string()),
                other => Stop::Failed(FailureClass::Engine, other.to_string()),
            })
    }

    /// The file, or all that comes through a pipe; into which nobody may ever write, so a
    /// cancellation does not wait for it.
    async fn media(&self, input: &Input) -> Result<Media, Stop> {
        let input = input.clone();
        let opening = tokio::task::spawn_blocking(move || Media::of(&input));
        tokio::select! {
            opened = opening => {
                let opened = opened.map_err(unexpected)?;
                opened.map_err(|error| Stop::Failed(FailureClass::Storage, error.to_string()))
            }
            () = self.cancel.cancelled() => Err(Stop::Interrupted),
        }
    }

    /// Brings a transcript to where it was asked for.
    fn deliver(&self, input: &Input, heard: &Heard, result: &mut FileResult) -> anyhow::Result<()> {
        let layout = &self.settings.run.layout;
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

fn unexpected(error: tokio::task::JoinError) -> Stop {
    let problem = format!("the transcription ended unexpectedly: {error}");
    Stop::Failed(FailureClass::Engine, problem)
}

/// Tells how far it is, and whether to go on.
struct FileWatch {
    observer: Arc<dyn Observer>,
    episode: EpisodeId,
    cancel: CancellationToken,
}

impl Watch for FileWatch {
    fn progress(&mut self, seconds: f64, total: Option<f64>) {
        self.observer.event(&Event::EpisodeProgress {
            stage: STAGE,
            episode: self.episode.clone(),
            done: (seconds * 1000.0) as u64,
            total: total.map(|total| (total * 1000.0) as u64),
        });
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}
