//! The loop that every worker runs: receive, lease, work, settle.
