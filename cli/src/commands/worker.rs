//! `podrun worker fetch|transcribe`

use std::time::Instant;

use super::run::Counting;
use super::{fetch, transcribe};
use crate::args::{GlobalArguments, WorkerArguments, WorkerStage};
use crate::exit::Code;
use crate::output;
use crate::settings::{Settings, Target};
use crate::signals::Shutdown;
use crate::wire::{self, Stores, speech};

pub(crate) async fn run(
    global: &GlobalArguments,
    mut settings: Settings,
    options: &WorkerArguments,
    shutdown: &Shutdown,
) -> anyhow::Result<Code> {
    let started = Instant::now();
    if let Some(run) = &options.run {
        settings = wire::settings_of_run(&settings, run).await?;
    }
    wire::watch_interruption(&settings, shutdown);
    let observer = Counting::new(output::observer(global));
    let (stores, summary) = match &options.stage {
        WorkerStage::Fetch { concurrency } => {
            if let Some(concurrency) = concurrency {
                settings.fetch.concurrency = *concurrency;
            }
            let stores = Stores::open(&settings).await?;
            let queued = stores.fetch_queue.depth().await?.outstanding();
            let drained = fetch::drain(
                &settings, &stores, observer, shutdown, None, queued, started,
            );
            let summary = drained.await;
            (stores, summary)
        }
        WorkerStage::Transcribe(options) => {
            settings.transcribe.apply(&options.speech)?;
            settings.transcribe.add_formats(&options.output_format);
            let model = speech::check(&settings.transcribe)?;
            let stores = Stores::open(&settings).await?;
            let work = transcribe::Work {
                model,
                scope: None,
                episodes: stores.transcribe_queue.depth().await?.outstanding(),
                started,
            };
            let summary = transcribe::drain(&settings, &stores, observer, shutdown, work).await;
            (stores, summary)
        }
    };
    // Also where the worker failed: what was measured before is true.
    if let Err(error) = stores.metrics.flush().await {
        tracing::warn!(%error, "the last measurements were not sent");
    }
    let summary = summary?;
    let command = format!("podrun worker {}", summary.stage);
    output::print_result(global, &summary, || summary.text(&command))?;
    Ok(match (settings.target, summary.interrupted) {
        (Target::Local, _) => summary.code(shutdown),
        // It was told to end and handed everything back: its next attempt goes on.
        (Target::Aws, true) => Code::Waiting,
        // It did what there was to do. What failed or rests stands in the checkpoints, and starting the
        // worker anew would not mend it.
        (Target::Aws, false) => Code::Done,
    })
}
