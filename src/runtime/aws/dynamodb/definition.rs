//! What an adapter needs its table to be.

/// A table's keys and indexes. All key attributes are texts (`S`), billing is on demand, and there is
/// no time to live unless it says so: what describes live work must not be deleted by a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableDefinition {
    /// The partition key's attribute.
    pub partition_key: &'static str,
    /// The sort key's attribute, where there is one.
    pub sort_key: Option<&'static str>,
    /// Global secondary indexes.
    pub indexes: &'static [IndexDefinition],
    /// The attribute that holds the second after which an item may be deleted, where there is one.
    pub time_to_live: Option<&'static str>,
}

/// A global secondary index, over all attributes (projection `ALL`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexDefinition {
    /// Its name.
    pub name: &'static str,
    /// The partition key's attribute.
    pub partition_key: &'static str,
    /// The sort key's attribute.
    pub sort_key: &'static str,
}

impl TableDefinition {
    /// The attributes of an item's key.
    pub fn key(&self) -> Vec<&'static str> {
        std::iter::once(self.partition_key)
            .chain(self.sort_key)
            .collect()
    }
}

#[cfg(any(test, feature = "testkit"))]
mod create {
    use std::collections::BTreeSet;

    use aws_sdk_dynamodb::Client;
    use aws_sdk_dynamodb::types::{
        AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType,
        Projection, ProjectionType, ScalarAttributeType,
    };

    use super::{IndexDefinition, TableDefinition};
    use crate::runtime::aws::AwsError;

    impl TableDefinition {
        /// Creates the table on a stand-in. In an account Terraform does.
        ///
        /// # Errors
        ///
        /// The service's refusal in words.
        ///
        /// # Panics
        /// Where the definition lacks a name.
        pub async fn create(&self, client: &Client, name: &str) -> Result<(), AwsError> {
            let indexes = self.indexes.iter().map(index).collect::<Vec<_>>();
            let create = client
                .create_table()
                .table_name(name)
                .billing_mode(BillingMode::PayPerRequest)
                .set_attribute_definitions(Some(self.attributes()))
                .set_key_schema(Some(schema(self.partition_key, self.sort_key)))
                .set_global_secondary_indexes((!indexes.is_empty()).then_some(indexes));
            let created = create.send().await;
            created.map_err(|error| AwsError::new("CreateTable", &error))?;
            Ok(())
        }

        fn attributes(&self) -> Vec<AttributeDefinition> {
            let of_indexes = self.indexes.iter();
            let of_indexes = of_indexes.flat_map(|index| [index.partition_key, index.sort_key]);
            let names: BTreeSet<_> = self.key().into_iter().chain(of_indexes).collect();
            let attribute = |name| {
                AttributeDefinition::builder()
                    .attribute_name(name)
                    .attribute_type(ScalarAttributeType::S)
                    .build()
                    .expect("name and type are set")
            };
            names.into_iter().map(attribute).collect()
        }
    }

    fn index(index: &IndexDefinition) -> GlobalSecondaryIndex {
        let all = Projection::builder().projection_type(ProjectionType::All);
        GlobalSecondaryIndex::builder()
            .index_name(index.name)
            .set_key_schema(Some(schema(index.partition_key, Some(index.sort_key))))
            .projection(all.build())
            .build()
            .expect("name, keys and projection are set")
    }

    fn schema(partition_key: &str, sort_key: Option<&str>) -> Vec<KeySchemaElement> {
        let element = |(name, kind)| {
            KeySchemaElement::builder()
                .attribute_name(name)
                .key_type(kind)
                .build()
                .expect("name and kind are set")
        };
        let sort_key = sort_key.map(|name| (name, KeyType::Range));
        std::iter::once((partition_key, KeyType::Hash))
            .chain(sort_key)
            .map(element)
            .collect()
    }
}
