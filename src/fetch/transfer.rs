//! One file's bytes with their caps, over as many answers as it takes.

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::download::Downloader;
use super::progress::Progress;
use super::resume::{self, Continuation, Offered};
use crate::domain::{Failure, FailureClass};
use crate::runtime::http::header::{HeaderMap, HeaderValue};
use crate::runtime::http::{Answer, Get, Hop, SafeUrl, follow};

/// A file on its way in.
///
/// Where its answer breaks off, the rest is asked for, if [`resume`] allows it: a few times, after a
/// pause, and from the enclosure's own URL. Whatever comes instead of the rest ends the transfer with
/// the failure that broke it.
pub(super) struct Transfer<'a> {
    downloader: &'a Downloader<'a>,
    request: &'a Get,
    /// The answer that the bytes come from now.
    answer: Answer,
    /// The first answer's headers; a part's own say less.
    headers: HeaderMap,
    url: SafeUrl,
    /// Every request so far.
    hops: Vec<Hop>,
    etag: Option<HeaderValue>,
    /// Length of the whole file, where the first answer said so, or the first part.
    total: Option<u64>,
    received: u64,
    resumes: u32,
    is_over: bool,
    deadline: Instant,
}

impl<'a> Transfer<'a> {
    pub(super) fn new(downloader: &'a Downloader<'a>, request: &'a Get, answer: Answer) -> Self {
        Self {
            downloader,
            request,
            headers: answer.headers.clone(),
            url: SafeUrl::new(&answer.final_url),
            hops: answer.hops.clone(),
            etag: resume::validator(&answer, &downloader.config.ads),
            total: answer.body.expected(),
            answer,
            received: 0,
            resumes: 0,
            is_over: false,
            // From here on: waiting for the host's turn is nothing that the file did.
            deadline: Instant::now() + downloader.config.max_duration,
        }
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(super) fn url(&self) -> &SafeUrl {
        &self.url
    }

    pub(super) fn hops(&self) -> &[Hop] {
        &self.hops
    }

    pub(super) fn resumes(&self) -> u32 {
        self.resumes
    }

    pub(super) fn coding(&self) -> Option<&'static str> {
        self.answer.coding.map(|coding| coding.as_str())
    }

    /// Nothing but the connection's end told that the file is whole.
    pub(super) fn is_open_ended(&self) -> bool {
        self.total.is_none() && !self.answer.body.tells_its_end()
    }

    pub(super) fn failure(&self, class: FailureClass, problem: &str) -> Failure {
        Failure::new(class, format!("{}: {problem}", self.url))
    }

    /// Gives the host's pass back; after the body's end this does nothing.
    pub(super) async fn close(&mut self) {
        self.answer.body.close().await;
    }

    /// What the headers alone refuse, before a byte is read.
    pub(super) fn check_headers(&self) -> Result<(), Failure> {
        match self.total {
            Some(length) if length > self.downloader.config.max_bytes => {
                Err(self.too_large(length))
            }
            None if is_broadcast(&self.headers) => Err(self.failure(
                FailureClass::LiveStream,
                "is a live stream, which has no end",
            )),
            _ => Ok(()),
        }
    }

    /// The file's first bytes in one piece: at least `wanted`, fewer only where the file has fewer. More
    /// by at most what the connection's buffer held.
    pub(super) async fn head(
        &mut self,
        wanted: usize,
        progress: &mut Progress<'_>,
    ) -> Result<Bytes, Failure> {
        let mut head = BytesMut::with_capacity(wanted);
        while head.len() < wanted {
            match self.next(progress).await? {
                Some(bytes) => head.extend_from_slice(&bytes),
                None => break,
            }
        }
        Ok(head.freeze())
    }

