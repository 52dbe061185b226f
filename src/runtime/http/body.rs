//! A body as it arrives: bounded in time, checked for its length, and holding its host's pass.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::classify::{self, Phase};
use super::config::StallRule;
use super::decode::{Coding, DecodeError, Decoder};
use super::gate::{HopPass, HopVerdict};
use super::header::TRANSFER_ENCODING;
use super::safe_url::SafeUrl;
use crate::domain::{Failure, FailureClass};

/// The chunks of one body, without the coding that its host may have put on it. Decoding is done on
/// the spot and piece by piece: a chunk may have hundreds of KiB, and each piece of it unpacks to
/// about a megabyte at most, in a millisecond or two.
///
/// "The end" is only said of a body that is whole as far as HTTP can tell: as long as its
/// `Content-Length`, or ended by its last chunk. A body with neither ends with its connection, and one
/// that was cut looks the same; [`tells_its_end`](Self::tells_its_end) says which it is. The host's
/// pass is given back at the end, at the first failure and by [`close`](Self::close), after the
/// connection was let go.
pub struct BodyStream {
    url: SafeUrl,
    status: u16,
    expected: Option<u64>,
    received: u64,
    tells_its_end: bool,
    decoder: Option<Decoder>,
    /// What came and is still to be decoded.
    coded: Bytes,
    meter: StallMeter,
    cancel: CancellationToken,
    live: Option<Live>,
}

struct Live {
    response: reqwest::Response,
    lost: CancellationToken,
    pass: Box<dyn HopPass>,
}

/// A failure, and what it says about the host.
type Blamed = (Failure, HopVerdict);

impl BodyStream {
    pub(super) fn new(
        response: reqwest::Response,
        pass: Box<dyn HopPass>,
        rule: StallRule,
        coding: Option<Coding>,
        cancel: CancellationToken,
    ) -> Self {
        let is_chunked = response.headers().contains_key(TRANSFER_ENCODING);
        Self {
            url: SafeUrl::new(response.url()),
            status: response.status().as_u16(),
            expected: response.content_length(),
            received: 0,
            tells_its_end: response.content_length().is_some() || is_chunked || coding.is_some(),
            decoder: coding.map(Decoder::new),
            coded: Bytes::new(),
            meter: StallMeter::new(rule),
            cancel,
            live: Some(Live {
                response,
                lost: pass.lost(),
                pass,
            }),
        }
    }

    /// How many bytes it will be, where the host said so.
    pub fn expected(&self) -> Option<u64> {
        match self.decoder {
            None => self.expected,
            Some(_) => None,
        }
    }

    /// Whether it can be told from a body that was cut: by its length, its last chunk, or the end of
    /// its coding.
    pub fn tells_its_end(&self) -> bool {
        self.tells_its_end
    }

    /// Bytes that came over the network so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The next bytes, or `None` at the end of a whole body and ever after.
    ///
    /// [`FailureClass::Truncated`] for a body that ends early, [`FailureClass::Timeout`] for one that
    /// stalls, [`FailureClass::TooLarge`] for one that unpacks beyond measure. When the cancellation
    /// fires the failure says so; ask the token to tell it apart.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            if self.coded.is_empty() {
                let Some(bytes) = self.next_raw().await? else {
                    return self.last().await;
                };
                self.coded = bytes;
            }
            let Some(decoder) = self.decoder.as_mut() else {
                return Ok(Some(std::mem::take(&mut self.coded)));
            };
            // Others have their turn between two pieces.
            tokio::task::consume_budget().await;
            let piece = self.coded.split_to(self.coded.len().min(Decoder::PIECE));
            match decoder.push(&piece) {
                // The decoder holds back what it cannot tell yet.
                Ok(decoded) if decoded.is_empty() => {}
                Ok(decoded) => return Ok(Some(decoded)),
                Err(error) => return Err(self.undecodable(error).await),
            }
        }
    }

    /// What the decoder still holds at the body's end.
    async fn last(&mut self) -> Result<Option<Bytes>, Failure> {
        let Some(mut decoder) = self.decoder.take() else {
            return Ok(None);
        };
        match decoder.finish() {
            Ok(rest) => Ok((!rest.is_empty()).then_some(rest)),
            Err(error) => Err(self.undecodable(error).await),
        }
    }

    async fn undecodable(&mut self, error: DecodeError) -> Failure {
        self.close().await;
        let class = match error {
            DecodeError::Damaged => FailureClass::Protocol,
            DecodeError::Cut => FailureClass::Truncated,
            DecodeError::Bomb => FailureClass::TooLarge,
        };
        Failure::new(class, format!("{}: {error}", self.url))
    }

    async fn next_raw(&mut self) -> Result<Option<Bytes>, Failure> {
        let Some(live) = self.live.as_mut() else {
            return Ok(None);
        };
        let status = self.status;
        let started = Instant::now();
        let received = receive(live, &self.meter.rule, &self.cancel, &self.url, status).await;
        let waited = started.elapsed();
        match received {
            Ok(Some(bytes)) if self.meter.is_too_slow(waited, bytes.len()) => {
                let problem = format!("{}: the body comes too slowly", self.url);
                self.leave(HopVerdict::Strained {
                    status: Some(status),
                })
                .await;
                Err(Failure::new(FailureClass::Timeout, problem))
            }
            Ok(Some(bytes)) => {
                self.received += bytes.len() as u64;
                live.pass.received(bytes.len(), waited);
                Ok(Some(bytes))
            }
            Ok(None) => self.end().await,
            Err((failure, verdict)) => {
                self.leave(verdict).await;
                Err(failure)
            }
        }
    }

    /// Ends it early, for a reason that is not the host's fault.
    pub async fn close(&mut self) {
        let status = Some(self.status);
        self.leave(HopVerdict::Unknown { status }).await;
    }

    async fn end(&mut self) -> Result<Option<Bytes>, Failure> {
        // The client checks the length too; nothing else here would notice if it stopped to.
        let missing = self.expected.filter(|expected| *expected > self.received);
        let status = self.status;
        let Some(expected) = missing else {
            self.leave(HopVerdict::Answered { status }).await;
            return Ok(None);
        };
        self.leave(HopVerdict::Strained {
            status: Some(status),
        })
        .await;
        let problem = format!("{}: {} of {expected} bytes came", self.url, self.received);
        Err(Failure::new(FailureClass::Truncated, problem))
    }

    async fn leave(&mut self, verdict: HopVerdict) {
        if let Some(live) = self.live.take() {
            // First the connection, then the pass: the next one in must find it gone.
            drop(live.response);
            live.pass.finish(verdict).await;
        }
    }
}

