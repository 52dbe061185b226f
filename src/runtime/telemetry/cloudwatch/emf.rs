//! Lines in CloudWatch's Embedded Metric Format
//! (*Specification: Embedded metric format*, CloudWatch User Guide).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::runtime::telemetry::metric::Datum;

/// Values of one metric in one line; the format takes no more.
const MOST_VALUES: usize = 100;

/// One line for all `data` of one moment and dimension's value, each with a line feed. The metrics have
/// no dimensions; the datum's own is a property, as are `properties`.
///
/// A line is far below the format's 256 KB: it has as many metrics as there are names, a hundred values
/// for each at most, and the slug or host.
pub(super) fn lines(
    namespace: &str,
    properties: &BTreeMap<String, String>,
    data: &[&Datum],
) -> String {
    let mut groups: BTreeMap<_, Vec<&Datum>> = BTreeMap::new();
    for datum in data {
        let key = (datum.at, datum.dimension.0, datum.dimension.1.as_str());
        groups.entry(key).or_default().push(datum);
    }
    let chunks = groups.values().flat_map(|group| group.chunks(MOST_VALUES));
    let lines = chunks.map(|data| line(namespace, properties, data));
    lines.map(|line| format!("{line}\n")).collect()
}

/// `data` have one moment and one dimension.
fn line(namespace: &str, properties: &BTreeMap<String, String>, data: &[&Datum]) -> Value {
    let mut root = Map::new();
    for (name, value) in properties {
        root.insert(name.clone(), json!(value));
    }
    let mut metrics = BTreeMap::new();
    let mut values: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    let mut at = 0;
    for datum in data {
        let (dimension, value) = &datum.dimension;
        root.insert((*dimension).to_owned(), json!(value));
        metrics.insert(datum.name, datum.unit.as_str());
        values.entry(datum.name).or_default().push(datum.value);
        at = datum.at.timestamp_millis();
    }
    for (name, values) in values {
        let value = match values[..] {
            [value] => json!(value),
            _ => json!(values),
        };
        root.insert(name.to_owned(), value);
    }
    let metrics = metrics.into_iter();
    let metrics: Vec<_> = metrics
        .map(|(name, unit)| json!({"Name": name, "Unit": unit}))
        .collect();
    let directive = json!({"Namespace": namespace, "Dimensions": [[]], "Metrics": metrics});
    let metadata = json!({"Timestamp": at, "CloudWatchMetrics": [directive]});
    root.insert("_aws".to_owned(), metadata);
    Value::Object(root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::telemetry::conformance::{answer, hour};
    use crate::runtime::telemetry::metric::{DOWNLOAD_SUCCESS_RATE, Unit};

    fn properties() -> BTreeMap<String, String> {
        [("run_id", "r\"1\n"), ("PerHost429", "not a number")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    fn written(data: &[Datum]) -> Vec<Value> {
        let data: Vec<_> = data.iter().collect();
        let lines = lines("PodInsights", &properties(), &data);
        assert!(lines.ends_with('\n'));
        let parsed = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        parsed.inspect(assert_valid).collect()
    }

    /// The format's rules, as far as this program could break them.
    fn assert_valid(line: &Value) {
        assert!(line.to_string().len() <= 256 * 1024);
        let metadata = &line["_aws"];
        assert!(metadata["Timestamp"].is_u64());
        let directives = metadata["CloudWatchMetrics"].as_array().unwrap();
        for directive in directives {
            let namespace = directive["Namespace"].as_str().unwrap();
            assert!(!namespace.is_empty() && namespace.len() <= 1024);
            for dimensions in directive["Dimensions"].as_array().unwrap() {
                let dimensions = dimensions.as_array().unwrap();
                assert!(dimensions.len() <= 30);
                for target in dimensions {
                    assert!(line[target.as_str().unwrap()].is_string());
                }
            }
            let metrics = directive["Metrics"].as_array().unwrap();
            assert!((1..=100).contains(&metrics.len()));
            for metric in metrics {
                let target = &line[metric["Name"].as_str().unwrap()];
                let values = target.as_array().map_or(vec![target.clone()], Clone::clone);
                assert!((1..=100).contains(&values.len()));
                assert!(values.iter().all(Value::is_number), "{target}");
                assert!(UNITS.contains(&metric["Unit"].as_str().unwrap()));
            }
        }
    }

    const UNITS: [&str; 5] = ["None", "Count", "Gigabytes", "Megabytes", "Seconds"];

    #[test]
    fn a_line_says_the_metric_without_and_the_property_with_the_host() {
        let line = written(&[answer("a.example", 1.0, hour())]).remove(0);
        let expected = json!({
            "_aws": {
                "Timestamp": hour().timestamp_millis(),
                "CloudWatchMetrics": [{
                    "Namespace": "PodInsights",
                    "Dimensions": [[]],
                    "Metrics": [{"Name": "PerHost429", "Unit": "Count"}],
                }],
            },
            "PerHost429": 1.0,
            "hostname": "a.example",
            "run_id": "r\"1\n",
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn what_belongs_together_shares_a_line_up_to_its_limits() {
        let slug = |value| Datum {
            name: DOWNLOAD_SUCCESS_RATE,
            dimension: ("feed_slug", "a".to_owned()),
            value,
            unit: Unit::None,
            at: hour(),
        };
        let mut data = vec![answer("a.example", 0.5, hour()); 250];
        data.extend([slug(1.0), answer("b.example", 1.0, hour())]);
        let lines = written(&data);
        assert_eq!(lines.len(), 3 + 1 + 1);
        let count = |line: &Value| line["PerHost429"].as_array().map_or(1, Vec::len);
        let hosts = lines.iter().filter(|line| line["hostname"] == "a.example");
        assert_eq!(hosts.map(count).collect::<Vec<_>>(), [100, 100, 50]);
        assert!(lines.iter().any(|line| line["DownloadSuccessRate"] == 1.0));
    }
}