    /// The next bytes as they come, never none, or `None` at the file's end and ever after.
    pub(super) async fn next(
        &mut self,
        progress: &mut Progress<'_>,
    ) -> Result<Option<Bytes>, Failure> {
        while !self.is_over {
            if Instant::now() >= self.deadline {
                return Err(self.too_long());
            }
            let bytes = match self.answer.body.next().await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => match self.missing() {
                    None => break,
                    Some(cut) => {
                        self.resume(cut).await?;
                        continue;
                    }
                },
                Err(broken) => {
                    self.resume(broken).await?;
                    continue;
                }
            };
            self.received += bytes.len() as u64;
            progress.received(self.received);
            if self.received > self.downloader.config.max_bytes {
                return Err(self.too_large(self.received));
            }
            if self.total.is_some_and(|total| self.received > total) {
                let problem = "more bytes came than its Content-Range says";
                return Err(self.failure(FailureClass::Protocol, problem));
            }
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// What is wrong with a body that ended, where it is shorter than the file. A part whose own length
    /// was not told ends with its connection, and looks whole to HTTP wherever that is.
    fn missing(&self) -> Option<Failure> {
        let total = self.total.filter(|total| self.received < *total)?;
        let problem = format!("{} of {total} bytes came", self.received);
        Some(self.failure(FailureClass::Truncated, &problem))
    }

    /// Asks for the rest after `broken`; on success the next bytes are those that are missing.
    async fn resume(&mut self, mut broken: Failure) -> Result<(), Failure> {
        let Some(etag) = self.etag.clone() else {
            return Err(broken);
        };
        loop {
            let may = broken.class.may_pass_at_once() && broken.retry_after.is_none();
            if !may || self.resumes >= self.downloader.config.max_resumes {
                return Err(broken);
            }
            self.resumes += 1;
            self.downloader.pause(self.resumes).await;
            let request = resume::request(self.request, self.received, &etag);
            let (client, gate) = (self.downloader.client, self.downloader.gate);
            match follow(client, request, gate, self.downloader.cancel).await {
                Ok(answer) => return self.go_on(answer, &etag, broken).await,
                Err(failure) => broken = failure,
            }
        }
    }

    async fn go_on(
        &mut self,
        mut answer: Answer,
        etag: &HeaderValue,
        broken: Failure,
    ) -> Result<(), Failure> {
        let ads = &self.downloader.config.ads;
        let is_steady = resume::is_steady(&answer.hops, &answer.final_url, ads);
        self.hops.append(&mut answer.hops);
        let offered = Offered {
            status: answer.status,
            headers: &answer.headers,
            length: answer.body.expected(),
            is_coded: answer.coding.is_some(),
        };
        let continuation = match is_steady {
            true => resume::judge(offered, etag, self.received, self.total),
            // The same way led elsewhere now.
            false => Continuation::Other,
        };
        self.answer = answer;
        if let Continuation::Follows { whole } = continuation {
            self.total = Some(whole);
            return Ok(());
        }
        self.close().await;
        match continuation {
            Continuation::Complete => {
                self.total = Some(self.received);
                self.is_over = true;
                Ok(())
            }
            _ => Err(broken),
        }
    }

    fn too_large(&self, length: u64) -> Failure {
        let cap = self.downloader.config.max_bytes;
        let problem = format!("{length} bytes are over the cap of {cap} bytes");
        self.failure(self.endless(), &problem)
    }

    fn too_long(&self) -> Failure {
        let problem = format!(
            "not finished within {:?}",
            self.downloader.config.max_duration
        );
        self.failure(self.endless(), &problem)
    }

    /// What a body is that goes on and on: a file that is too large, or, without a length, no file.
    fn endless(&self) -> FailureClass {
        match self.total {
            Some(_) => FailureClass::TooLarge,
            None => FailureClass::LiveStream,
        }
    }
}

/// Whether the headers are those of a radio station's server. With a length it is a file all the same.
fn is_broadcast(headers: &HeaderMap) -> bool {
    const STATION: [&str; 5] = ["icy-name", "icy-br", "icy-genre", "icy-metaint", "icy-pub"];
    STATION.iter().any(|name| headers.contains_key(*name))
}
