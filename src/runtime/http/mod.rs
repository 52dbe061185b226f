//! The HTTP client that every request goes through.
