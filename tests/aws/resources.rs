//! What the stand-in makes is what the adapters ask for, and containers run podrun.

use podrun::checkpoint::DynamoCheckpoints;
use podrun::domain::StageName;
use podrun::politeness::dynamodb::HOSTS_TABLE;
use podrun::runtime::aws::dynamodb::TableDefinition;
use podrun::runtime::batch::{AwsBatchRunner, BatchConfig, JobRunner, JobSpec};
use serde_json::{Value, json};

use crate::stand_in::StandIn;

const LISTED: &str = include_str!("../../tools/aws_local/resources.json");

#[test]
fn the_tables_are_as_their_adapters_define_them() {
    let listed: Value = serde_json::from_str(LISTED).unwrap();
    let tables = listed["tables"].as_array().unwrap();
    let definitions = [
        ("podinsights-status", DynamoCheckpoints::TABLE),
        ("podinsights-hosts", HOSTS_TABLE),
    ];
    assert_eq!(tables.len(), definitions.len());
    for (name, definition) in definitions {
        let table = tables.iter().find(|table| table["TableName"] == name);
        let table = table.unwrap_or_else(|| panic!("{name} is not listed"));
        assert_eq!(
            table["KeySchema"],
            schema(definition.partition_key, definition.sort_key)
        );
        let indexes = table["GlobalSecondaryIndexes"].as_array();
        assert_eq!(
            indexes.map_or(&[][..], Vec::as_slice),
            indexes_of(&definition)
        );
        assert_eq!(table["BillingMode"], "PAY_PER_REQUEST");
        assert!(
            definition.time_to_live.is_none(),
            "the list has no place for it yet"
        );
    }
}

fn indexes_of(definition: &TableDefinition) -> Vec<Value> {
    let index = |index: &podrun::runtime::aws::dynamodb::IndexDefinition| {
        json!({
            "IndexName": index.name,
            "KeySchema": schema(index.partition_key, Some(index.sort_key)),
            "Projection": {"ProjectionType": "ALL"},
        })
    };
    definition.indexes.iter().map(index).collect()
}

fn schema(partition_key: &str, sort_key: Option<&str>) -> Value {
    let key = |name: &str, kind: &str| json!({"AttributeName": name, "KeyType": kind});
    let sort_key = sort_key.map(|name| key(name, "RANGE"));
    std::iter::once(key(partition_key, "HASH"))
        .chain(sort_key)
        .collect()
}

#[test]
fn workers_find_their_queues_and_definitions() {
    let listed: Value = serde_json::from_str(LISTED).unwrap();
    let names = |kind: &str, field: &str| -> Vec<_> {
        let all = listed[kind].as_array().unwrap().iter();
        all.map(|each| each[field].as_str().unwrap().to_owned())
            .collect()
    };
    let config = BatchConfig::default();
    let queues = [config.fetch.queue, config.transcribe.queue];
    assert_eq!(names("job_queues", "jobQueueName"), queues);
    let definitions = [config.fetch.definition, config.transcribe.definition];
    assert_eq!(names("job_definitions", "jobDefinitionName"), definitions);
    // How often a worker is started anew is said by the submission and nowhere else.
    let definitions = listed["job_definitions"].as_array().unwrap();
    assert!(
        definitions
            .iter()
            .all(|each| each.get("retryStrategy").is_none())
    );
}

#[tokio::test]
async fn containers_run_podrun_and_stores_outlive_a_restart() {
    let mut stand_in = StandIn::full(&["--persist"]);
    let clients = stand_in.clients().await;
    let put = clients
        .s3
        .put_object()
        .bucket("pod-insights-raw")
        .key("key");
    put.body(b"kept".to_vec().into()).send().await.unwrap();

    let runner = AwsBatchRunner::new(clients.batch.clone(), BatchConfig::default());
    let job = JobSpec {
        arguments: vec!["--version".to_owned()],
        ..JobSpec::new("version", StageName::Fetch, 1)
    };
    let job = runner.submit(job).await.unwrap();
    let ended = loop {
        let status = runner.describe(&job).await.unwrap();
        if status.has_ended() {
            break status;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    let said = std::fs::read_to_string(stand_in.jobs().join(format!("{}/1.log", job.0))).unwrap();
    assert_eq!(ended.succeeded, 1, "{said}");
    assert!(said.starts_with("podrun "), "{said}");

    stand_in.restart("ministack");
    let get = clients
        .s3
        .get_object()
        .bucket("pod-insights-raw")
        .key("key");
    let kept = get.send().await.unwrap().body.collect().await.unwrap();
    assert_eq!(kept.into_bytes(), "kept");
}
