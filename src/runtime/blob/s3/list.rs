//! Keys in byte order.

use aws_sdk_s3::types::EncodingType;
use percent_encoding::percent_decode_str;

use super::bucket::Bucket;
use super::problem::Problem;
use crate::runtime::blob::{BlobError, BlobErrorKind, key};

/// What the service tells in one answer at most.
const PAGE: usize = 1000;

impl Bucket {
    pub(super) async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, BlobError> {
        let mut keys = Vec::new();
        let mut after = after.filter(|after| !after.is_empty()).map(str::to_owned);
        while keys.len() < limit {
            let wanted = (limit - keys.len()).min(PAGE);
            let page = self.page(prefix, after.as_deref(), wanted).await?;
            if !is_ascending(after.as_deref(), &page.keys) {
                let error = BlobError::new(self.location(prefix), BlobErrorKind::Other);
                return Err(error.because("ListObjectsV2: the keys come in no order"));
            }
            let Some(last) = page.keys.last() else {
                break;
            };
            after = Some(last.clone());
            keys.extend(
                page.keys
                    .into_iter()
                    .filter(|key| key::problem_of(key).is_none()),
            );
            if !page.has_more {
                break;
            }
        }
        Ok(keys)
    }

    async fn page(
        &self,
        prefix: &str,
        after: Option<&str>,
        wanted: usize,
    ) -> Result<Page, BlobError> {
        let call = self.client.list_objects_v2().bucket(self.name());
        let call = call
            .prefix(prefix)
            .set_start_after(after.map(str::to_owned));
        // XML cannot spell every key.
        let call = call
            .encoding_type(EncodingType::Url)
            .max_keys(wanted as i32);
        let answer = call.send().await;
        let answer = answer.map_err(|error| {
            let problem = Problem::new("ListObjectsV2", &error);
            self.error(prefix, problem)
        })?;
        let is_encoded = answer.encoding_type == Some(EncodingType::Url);
        let keys = answer.contents.unwrap_or_default().into_iter();
        let keys = keys.filter_map(|object| object.key);
        let decoded: Option<_> = keys.map(|key| decoded(key, is_encoded)).collect();
        let keys = decoded.ok_or_else(|| {
            let error = BlobError::new(self.location(prefix), BlobErrorKind::Other);
            error.because("ListObjectsV2: a key is no UTF-8")
        })?;
        Ok(Page {
            keys,
            has_more: answer.is_truncated == Some(true),
        })
    }
}

struct Page {
    keys: Vec<String>,
    has_more: bool,
}

fn is_ascending(after: Option<&str>, keys: &[String]) -> bool {
    let first = keys.first().map(String::as_str);
    let goes_on = after.is_none_or(|after| first.is_none_or(|first| after < first));
    goes_on && keys.is_sorted_by(|one, next| one < next)
}

/// A key as it was written: a form's encoding, where a plus is a space.
fn decoded(key: String, is_encoded: bool) -> Option<String> {
    if !is_encoded {
        return Some(key);
    }
    let spaced = key.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_decoded_where_they_were_encoded() {
        let key = |key: &str, is_encoded| decoded(key.to_owned(), is_encoded);
        assert_eq!(key("a+b/%2B%25%C3%BC", true).unwrap(), "a b/+%\u{fc}");
        assert_eq!(key("a+b/%2B", false).unwrap(), "a+b/%2B");
        assert_eq!(key("%FF", true), None);
    }

    #[test]
    fn pages_go_on_where_the_last_one_ended() {
        let keys = ["b", "c"].map(str::to_owned);
        assert!(is_ascending(None, &keys) && is_ascending(Some("a"), &keys));
        assert!(is_ascending(Some("z"), &[]));
        assert!(!is_ascending(Some("b"), &keys), "it would never end");
        let unordered = ["c", "b"].map(str::to_owned);
        assert!(!is_ascending(None, &unordered));
    }
}
