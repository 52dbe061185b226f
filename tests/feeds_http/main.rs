//! Feeds over loopback: what servers answer, what a run keeps of it, and what the next run does.

// The attribute says to clippy that the helpers between the tests are tests too.
#[cfg(test)]
mod announced;
#[cfg(test)]
mod bench;
#[cfg(test)]
mod bodies;
#[cfg(test)]
mod conditional;
#[cfg(test)]
mod moved;
#[cfg(test)]
mod outages;
#[cfg(test)]
mod paging;
#[cfg(test)]
mod server;
