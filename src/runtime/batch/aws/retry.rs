//! When Batch starts a worker anew: the one place that says so.

use aws_sdk_batch::types::{EvaluateOnExit, RetryAction, RetryStrategy};

/// Attempts of one worker. Episodes come back by the queue whoever works on them, so this bounds only
/// how long a fleet keeps its size while Spot takes machines away.
const ATTEMPTS: i32 = 5;
/// How a worker ends that was asked to and handed its work back.
const HANDED_BACK: &str = "75";

/// The rules, for Fargate and EC2 alike: the texts of one platform never occur on the other. Batch
/// takes five, reads them in order, and starts anew whatever none of them matches; hence the last. A
/// worker that cannot go on would fail again, and one that ran out of time is never started anew.
pub(super) fn strategy() -> RetryStrategy {
    let rule = EvaluateOnExit::builder;
    let again = [
        // Fargate Spot took the capacity back.
        rule().on_status_reason("Your Spot Task was interrupted*"),
        // EC2 Spot took the instance back, or it broke.
        rule().on_status_reason("Host EC2*"),
        // The registry was slow or throttled.
        rule().on_reason("CannotPullContainerError*"),
        rule().on_exit_code(HANDED_BACK),
    ];
    let again = again.map(|rule| rule.action(RetryAction::Retry));
    let end = rule().on_reason("*").action(RetryAction::Exit);
    let rules = again.into_iter().chain([end]);
    // A rule without an action cannot be built, and all have one.
    let rules = rules.map(|rule| rule.build()).collect();
    RetryStrategy::builder()
        .attempts(ATTEMPTS)
        .set_evaluate_on_exit(Some(rules))
        .build()
}
