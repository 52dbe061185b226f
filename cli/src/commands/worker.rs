//! `podrun worker fetch|transcribe`

use std::time::Instant;

use super::run::Counting;
use super::{fetch, transcribe};
use crate::args::{GlobalArguments, WorkerArguments, WorkerStage};
use crate::exit::Code;
use crate::output;
use crate::settings::Settings;
use crate::signals::Shutdown;
use crate::wire::{Stores, speech};

pub(crate) async fn run(
    global: &GlobalArguments,
    mut settings: Settings,
    options: &WorkerArguments,
    shutdown: &Shutdown,
) -> anyhow::Result<Code> {
    let started = Instant::now();
    let observer = Counting::new(output::observer(global));
    let summary = match &options.stage {
        WorkerStage::Fetch { concurrency } => {
            if let Some(concurrency) = concurrency {
                settings.fetch.concurrency = *concurrency;
            }
            let stores = Stores::open(&settings).await?;
            let queued = stores.fetch_queue.depth().await?.outstanding();
            fetch::drain(
                &settings, &stores, observer, shutdown, None, queued, started,
            )
            .await?
        }
        WorkerStage::Transcribe {
            model,
            language,
            beam_size,
            threads,
        } => {
            let transcribe = &mut settings.transcribe;
            if let Some(model) = model {
                transcribe.model.clone_from(model);
            }
            if language.is_some() {
                transcribe.language.clone_from(language);
            }
            transcribe.beam_size = beam_size.unwrap_or(transcribe.beam_size);
            transcribe.threads = threads.unwrap_or(transcribe.threads);
            let model = speech::check(&settings.transcribe)?;
            let stores = Stores::open(&settings).await?;
            let work = transcribe::Work {
                model,
                scope: None,
                episodes: stores.transcribe_queue.depth().await?.outstanding(),
                started,
            };
            transcribe::drain(&settings, &stores, observer, shutdown, work).await?
        }
    };
    let command = format!("podrun worker {}", summary.stage);
    output::print_result(global, &summary, || summary.text(&command))?;
    Ok(summary.code(shutdown))
}
