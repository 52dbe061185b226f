//! A build without a speech engine: it fetches, plans and reports.

use podrun::runtime::telemetry::Observer;
use podrun::transcribe::options::TranscribeOptions;
use podrun::transcribe::transcriber::Transcriber;

use crate::exit::Problem;
use crate::settings::TranscribeSettings;

/// No model can be had.
#[derive(Debug, Clone)]
pub(crate) enum Model {}

/// No model can be loaded.
#[derive(Debug)]
pub(crate) enum Speech {}

impl Speech {
    pub(crate) fn transcriber(&self, _: TranscribeOptions) -> Transcriber {
        match *self {}
    }
}

pub(crate) fn check(_: &TranscribeSettings) -> Result<Model, Problem> {
    Err(
        Problem::preflight("this build of podrun has no speech engine, so it cannot transcribe")
            .hint("build it with one of the features dnnl, openblas, mkl, ruy, cuda"),
    )
}

pub(crate) fn load(
    model: &Model,
    _: &TranscribeSettings,
    _: &dyn Observer,
) -> Result<Speech, Problem> {
    match *model {}
}
