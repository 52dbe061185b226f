//! What an operator does: plan, submit, status.
