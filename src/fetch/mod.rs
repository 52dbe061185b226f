//! Downloading one episode politely and safely.
