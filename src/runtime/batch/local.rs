//! Runs workers as tasks in this process.
