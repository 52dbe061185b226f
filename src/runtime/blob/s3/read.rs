//! Ranged reads.

use std::time::Duration;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use bytes::{Bytes, BytesMut};

use super::bucket::Bucket;
use super::problem::Problem;
use crate::runtime::blob::{BlobError, BlobErrorKind};
use crate::runtime::retry::RetryPolicy;

/// A body that breaks off is worth a second try at once; the SDK repeats only calls that were not
/// answered.
const BROKEN_BODY: RetryPolicy = RetryPolicy {
    max_attempts: 4,
    base: Duration::from_millis(200),
    cap: Duration::from_secs(5),
};

/// Why a read did not succeed.
enum Failure {
    /// Another try may do better.
    Body(String),
    /// It will not.
    Final(BlobError),
}

impl Bucket {
    pub(super) async fn read_range(
        &self,
        key: &str,
        offset: u64,
        length: usize,
    ) -> Result<Bytes, BlobError> {
        // The largest offset that the API can name; no object reaches it.
        let most = i64::MAX as u64;
        if length == 0 || offset > most {
            return match self.look(key).await? {
                Some(_) => Ok(Bytes::new()),
                None => Err(BlobError::new(self.location(key), BlobErrorKind::NotFound)),
            };
        }
        let last = offset.saturating_add(length as u64 - 1).min(most);
        let mut failures = 0;
        loop {
            let problem = match self.read_once(key, offset, last).await {
                Ok(bytes) => return Ok(bytes),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Body(problem)) => problem,
            };
            failures += 1;
            let Some(pause) = BROKEN_BODY.jittered(failures) else {
                let error = BlobError::new(self.location(key), BlobErrorKind::Other);
                return Err(error.because(format!("GetObject: {problem}")));
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn read_once(&self, key: &str, first: u64, last: u64) -> Result<Bytes, Failure> {
        let call = self.client.get_object().bucket(self.name()).key(key);
        let answer = match call.range(format!("bytes={first}-{last}")).send().await {
            Ok(answer) => answer,
            Err(error) => {
                let problem = Problem::new("GetObject", &error);
                return match problem.is_past_the_end() {
                    true => Ok(Bytes::new()),
                    false => Err(Failure::Final(self.error(key, problem))),
                };
            }
        };
        collect(answer, first, last).await.map_err(Failure::Body)
    }
}

/// The bytes from `first` to `last`, both included, or to the object's end: never more than that in
/// memory, whatever comes, and never fewer than were announced.
async fn collect(answer: GetObjectOutput, first: u64, last: u64) -> Result<Bytes, String> {
    let (begin, total) = match &answer.content_range {
        Some(range) => parse_range(range).ok_or_else(|| format!("odd Content-Range {range:?}"))?,
        // The whole object.
        None => (
            0,
            answer
                .content_length
                .and_then(|size| u64::try_from(size).ok()),
        ),
    };
    if begin != first {
        return Err(format!(
            "asked for bytes from {first}, got those from {begin}"
        ));
    }
    let wanted = last - first + 1;
    let wanted = total.map_or(wanted, |total| wanted.min(total.saturating_sub(first)));
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    let mut body = answer.body;
    let mut bytes = BytesMut::new();
    while bytes.len() < wanted
        && let Some(piece) = body.next().await
    {
        let piece = piece.map_err(|error| format!("the body broke off: {error}"))?;
        let room = wanted - bytes.len();
        bytes.extend_from_slice(&piece[..piece.len().min(room)]);
    }
    if total.is_some() && bytes.len() < wanted {
        return Err(format!(
            "the body ended after {} of {wanted} bytes",
            bytes.len()
        ));
    }
    Ok(bytes.freeze())
}

/// First byte and, where known, size of the whole object: `bytes 5-9/10`.
fn parse_range(range: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = range.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    let total = match total {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    Some((first.parse().ok()?, total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_s3::primitives::ByteStream;

    fn answer(range: Option<&str>, body: &'static [u8]) -> GetObjectOutput {
        GetObjectOutput::builder()
            .set_content_range(range.map(str::to_owned))
            .content_length(body.len() as i64)
            .body(ByteStream::from_static(body))
            .build()
    }

    #[tokio::test]
    async fn an_answer_is_what_was_asked_for_or_an_error() {
        let whole = collect(answer(Some("bytes 2-4/9"), b"cde"), 2, 4).await;
        assert_eq!(whole.unwrap(), "cde");
        let end = collect(answer(Some("bytes 7-8/9"), b"hi"), 7, 100).await;
        assert_eq!(end.unwrap(), "hi");
        let ignored = collect(answer(None, b"abcdefghi"), 0, 3).await;
        assert_eq!(ignored.unwrap(), "abcd");
        for (range, body, first) in [
            (None, &b"abcdefghi"[..], 2),
            (Some("bytes 3-5/9"), b"def", 2),
            (Some("bytes 2-4/9"), b"cd", 2),
            (Some("pages 2-4/9"), b"cde", 2),
        ] {
            let wrong = collect(answer(range, body), first, 4).await;
            assert!(wrong.is_err(), "{range:?}: {wrong:?}");
        }
    }

    #[test]
    fn ranges_are_read() {
        assert_eq!(parse_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(parse_range("bytes 5-9/*"), Some((5, None)));
        for wrong in ["", "bytes */10", "bytes 5/10", "bytes 5-9", "bytes -1-9/10"] {
            assert_eq!(parse_range(wrong), None, "{wrong}");
        }
    }
}
