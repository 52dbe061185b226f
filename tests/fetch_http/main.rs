//! Downloads over loopback: single requests, whole downloads, and the stage around them.

// The attribute says to clippy that the helpers between the tests are tests too.
#[cfg(test)]
mod answers;
#[cfg(test)]
mod audio;
#[cfg(test)]
mod bench;
#[cfg(test)]
mod download;
#[cfg(test)]
mod gate;
#[cfg(test)]
mod guard;
#[cfg(test)]
mod redirects;
#[cfg(test)]
mod resume;
#[cfg(test)]
mod server;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod transcripts;