async fn receive(
    live: &mut Live,
    rule: &StallRule,
    cancel: &CancellationToken,
    url: &SafeUrl,
    status: u16,
) -> Result<Option<Bytes>, Blamed> {
    let status = Some(status);
    let next = tokio::select! {
        biased;
        () = cancel.cancelled() => {
            return Err((interrupted(url), HopVerdict::Unknown { status }));
        }
        () = live.lost.cancelled() => {
            return Err((slot_lost(url), HopVerdict::Unknown { status }));
        }
        next = timeout(rule.silence, live.response.chunk()) => next,
    };
    match next {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err((
            classify::error(&error, Phase::Body, url),
            HopVerdict::Strained { status },
        )),
        Err(_) => {
            let problem = format!("{url}: no byte for {:?}", rule.silence);
            let failure = Failure::new(FailureClass::Timeout, problem);
            Err((failure, HopVerdict::Strained { status }))
        }
    }
}

/// What a cancelled request fails with; whoever cancelled it does not read it.
pub(super) fn interrupted(url: &SafeUrl) -> Failure {
    Failure::new(FailureClass::Timeout, format!("{url}: interrupted"))
}

/// The host is somebody else's turn now: no fault of the episode, so no attempt of it is counted.
pub(super) fn slot_lost(url: &SafeUrl) -> Failure {
    let problem = format!("{url}: the right to ask this host ended in mid-transfer");
    Failure::new(FailureClass::RateLimited, problem)
}

impl fmt::Debug for BodyStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("BodyStream")
            .field("url", &self.url)
            .field("expected", &self.expected)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

/// Averages over windows that follow each other, so a stall is seen after one to two windows.
struct StallMeter {
    rule: StallRule,
    waited: Duration,
    bytes: u64,
}

impl StallMeter {
    fn new(rule: StallRule) -> Self {
        Self {
            rule,
            waited: Duration::ZERO,
            bytes: 0,
        }
    }

    fn is_too_slow(&mut self, waited: Duration, bytes: usize) -> bool {
        self.waited += waited;
        self.bytes += bytes as u64;
        if self.waited < self.rule.window {
            return false;
        }
        let least = self.rule.min_bytes_per_s as f64 * self.waited.as_secs_f64();
        let is_too_slow = (self.bytes as f64) < least;
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        is_too_slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trickle_is_a_stall_after_one_window() {
        let mut meter = StallMeter::new(StallRule::default());
        let slow_seconds = (1..=60).find(|_| meter.is_too_slow(Duration::from_secs(1), 16_000));
        assert_eq!(slow_seconds, Some(60));
    }

    #[test]
    fn enough_bytes_in_every_window_are_no_stall() {
        let mut meter = StallMeter::new(StallRule::default());
        let second = Duration::from_secs(1);
        assert!((0..600).all(|_| !meter.is_too_slow(second, 16 * 1024)));
        // A burst in the last window does not excuse this one.
        assert!((0..59).all(|_| !meter.is_too_slow(second, 0)));
        assert!(meter.is_too_slow(second, 0));
    }

    #[test]
    fn a_slow_store_is_no_slow_host() {
        let mut meter = StallMeter::new(StallRule::default());
        // However long the program itself took between two chunks, the host made it wait for none.
        assert!((0..10_000).all(|_| !meter.is_too_slow(Duration::ZERO, 1)));
    }
}
