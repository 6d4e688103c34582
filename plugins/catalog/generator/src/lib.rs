//! A source of numbered records: record `n` is the same on every run, and a run goes on where the last one stopped.
//!
//! Work is split over tasks by residue: of `k` tasks, task `t` makes the records whose number is `t` modulo `k`. A task's
//! position is the next number that it makes.

use serde_json::{Value, json};
use strata_plugin_sdk::{
    Config, Descriptor, Error, Headers, Position, Record, RecordWriter, Source, SourceBatch,
};

const TASK: &str = "generator.task";
const TASKS: &str = "generator.tasks";

struct Generator {
    topic: String,
    records: i64,
    batch_records: i64,
    value_bytes: usize,
    base_timestamp: i64,
    task: i64,
    tasks: i64,
    next: i64,
}

impl Source for Generator {
    fn describe() -> Descriptor {
        Descriptor::new("generator", env!("CARGO_PKG_VERSION"), "Numbered records")
            .required("topic", "Topic to write")
            .number("records", 1000, "How many records to make in all; -1: no end")
            .number("batch.records", 500, "Records to a batch at most")
            .number("value.bytes", 0, "Values are padded to this size at least")
            .number("base.timestamp", 1_700_000_000_000, "Record n is stamped with this plus n milliseconds")
    }

    fn split(config: Config, tasks_max: u32) -> Result<Vec<Config>, Error> {
        let tasks = tasks_max.max(1);
        Ok((0..tasks).map(|task| config.clone().with(TASK, task).with(TASKS, tasks)).collect())
    }

    fn start(config: &Config, positions: Vec<Position>) -> Result<Self, Error> {
        let number = |key| config.get(key).map_or(Ok(None), |_| config.parse::<i64>(key).map(Some));
        let records: i64 = config.parse("records")?;
        let mut generator = Generator {
            topic: config.required("topic")?.into(),
            records: if records < 0 { i64::MAX } else { records },
            batch_records: config.parse::<i64>("batch.records")?.max(1),
            value_bytes: config.parse("value.bytes")?,
            base_timestamp: config.parse("base.timestamp")?,
            task: number(TASK)?.unwrap_or(0),
            tasks: number(TASKS)?.unwrap_or(1).max(1),
            next: 0,
        };
        let own = generator.partition();
        let stored =
            positions.iter().find(|position| parse(&position.partition).is_ok_and(|stored| stored == own));
        generator.next = match stored {
            None => generator.task,
            Some(position) => parse(&position.offset)?["next"]
                .as_i64()
                .ok_or_else(|| Error::stop(format!("the stored offset {} has no `next`", position.offset)))?,
        };
        Ok(generator)
    }

    fn poll(&mut self, records_max: u32) -> Result<Vec<SourceBatch>, Error> {
        let most = self.batch_records.min(records_max.into());
        let base_timestamp = self.base_timestamp.saturating_add(self.next);
        let mut batch = RecordWriter::new(base_timestamp);
        while self.next < self.records && i64::from(batch.count()) < most {
            let key = self.next.to_string();
            let mut value = format!("record {key}").into_bytes();
            value.resize(value.len().max(self.value_bytes), b' ');
            batch.push(&Record {
                offset: 0,
                timestamp: self.base_timestamp.saturating_add(self.next),
                key: Some(key.as_bytes()),
                value: Some(&value),
                headers: Headers::NONE,
            });
            self.next += self.tasks;
        }
        if batch.count() == 0 {
            return Ok(Vec::new());
        }
        let position = Position {
            partition: self.partition().to_string(),
            offset: json!({ "next": self.next }).to_string(),
        };
        let topic = self.topic.clone();
        Ok(vec![SourceBatch {
            topic,
            partition: None,
            base_timestamp,
            records: batch.into_bytes(),
            position,
        }])
    }
}

impl Generator {
    fn partition(&self) -> Value {
        json!({ "task": self.task, "tasks": self.tasks })
    }
}

fn parse(json: &str) -> Result<Value, Error> {
    serde_json::from_str(json).map_err(|why| Error::stop(format!("the stored position {json}: {why}")))
}

strata_plugin_sdk::export_source!(Generator);
