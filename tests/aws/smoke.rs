//! One call a service: the wire formats of this SDK are understood.

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{MetricDatum, Statistic};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use std::time::{Duration, SystemTime};

use crate::stand_in::StandIn;

#[tokio::test]
async fn every_service_answers() {
    let stand_in = StandIn::start();
    let clients = stand_in.clients().await;

    clients
        .s3
        .create_bucket()
        .bucket("smoke")
        .send()
        .await
        .unwrap();
    let put = clients.s3.put_object().bucket("smoke").key("a/b");
    put.body(b"hello".to_vec().into()).send().await.unwrap();

    let queue = clients.sqs.create_queue().queue_name("smoke");
    let url = queue.send().await.unwrap().queue_url.unwrap();
    let message = clients.sqs.send_message().queue_url(&url);
    message.message_body("hello").send().await.unwrap();
    let received = clients.sqs.receive_message().queue_url(&url);
    assert_eq!(received.send().await.unwrap().messages().len(), 1);

    let key = KeySchemaElement::builder()
        .attribute_name("pk")
        .key_type(KeyType::Hash);
    let attribute = AttributeDefinition::builder()
        .attribute_name("pk")
        .attribute_type(ScalarAttributeType::S);
    let table = clients.dynamodb.create_table().table_name("smoke");
    table
        .key_schema(key.build().unwrap())
        .attribute_definitions(attribute.build().unwrap())
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await
        .unwrap();

    // Over 10 KiB, so that the SDK compresses it.
    let metrics = (0..400).map(|number| {
        MetricDatum::builder()
            .metric_name(format!("Metric{number}"))
            .value(f64::from(number))
            .build()
    });
    let put = clients.cloudwatch.put_metric_data().namespace("Smoke");
    let put = put.set_metric_data(Some(metrics.collect()));
    put.send().await.unwrap();
    let now = SystemTime::now();
    let read = clients.cloudwatch.get_metric_statistics();
    let read = read
        .namespace("Smoke")
        .metric_name("Metric7")
        .start_time(DateTime::from(now - Duration::from_secs(600)))
        .end_time(DateTime::from(now + Duration::from_secs(600)))
        .period(3600)
        .statistics(Statistic::Sum);
    let sums: Vec<_> = read.send().await.unwrap().datapoints.unwrap_or_default();
    let sum: f64 = sums.iter().filter_map(|point| point.sum).sum();
    assert!((sum - 7.0).abs() < 1e-9, "{sums:?}");
}
