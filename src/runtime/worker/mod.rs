//! The loop that every worker runs: receive, lease, work, settle.

pub mod outcome;
pub mod stage;

pub use outcome::{FatalError, StageOutcome};
pub use stage::{AlwaysHeld, LeaseCheck, Stage, WorkContext};
