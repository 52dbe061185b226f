//! The AWS target.

use crate::exit::Problem;
use crate::settings::Settings;

use super::Stores;

pub(super) async fn open(_: &Settings) -> Result<Stores, Problem> {
    Err(Problem::preflight("not yet"))
}

pub(super) async fn bucket(
    _: &Settings,
    _: &str,
) -> Result<std::sync::Arc<dyn podrun::runtime::blob::BlobStore>, Problem> {
    Err(Problem::preflight("not yet"))
}

/// Whether this is a container of AWS Batch on an instance, whose metadata service tells of its end.
pub(super) fn is_on_ec2() -> bool {
    let is_set = |name, value: &str| std::env::var(name).is_ok_and(|set| set == value);
    is_set("AWS_EXECUTION_ENV", "AWS_ECS_EC2") && !is_set("AWS_EC2_METADATA_DISABLED", "true")
}
