//! What a job tells its workers, and the limits of it.

use aws_sdk_batch::types::{ContainerOverrides, KeyValuePair};
use serde_json::json;

use crate::runtime::batch::{JobError, JobSpec};

/// Batch counts the characters of the overrides as JSON.
const MAX_OVERRIDES: usize = 8_192;
const MAX_NAME: usize = 128;

/// Refuses what Batch would refuse, in words that help.
pub(super) fn check(job: &JobSpec) -> Result<(), JobError> {
    let invalid = |reason: String| {
        Err(JobError::Invalid {
            name: job.name.clone(),
            reason,
        })
    };
    if !is_name(&job.name) {
        return invalid(format!(
            "a name is 1 to {MAX_NAME} letters, digits, '-' and '_', beginning with a letter or digit"
        ));
    }
    if let Some(name) = job.environment.keys().find(|name| is_reserved(name)) {
        return invalid(format!(
            "variables of the name AWS_BATCH* are Batch's own: {name}"
        ));
    }
    let length = length(job);
    if length > MAX_OVERRIDES {
        return invalid(format!(
            "its command and variables take {length} characters, and Batch takes {MAX_OVERRIDES}; \
             hand lists over in a file instead, such as a manifest"
        ));
    }
    Ok(())
}

/// What the container runs instead of its definition's command, and its variables.
pub(super) fn overrides(job: &JobSpec) -> ContainerOverrides {
    let variable =
        |(name, value): (&String, &String)| KeyValuePair::builder().name(name).value(value).build();
    ContainerOverrides::builder()
        .set_command(Some(job.arguments.clone()))
        .set_environment(Some(job.environment.iter().map(variable).collect()))
        .build()
}

fn is_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(inner)
}

fn is_reserved(variable: &str) -> bool {
    variable.starts_with("AWS_BATCH")
}

fn length(job: &JobSpec) -> usize {
    let variable = |(name, value)| json!({"name": name, "value": value});
    let variables: Vec<_> = job.environment.iter().map(variable).collect();
    let overrides = json!({"command": job.arguments, "environment": variables});
    overrides.to_string().chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::StageName;

    fn job() -> JobSpec {
        JobSpec::new("fetch-20261121-231500-ab12cd", StageName::Fetch, 8)
    }

    fn refusal(job: &JobSpec) -> String {
        check(job).unwrap_err().to_string()
    }

    #[test]
    fn a_name_that_batch_refuses_is_refused_here() {
        check(&job()).unwrap();
        let long = "x".repeat(129);
        for name in ["", "-fetch", "fetch 1", "fête", "fetch*", &long] {
            let job = JobSpec {
                name: name.to_owned(),
                ..job()
            };
            assert!(refusal(&job).contains("a name is"), "{name}");
        }
    }

    #[test]
    fn a_command_of_up_to_the_limit_is_taken() {
        let mut job = job();
        job.environment.insert("NAME".to_owned(), String::new());
        let rest = MAX_OVERRIDES - length(&job) - "\"\"".len();
        job.arguments = vec!["é".repeat(rest)];
        check(&job).unwrap();
        job.arguments[0].push('x');
        let refusal = refusal(&job);
        assert!(refusal.contains("8193 characters"), "{refusal}");
        assert!(refusal.contains("manifest"), "{refusal}");
    }

    #[test]
    fn variables_that_batch_sets_are_not_ours_to_set() {
        let mut job = job();
        let name = "AWS_BATCH_JOB_ID".to_owned();
        job.environment.insert(name, "1".to_owned());
        assert!(refusal(&job).contains("AWS_BATCH_JOB_ID"));
    }
}
