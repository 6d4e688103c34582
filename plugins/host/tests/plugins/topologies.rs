use std::collections::BTreeMap;
use std::sync::Mutex;

use strata_plugin_host::records::Header;
use strata_plugin_host::{Operator, StateAccess, StateError, Verdict, World};

use super::*;

/// A store's name, and a key in it.
type Entry = (String, Vec<u8>);

/// Stores in memory, which count their calls.
#[derive(Default)]
struct Stores {
    entries: Mutex<BTreeMap<Entry, Vec<u8>>>,
    calls: Mutex<u32>,
}

impl StateAccess for Stores {
    fn get_many(&self, store: &str, keys: Vec<Vec<u8>>) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        *self.calls.lock().unwrap() += 1;
        let entries = self.entries.lock().unwrap();
        Ok(keys.into_iter().map(|key| entries.get(&(store.to_owned(), key)).cloned()).collect())
    }

    fn put_many(&self, store: &str, changes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<(), StateError> {
        *self.calls.lock().unwrap() += 1;
        let mut entries = self.entries.lock().unwrap();
        for (key, value) in changes {
            let value = value.ok_or_else(|| StateError("nothing is deleted here".into()))?;
            entries.insert((store.to_owned(), key), value);
        }
        Ok(())
    }
}

async fn word_count() -> TopologyInstance {
    let plugin = load(WORD_COUNT, Limits::default()).await;
    let config = config(&[("topics", "lines"), ("output.topic", "counts")]);
    plugin.topology(&Grants::default(), &config).await.expect("an instance")
}

#[tokio::test]
async fn a_plugin_describes_itself_and_its_graph() {
    let plugin = load(WORD_COUNT, Limits::default()).await;
    assert_eq!(plugin.world(), World::Topology);
    assert_eq!(
        (plugin.descriptor().name.as_str(), plugin.descriptor().version.as_str()),
        ("word-count", "0.1.0")
    );
    assert!(plugin.descriptor().config.iter().any(|key| key.name == "topics" && key.required));
    let instance = word_count().await;
    let operators: Vec<_> = instance.graph().nodes.iter().map(|node| node.operator.clone()).collect();
    let expected = [
        Operator::Source { topics: vec!["lines".into()] },
        Operator::Stateless { keeps_key: false },
        Operator::Keyed { stores: vec!["counts".into()] },
        Operator::Stateless { keeps_key: true },
        Operator::Sink { topic: "counts".into() },
    ];
    assert_eq!(operators, expected);
}

#[tokio::test]
async fn keys_headers_timestamps_and_nulls_pass_through_a_plugin() {
    let plugin = load(MISBEHAVE, Limits::default()).await;
    let mut instance = misbehaving(&plugin, "echo").await;
    let header = |value: Option<&'static str>| Header { key: "h".into(), value: value.map(Bytes::from) };
    let record = |offset, timestamp, key: Option<&'static str>, value: Option<&'static [u8]>, headers| {
        Record { offset, timestamp, key: key.map(Bytes::from), value: value.map(Bytes::from_static), headers }
    };
    let sent = [
        record(7, 1_003, Some("k"), Some(b"\xff\0"), vec![header(Some("1")), header(None)]),
        record(9, 990, None, None, vec![]),
        record(10, 1_000, Some(""), Some(b""), vec![]),
    ];
    let (header, section) = of_records("in", 3, &sent).unwrap();
    let outputs = instance.process(1, &header, section, Arc::new(NoState)).await.expect("an answer");
    assert_eq!((outputs.len(), outputs[0].target, outputs[0].count), (1, 2, 3));
    let read = records(outputs[0].records.clone(), 0, header.base_timestamp, 3).map(Result::unwrap);
    let expected = sent.into_iter().zip(0..).map(|(record, offset)| Record { offset, ..record });
    assert!(read.eq(expected));
}

#[tokio::test]
async fn uppercase_changes_values_only() {
    let plugin = load(UPPERCASE, Limits::default()).await;
    let config = config(&[("topics", "a,b"), ("output.topic", "out")]);
    let mut instance = plugin.topology(&Grants::default(), &config).await.unwrap();
    let (header, records) = batch(&[(Some("k"), Some("straße")), (None, None)]);
    // A caller may run it on any thread: the future is Send.
    let outputs = tokio::spawn(async move { instance.process(1, &header, records, Arc::new(NoState)).await });
    let outputs = outputs.await.unwrap().unwrap();
    let records = decode(&outputs[0]);
    assert_eq!((text(records[0].key.as_ref()), text(records[0].value.as_ref())), ("k", "STRASSE"));
    assert_eq!((&records[1].key, &records[1].value), (&None, &None));
}

#[tokio::test]
async fn words_are_counted_with_one_read_and_one_write_for_a_batch() {
    let mut instance = word_count().await;
    let stores = Arc::new(Stores::default());
    let (header, lines) = batch(&[(None, Some("the cat, the Dog")), (None, Some("the end"))]);
    for round in 1..=2 {
        let words = instance.process(1, &header, lines.clone(), stores.clone()).await.unwrap();
        assert_eq!((words[0].target, words[0].count), (2, 6));
        let header = BatchHeader { count: words[0].count, base_offset: 0, ..header.clone() };
        let counts = instance.process(2, &header, words[0].records.clone(), stores.clone()).await.unwrap();
        assert_eq!(counts[0].target, 4);
        let counts = decode(&counts[0]);
        let counts: BTreeMap<_, _> =
            counts.iter().map(|record| (text(record.key.as_ref()), text(record.value.as_ref()))).collect();
        let expected = if round == 1 { ["1", "1", "1", "3"] } else { ["2", "2", "2", "6"] };
        assert_eq!(counts, BTreeMap::from_iter(["cat", "dog", "end", "the"].into_iter().zip(expected)));
        assert_eq!(*stores.calls.lock().unwrap(), 2 * round);
    }
}

#[tokio::test]
async fn an_error_of_the_plugin_names_the_record_and_keeps_the_instance() {
    let plugin = load(MISBEHAVE, Limits::default()).await;
    let mut instance = misbehaving(&plugin, "error").await;
    for _ in 0..2 {
        let Err(PluginError::Returned(error)) = one_record(&mut instance).await else {
            panic!("an error is due")
        };
        assert_eq!((error.verdict, error.record), (Verdict::Reject, Some(0)));
        assert_eq!(error.to_string(), "this record is not to my taste (record 0 of the batch)");
    }
}

#[tokio::test]
async fn state_that_fails_is_the_plugins_error_to_return() {
    let mut instance = word_count().await;
    let (header, records) = batch(&[(Some("word"), Some(""))]);
    let error = instance.process(2, &header, records, Arc::new(NoState)).await.unwrap_err();
    assert_eq!(error.to_string(), "the plugin says: there is no store `counts`");
    assert!(!error.discards_instance());
}

#[tokio::test]
async fn a_missing_config_key_is_named() {
    let plugin = load(WORD_COUNT, Limits::default()).await;
    let error = plugin.topology(&Grants::default(), &config(&[("topics", "lines")])).await.err().unwrap();
    assert_eq!(error.to_string(), "the plugin says: `output.topic` is not set");
}

#[tokio::test]
async fn a_topic_that_is_no_name_is_refused_with_the_graph() {
    let plugin = load(WORD_COUNT, Limits::default()).await;
    let config = config(&[("topics", "../etc"), ("output.topic", "out")]);
    let error = plugin.topology(&Grants::default(), &config).await.err().unwrap();
    assert!(matches!(&error, PluginError::Malformed(why) if why.contains("../etc")), "{error}");
}
