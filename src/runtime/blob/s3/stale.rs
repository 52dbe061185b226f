//! Uploads whose writer is gone.

use std::time::Duration;

use aws_sdk_s3::types::MultipartUpload;
use chrono::{DateTime, TimeDelta, Utc};

use super::bucket::Bucket;
use super::problem::Problem;
use crate::runtime::blob::BlobError;

/// Answers of the service that one call looks through: a million uploads.
const MOST_PAGES: usize = 1000;

impl Bucket {
    pub(super) async fn abort_stale_uploads(
        &self,
        age: Duration,
        now: DateTime<Utc>,
    ) -> Result<u64, BlobError> {
        let age = TimeDelta::from_std(age).unwrap_or(TimeDelta::MAX);
        let Some(begun_before) = now.checked_sub_signed(age) else {
            return Ok(0);
        };
        self.abort_uploads("", |upload| is_stale(upload, begun_before))
            .await
    }

    /// Aborts those of the uploads below `prefix` that are dead; returns how many there were.
    pub(super) async fn abort_uploads(
        &self,
        prefix: &str,
        is_dead: impl Fn(&MultipartUpload) -> bool + Send + Sync,
    ) -> Result<u64, BlobError> {
        let mut aborted = 0;
        let mut position = (None, None);
        for _ in 0..MOST_PAGES {
            let (key, upload) = position;
            let call = self.client.list_multipart_uploads().bucket(self.name());
            let call = call.set_key_marker(key).set_upload_id_marker(upload);
            let call = call.set_prefix((!prefix.is_empty()).then(|| prefix.to_owned()));
            let page = call.send().await.map_err(|error| {
                self.error(prefix, Problem::new("ListMultipartUploads", &error))
            })?;
            for upload in page.uploads.unwrap_or_default() {
                if is_dead(&upload) {
                    aborted += u64::from(self.abort_found(upload).await?);
                }
            }
            position = (page.next_key_marker, page.next_upload_id_marker);
            if page.is_truncated != Some(true) || position.0.is_none() {
                break;
            }
        }
        Ok(aborted)
    }

    async fn abort_found(&self, upload: MultipartUpload) -> Result<bool, BlobError> {
        let (Some(key), Some(id)) = (upload.key, upload.upload_id) else {
            return Ok(false);
        };
        let aborted = self.abort_upload(&key, &id).await;
        aborted.map_err(|problem| self.error(&key, problem))
    }

    /// Whether there was such an upload.
    pub(super) async fn abort_upload(&self, key: &str, id: &str) -> Result<bool, Problem> {
        let call = self.client.abort_multipart_upload().bucket(self.name());
        let aborted = call.key(key).upload_id(id).send().await;
        match aborted.map_err(|error| Problem::new("AbortMultipartUpload", &error)) {
            Ok(_) => Ok(true),
            Err(problem) if problem.is_no_upload() => Ok(false),
            Err(problem) => Err(problem),
        }
    }
}

fn is_stale(upload: &MultipartUpload, begun_before: DateTime<Utc>) -> bool {
    let begun = upload.initiated.as_ref().map(|at| at.secs());
    begun.is_some_and(|begun| begun < begun_before.timestamp())
}
