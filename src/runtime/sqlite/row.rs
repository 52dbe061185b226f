//! Reading rows that may hold anything.

use chrono::{DateTime, Utc};
use rusqlite::Row;
use rusqlite::types::ValueRef;

use super::error::StatementError;

/// Microseconds since 1970: every time in the file. Whole range of [`DateTime`], finer parts cut.
pub fn to_micros(at: DateTime<Utc>) -> i64 {
    at.timestamp_micros()
}

/// The inverse of [`to_micros`]; `None` where the number is no time.
pub fn from_micros(micros: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros)
}

/// The time in `column`, where there is one.
pub fn read_time(
    row: &Row<'_>,
    column: &str,
) -> Result<Option<DateTime<Utc>>, Box<dyn std::error::Error + Send + Sync>> {
    let Some(micros) = row.get::<_, Option<i64>>(column)? else {
        return Ok(None);
    };
    match from_micros(micros) {
        Some(at) => Ok(Some(at)),
        None => Err(format!("{column} {micros} is no time").into()),
    }
}

/// The number in `column`, which no podrun writes negative.
pub fn read_count(
    row: &Row<'_>,
    column: &str,
) -> Result<u64, Box<dyn std::error::Error + Send + Sync>> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| format!("{column} {number} is negative").into())
}

/// Takes a row apart with `read`; what fails there is reported with the row's `key` columns.
pub fn read_row<T>(
    table: &'static str,
    key: &[&str],
    row: &Row<'_>,
    read: impl FnOnce(&Row<'_>) -> Result<T, Box<dyn std::error::Error + Send + Sync>>,
) -> Result<T, StatementError> {
    read(row).map_err(|problem| StatementError::UnreadableRow {
        table,
        row: described(row, key),
        problem: problem.to_string(),
    })
}

/// The key columns as text, whatever they hold, short enough for a message.
fn described(row: &Row<'_>, key: &[&str]) -> String {
    let shown = |column: &&str| match row.get_ref(*column) {
        Ok(ValueRef::Text(text)) => String::from_utf8_lossy(text).chars().take(80).collect(),
        Ok(ValueRef::Integer(number)) => number.to_string(),
        Ok(ValueRef::Real(number)) => number.to_string(),
        Ok(ValueRef::Null) => "(null)".to_owned(),
        Ok(ValueRef::Blob(bytes)) => format!("({} bytes)", bytes.len()),
        Err(error) => format!("({error})"),
    };
    format!("{:?}", key.iter().map(shown).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;

    #[test]
    fn every_time_survives_to_the_microsecond() {
        for at in [
            DateTime::<Utc>::MIN_UTC,
            DateTime::<Utc>::MAX_UTC,
            Utc::now(),
        ] {
            let back = from_micros(to_micros(at)).unwrap();
            assert!(
                (at - back).num_microseconds().unwrap() == 0,
                "{at} became {back}"
            );
        }
        assert_eq!(from_micros(i64::MAX), None);
    }

    #[test]
    fn an_unreadable_row_is_named_whatever_its_key_holds() {
        let connection = Connection::open_in_memory().unwrap();
        let error = connection
            .prepare(
                "SELECT CAST(x'61ff' AS TEXT) AS name, 7 AS number, NULL AS blank, x'00' AS bytes",
            )
            .unwrap()
            .query_one([], |row| {
                let key = ["name", "number", "blank", "bytes", "absent"];
                Ok(read_row("things", &key, row, |row| {
                    Ok(row.get::<_, String>("name")?)
                }))
            })
            .unwrap()
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("things") && error.contains("a\u{fffd} 7 (null) (1 bytes)"),
            "{error}"
        );
    }
}
