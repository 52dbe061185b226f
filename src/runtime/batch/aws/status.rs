//! What Batch says of jobs, counted.

use std::collections::HashMap;

use aws_sdk_batch::types::{JobDetail, JobStatus as BatchStatus};

use crate::runtime::batch::JobStatus;

/// Of a plain job, or of children that are all there are.
pub(super) fn of_children(jobs: &[JobDetail]) -> JobStatus {
    let mut status = JobStatus {
        restarts: jobs.iter().map(restarts).sum(),
        reasons: reasons(jobs),
        ..JobStatus::default()
    };
    for job in jobs {
        *place(&mut status, job.status()) += 1;
    }
    status
}

/// Of an array: the parent's own counts, which are of all children; why, from those that were read.
pub(super) fn of_array(parent: &JobDetail, size: u32, children: &[JobDetail]) -> JobStatus {
    let read = of_children(children);
    if u32::try_from(children.len()).is_ok_and(|read| read == size) {
        return read;
    }
    let mut status = JobStatus {
        restarts: read.restarts,
        reasons: read.reasons,
        ..JobStatus::default()
    };
    let summary = parent.array_properties().and_then(|a| a.status_summary());
    for (state, count) in summary.into_iter().flatten() {
        let state = BatchStatus::from(state.as_str());
        *place(&mut status, Some(&state)) += u32::try_from(*count).unwrap_or(0);
    }
    // A summary that is still empty: nothing has begun.
    status.pending += size.saturating_sub(status.workers());
    status
}

/// Where a state is counted. One that is not known yet is on its way.
fn place<'a>(status: &'a mut JobStatus, state: Option<&BatchStatus>) -> &'a mut u32 {
    match state {
        Some(BatchStatus::Running) => &mut status.running,
        Some(BatchStatus::Succeeded) => &mut status.succeeded,
        Some(BatchStatus::Failed) => &mut status.failed,
        _ => &mut status.pending,
    }
}

/// Attempts that another followed.
fn restarts(job: &JobDetail) -> u32 {
    let ended = u32::try_from(job.attempts().len()).unwrap_or(u32::MAX);
    match job.status() {
        Some(BatchStatus::Succeeded | BatchStatus::Failed) => ended.saturating_sub(1),
        _ => ended,
    }
}

/// The most frequent reasons of jobs that wait or failed.
fn reasons(jobs: &[JobDetail]) -> Vec<String> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for reason in jobs.iter().filter_map(reason) {
        *counts.entry(reason).or_default() += 1;
    }
    let mut reasons: Vec<_> = counts.into_iter().collect();
    reasons.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    reasons.truncate(JobStatus::MAX_REASONS);
    reasons.into_iter().map(|(reason, _)| reason).collect()
}

fn reason(job: &JobDetail) -> Option<String> {
    let told = job.status_reason();
    match job.status()? {
        BatchStatus::Succeeded | BatchStatus::Running => None,
        BatchStatus::Failed => Some(failure(job, told)),
        _ => told.map(str::to_owned),
    }
}

/// Why a worker failed: what its container said is nearer to the cause than what its task did.
fn failure(job: &JobDetail, told: Option<&str>) -> String {
    let container = job.container();
    let near = container.and_then(|container| container.reason());
    let text = near.or(told).unwrap_or("no reason is given");
    match container.and_then(|container| container.exit_code()) {
        Some(code) if code != 0 => format!("exit code {code}: {text}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_batch::types::{ArrayPropertiesDetail, AttemptDetail, ContainerDetail};

    fn child(state: BatchStatus, code: Option<i32>, reason: &str, attempts: usize) -> JobDetail {
        let container = ContainerDetail::builder().set_exit_code(code).build();
        let attempts = vec![AttemptDetail::builder().build(); attempts];
        JobDetail::builder()
            .status(state)
            .status_reason(reason)
            .container(container)
            .set_attempts(Some(attempts))
            .build()
    }

    #[test]
    fn children_are_counted_with_their_reasons() {
        let exited = "Essential container in task exited";
        let jobs = [
            child(BatchStatus::Running, None, "", 2),
            child(BatchStatus::Succeeded, Some(0), exited, 1),
            child(BatchStatus::Failed, Some(3), exited, 1),
            child(BatchStatus::Failed, Some(3), exited, 3),
            child(BatchStatus::Failed, None, "cancelled by podrun", 0),
            child(BatchStatus::Runnable, None, "CAPACITY:...", 0),
            child(BatchStatus::Starting, None, "CAPACITY:...", 0),
        ];
        let status = of_children(&jobs);
        let counts = (
            status.pending,
            status.running,
            status.succeeded,
            status.failed,
        );
        assert_eq!(counts, (2, 1, 1, 3));
        assert_eq!(status.restarts, 4);
        let reasons = [
            "CAPACITY:...",
            "exit code 3: Essential container in task exited",
        ];
        assert_eq!(status.reasons[..2], reasons);
        assert_eq!(status.reasons[2], "cancelled by podrun");
    }

    #[test]
    fn a_large_array_is_counted_by_its_parent() {
        let summary = HashMap::from([("RUNNING".to_owned(), 600), ("SUCCEEDED".to_owned(), 300)]);
        let array = ArrayPropertiesDetail::builder().set_status_summary(Some(summary));
        let parent = JobDetail::builder().array_properties(array.build()).build();
        let read = [child(BatchStatus::Running, None, "", 1)];
        let status = of_array(&parent, 1_000, &read);
        let counts = (
            status.pending,
            status.running,
            status.succeeded,
            status.failed,
        );
        assert_eq!(counts, (100, 600, 300, 0));
        assert_eq!(status.restarts, 1);
    }
}
