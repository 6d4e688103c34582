use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use strata_query::{Format, QueryError};

use crate::cluster::{Memory, TOPIC, engine, numbers, query};

async fn printed(format: Format, sql: &str) -> String {
    let memory = Memory::new();
    memory.produce(0, 6);
    let engine = engine(&memory, true, false).expect("a source");
    let mut out = Vec::new();
    format.write(&mut out, engine.sql(sql).await.expect("a result")).await.expect("printed");
    String::from_utf8(out).expect("text")
}

#[tokio::test]
async fn keys_and_values_are_text_where_they_can_be() {
    let memory = Memory::new();
    memory.produce(0, 10);
    memory.archive(0).await;
    memory.produce(0, 10);
    let engine = engine(&memory, true, true).expect("sources");
    let sql = format!("SELECT key, value, _value FROM \"{TOPIC}\" ORDER BY _offset");
    let rows = query(&engine, &sql).await.expect("rows");
    assert_eq!(rows.schema().field(0).data_type(), &DataType::Utf8);
    let values = rows.column(1).as_string::<i32>();
    assert_eq!((values.value(0), values.value(16)), ("value 0", "value 16"));
    assert!(values.is_null(2) && !rows.column(2).is_null(2), "its bytes are no UTF-8");
    assert!(values.is_null(4) && rows.column(2).is_null(4), "a tombstone");
    assert_eq!(numbers(&engine, &format!("SELECT count(*) FROM \"{TOPIC}\" WHERE key = 'key 3'")).await, [3]);
}

#[tokio::test]
async fn aggregates_limits_and_times_work() {
    let memory = Memory::new();
    for _ in 0..4 {
        memory.produce(0, 25);
    }
    memory.archive(0).await;
    memory.produce(0, 20);
    let engine = engine(&memory, true, true).expect("sources");
    let by_key = format!("SELECT count(*) FROM \"{TOPIC}\" GROUP BY key ORDER BY key");
    assert_eq!(numbers(&engine, &by_key).await, [18, 17, 17, 17, 17, 17, 17]);
    assert_eq!(numbers(&engine, &format!("SELECT _offset FROM \"{TOPIC}\" LIMIT 7")).await.len(), 7);
    let late = format!("SELECT count(*) FROM \"{TOPIC}\" WHERE _timestamp >= '1970-01-01T00:01:50Z'");
    assert_eq!(numbers(&engine, &late).await, [10]);
    let headers = format!("SELECT count(*) FROM \"{TOPIC}\" WHERE cardinality(_headers) = 1");
    assert_eq!(numbers(&engine, &headers).await, [90]);
}

#[tokio::test]
async fn json_values_are_looked_into() {
    let memory = Memory::new();
    memory.produce_text(0, &[r#"{"a": {"b": 1}}"#, r#"{"a": {"b": 2}}"#, "no json"]);
    memory.archive(0).await;
    memory.produce_text(0, &[r#"{"a": {"b": 2}}"#]);
    let engine = engine(&memory, true, true).expect("sources");
    let sql = format!(
        "SELECT count(*) FROM \"{TOPIC}\" GROUP BY json_get(value, 'a.b') ORDER BY json_get(value, 'a.b')"
    );
    assert_eq!(numbers(&engine, &sql).await, [1, 2, 1]);
}

#[tokio::test]
async fn an_unknown_topic_is_named_with_those_that_there_are() {
    let engine = engine(&Memory::new(), true, false).expect("a source");
    let error = query(&engine, "SELECT * FROM nowhere").await.expect_err("there is none");
    assert!(matches!(&error, QueryError::UnknownTopic { name, .. } if name == "nowhere"), "{error}");
    assert_eq!(error.to_string(), format!("there is no topic 'nowhere'; there are: Cased, {TOPIC}"));
    let error = query(&engine, "SELECT * FROM Cased").await.expect_err("its case is folded");
    assert!(error.to_string().contains("quote the name"), "{error}");
}

#[tokio::test]
async fn statements_that_do_more_than_read_are_refused() {
    let memory = Memory::new();
    memory.produce(0, 1);
    let engine = engine(&memory, true, false).expect("a source");
    for sql in [
        format!("CREATE TABLE t AS SELECT * FROM \"{TOPIC}\""),
        format!("COPY (SELECT * FROM \"{TOPIC}\") TO '/tmp/x.csv'"),
        format!("INSERT INTO \"{TOPIC}\" SELECT * FROM \"{TOPIC}\""),
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'".to_owned(),
        format!("EXPLAIN ANALYZE INSERT INTO \"{TOPIC}\" SELECT * FROM \"{TOPIC}\""),
        "SET datafusion.execution.batch_size = 1".to_owned(),
    ] {
        assert!(matches!(engine.sql(&sql).await, Err(QueryError::NotReadOnly)), "{sql}");
    }
}

#[tokio::test]
async fn topics_are_listed() {
    let memory = Memory::new();
    memory.produce(0, 1);
    let engine = engine(&memory, true, false).expect("a source");
    let rows =
        query(&engine, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'topics'");
    let rows = rows.await.expect("rows");
    let names: Vec<_> = rows.column(0).as_string::<i32>().iter().flatten().map(str::to_owned).collect();
    assert!(names.contains(&TOPIC.to_owned()), "{names:?}");
}

#[tokio::test]
async fn rows_are_printed_as_a_table() {
    let sql = format!("SELECT _offset, key, value FROM \"{TOPIC}\" WHERE _offset < 2 ORDER BY _offset");
    let expected = "\
+---------+-------+---------+
| _offset | key   | value   |
+---------+-------+---------+
| 0       | key 0 | value 0 |
| 1       | key 1 | value 1 |
+---------+-------+---------+
";
    assert_eq!(printed(Format::Table, &sql).await, expected);
}

#[tokio::test]
async fn rows_are_printed_as_json_lines() {
    let sql =
        format!("SELECT _offset, value, _value FROM \"{TOPIC}\" WHERE _offset IN (2, 4) ORDER BY _offset");
    let expected = "\
{\"_offset\":2,\"value\":null,\"_value\":\"ff02\"}
{\"_offset\":4,\"value\":null,\"_value\":null}
";
    assert_eq!(printed(Format::Json, &sql).await, expected);
}

#[tokio::test]
async fn rows_are_printed_as_csv_with_nested_values_as_text() {
    let sql = format!("SELECT _offset, value, _headers FROM \"{TOPIC}\" WHERE _offset < 2 ORDER BY _offset");
    let expected = "_offset,value,_headers\n0,value 0,[]\n1,value 1,\"[{key: h, value: }]\"\n";
    assert_eq!(printed(Format::Csv, &sql).await, expected);
    let none = format!("SELECT _offset FROM \"{TOPIC}\" WHERE _offset > 1000");
    assert_eq!(printed(Format::Csv, &none).await, "_offset\n");
}
