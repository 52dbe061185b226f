//! The HTTP client that every request goes through.
//!
//! One request is a chain of hops. Each hop is judged ([`Guard`]), passes its host's gate
//! ([`HopGate`]), and is sent by a client that follows nothing, decodes nothing and remembers
//! nothing ([`HttpClient`]); [`follow()`] does the rest, cookies of the one chain included. The last hop's pass stays with its body until the body is done, because
//! what a host limits is transfers and not requests. Whatever goes wrong becomes one
//! [`Failure`](crate::domain::Failure) ([`classify`]).

pub mod address;
mod blocked;
pub mod body;
pub mod classify;
pub mod client;
pub mod config;
mod cookies;
pub mod decode;
pub mod follow;
pub mod gate;
pub mod guard;
pub mod redirect;
pub mod resolve;
pub mod retry_after;
pub mod safe_url;

pub use body::BodyStream;
pub use client::{HttpClient, HttpClientError};
pub use config::{HttpConfig, StallRule, UserAgent};
pub use decode::Coding;
pub use follow::{Answer, Get, Hop, follow, read_to_vec};
/// Names and values of headers: the one part of the client's crate that others may use.
pub use reqwest::header;

pub use gate::{HopGate, HopPass, HopVerdict, OpenGate};
pub use guard::{Guard, Network, Refused};
pub use resolve::{Lookup, LookupError, SystemLookup};
pub use safe_url::SafeUrl;
