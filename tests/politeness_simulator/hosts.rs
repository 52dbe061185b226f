//! Hosts as a polite client meets them: each keeps its own log, which is what the tests go by.

use std::time::Duration;

/// What a host does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Sends the body.
    Serve,
    /// Sends to the next host.
    Redirect,
    /// Refuses, with a wait or without.
    Refuse(u16, Option<Duration>),
}

/// How a host judges a request.
#[derive(Clone, Copy)]
pub(crate) enum Model {
    /// 429 beyond so many at once.
    Limit(usize),
    /// A limit that becomes lower at a moment.
    Drop {
        /// At first.
        before: usize,
        /// When.
        at: Duration,
        /// Then.
        after: usize,
    },
    /// More than `limit` at once, and everything is 403 for as long as `block`.
    Blocker {
        /// The most at once.
        limit: usize,
        /// How long a block lasts.
        block: Duration,
    },
    /// Serves as many as come, but beyond `limit` at once every body slows to a crawl.
    Crawler {
        /// The most at once that are served at full speed.
        limit: usize,
    },
    /// Redirects, and says 429 once it is so late.
    Tracker {
        /// When it does so, for a single time.
        throttles_at: Duration,
        /// What it asks for then.
        rest: Duration,
    },
    /// A limit, whose 429 asks for a long wait, and a time when everything is 503.
    RetryAfter {
        /// The most at once.
        limit: usize,
        /// What a 429 asks for.
        rest: Duration,
        /// When it is closed, and until when.
        closed: (Duration, Duration),
    },
    /// 429 without a token; a token comes every so often, and so many are kept.
    Tokens {
        /// Between two tokens.
        every: Duration,
        /// The most that are kept.
        burst: u32,
    },
}

/// A host with its log.
pub(crate) struct Host {
    /// Its judgement.
    pub(crate) model: Model,
    /// Bodies and refusals under way.
    pub(crate) in_flight: usize,
    /// The most of them ever.
    pub(crate) most_in_flight: usize,
    /// Answers of every kind.
    pub(crate) answers: usize,
    /// 429s, 503s.
    pub(crate) throttles: usize,
    /// 403s.
    pub(crate) blocks: usize,
    /// Bodies that were ended for crawling.
    pub(crate) stalls: usize,
    /// Requests within a time that an earlier answer asked to be left alone for.
    pub(crate) intrusions: usize,
    /// When everybody may come again.
    forbidden_until: Duration,
    /// All the time that nobody was served in, by its own word.
    pub(crate) forbidden: Duration,
    /// The largest share of 429s over the first n answers, for any n of at least 1000.
    pub(crate) worst_share: f64,
    tokens: f64,
    tokens_at: Duration,
}

impl Host {
    /// A host that nobody asked yet.
    pub(crate) fn new(model: Model) -> Self {
        let tokens = match model {
            Model::Tokens { burst, .. } => f64::from(burst),
            _ => 0.0,
        };
        Self {
            model,
            in_flight: 0,
            most_in_flight: 0,
            answers: 0,
            throttles: 0,
            blocks: 0,
            stalls: 0,
            intrusions: 0,
            forbidden_until: Duration::ZERO,
            forbidden: Duration::ZERO,
            worst_share: 0.0,
            tokens,
            tokens_at: Duration::ZERO,
        }
    }

    /// Judges a request that arrives at `now` and counts it in; [`leave`](Self::leave) counts it out.
    pub(crate) fn arrive(&mut self, now: Duration) -> Reply {
        let reply = self.judge(now);
        self.in_flight += 1;
        self.most_in_flight = self.most_in_flight.max(self.in_flight);
        self.answers += 1;
        match reply {
            Reply::Refuse(403, _) => self.blocks += 1,
            Reply::Refuse(..) => self.throttles += 1,
            _ => {}
        }
        if self.answers >= 1000 {
            let share = self.throttles as f64 / self.answers as f64;
            self.worst_share = self.worst_share.max(share);
        }
        reply
    }

    /// A request or its body is over.
    pub(crate) fn leave(&mut self) {
        self.in_flight -= 1;
    }

    /// Of a body's full speed, now.
    pub(crate) fn speed(&self) -> f64 {
        match self.model {
            // 10 kB/s of 5 MB/s.
            Model::Crawler { limit } if self.in_flight > limit => 0.002,
            _ => 1.0,
        }
    }

    fn judge(&mut self, now: Duration) -> Reply {
        let in_flight = self.in_flight;
        let refuse = |is_over: bool| match is_over {
            true => Reply::Refuse(429, None),
            false => Reply::Serve,
        };
        match self.model {
            Model::Limit(limit) => refuse(in_flight >= limit),
            Model::Drop { before, at, after } => {
                refuse(in_flight >= if now < at { before } else { after })
            }
            Model::Crawler { .. } => Reply::Serve,
            Model::Blocker { limit, block } => {
                if now >= self.forbidden_until && in_flight >= limit {
                    self.forbid(now, block);
                }
                match now < self.forbidden_until {
                    true => Reply::Refuse(403, None),
                    false => Reply::Serve,
                }
            }
            Model::Tracker { throttles_at, rest } => {
                self.intrusions += usize::from(now < self.forbidden_until);
                if now < throttles_at || self.throttles > 0 {
                    return Reply::Redirect;
                }
                self.forbid(now, rest);
                Reply::Refuse(429, Some(rest))
            }
            Model::RetryAfter {
                limit,
                rest,
                closed: (from, until),
            } => {
                self.intrusions += usize::from(now < self.forbidden_until);
                if (from..until).contains(&now) {
                    self.forbid(now, until - now);
                    return Reply::Refuse(503, Some(until - now));
                }
                if in_flight < limit {
                    return Reply::Serve;
                }
                self.forbid(now, rest);
                Reply::Refuse(429, Some(rest))
            }
            Model::Tokens { every, burst } => {
                let came = (now - self.tokens_at).as_secs_f64() / every.as_secs_f64();
                self.tokens = (self.tokens + came).min(f64::from(burst));
                self.tokens_at = now;
                let is_over = self.tokens < 1.0;
                self.tokens -= f64::from(u8::from(!is_over));
                refuse(is_over)
            }
        }
    }

    fn forbid(&mut self, now: Duration, rest: Duration) {
        let from = self.forbidden_until.max(now);
        self.forbidden_until = self.forbidden_until.max(now + rest);
        self.forbidden += self.forbidden_until - from;
    }
}
