//! Posts each batch of records to a URL, as JSON lines (`application/x-ndjson`) or as one JSON array.
//!
//! A record becomes `{"topic", "partition", "offset", "timestamp", "key", "value", "headers"}`. Key, value and header
//! values are text; what is not UTF-8 stands as `{"base64": ".."}`. A value that is JSON stays JSON when
//! `http.value.format` is `json`.
//!
//! 2xx is success. 408, 429 and 5xx are tried again; any other answer rejects the batch.

use serde_json::{Value, json};
use strata_plugin_sdk::{
    BatchHeader, Config, Descriptor, Error, HttpError, Record, Records, Request, Sink, send_many,
};

struct HttpSink {
    url: String,
    authorization: Option<String>,
    array: bool,
    json_values: bool,
}

impl Sink for HttpSink {
    fn describe() -> Descriptor {
        Descriptor::new("http-sink", env!("CARGO_PKG_VERSION"), "Posts records to a URL as JSON")
            .required("http.url", "Where to post; its host and port must be granted in strata.http.allow")
            .optional("http.body", "lines", "lines: one JSON object a line; array: one JSON array")
            .optional("http.value.format", "text", "text, or json: values are JSON, and are posted as such")
            .optional("http.authorization", "", "The Authorization header")
    }

    fn start(config: &Config) -> Result<Self, Error> {
        let choice = |key: &str, one: &str, other: &str| match config.required(key)? {
            word if word == one => Ok(false),
            word if word == other => Ok(true),
            word => Err(Error::stop(format!("`{key}` is `{word}`, not `{one}` or `{other}`"))),
        };
        Ok(HttpSink {
            url: config.required("http.url")?.into(),
            authorization: config.get("http.authorization").filter(|value| !value.is_empty()).map(Into::into),
            array: choice("http.body", "lines", "array")?,
            json_values: choice("http.value.format", "text", "json")?,
        })
    }

    fn put(&mut self, header: &BatchHeader, records: Records<'_>) -> Result<(), Error> {
        let rows = records
            .enumerate()
            .map(|(index, record)| self.row(header, &record?).map_err(|error| error.at(index)))
            .collect::<Result<Vec<_>, _>>()?;
        let (body, content_type) = if self.array {
            (Value::Array(rows).to_string(), "application/json")
        } else {
            (rows.iter().map(|row| format!("{row}\n")).collect(), "application/x-ndjson")
        };
        let mut headers = vec![("content-type".to_owned(), content_type.to_owned())];
        headers.extend(self.authorization.clone().map(|value| ("authorization".to_owned(), value)));
        let request =
            Request { method: "POST".into(), url: self.url.clone(), headers, body: body.into_bytes() };
        match send_many(&[request]).into_iter().next() {
            Some(Ok(response)) => self.judge(response.status, &response.body),
            Some(Err(error)) => Err(self.failed(error)),
            None => Err(Error::stop("the host did not answer")),
        }
    }
}

impl HttpSink {
    fn row(&self, header: &BatchHeader, record: &Record<'_>) -> Result<Value, Error> {
        let headers: Vec<_> =
            record.headers.map(|(name, value)| json!({ "key": name, "value": text(value) })).collect();
        let value = match record.value {
            Some(bytes) if self.json_values => serde_json::from_slice(bytes).map_err(|why| {
                Error::reject(format!("the value at offset {} is not JSON: {why}", record.offset))
            })?,
            value => text(value),
        };
        Ok(json!({
            "topic": header.topic,
            "partition": header.partition,
            "offset": record.offset,
            "timestamp": record.timestamp,
            "key": text(record.key),
            "value": value,
            "headers": headers,
        }))
    }

    fn judge(&self, status: u16, body: &[u8]) -> Result<(), Error> {
        let said = || {
            let text = String::from_utf8_lossy(&body[..body.len().min(200)]);
            format!("{} answered {status} {}", self.url, text.trim())
        };
        match status {
            200..=299 => Ok(()),
            408 | 429 | 500..=599 => Err(Error::retry(said())),
            _ => Err(Error::reject(said())),
        }
    }

    fn failed(&self, error: HttpError) -> Error {
        let url = &self.url;
        match error {
            HttpError::Unreachable(why) => Error::retry(format!("{url}: {why}")),
            HttpError::Timeout => Error::retry(format!("{url} did not answer in time")),
            HttpError::Invalid(why) => Error::stop(format!("{url}: {why}")),
            HttpError::NotGranted(why) | HttpError::AddressRefused(why) => {
                Error::stop(format!("{url}: {why}"))
            }
            HttpError::ResponseTooLarge => Error::stop(format!("{url}: the answer is too large")),
        }
    }
}

fn text(bytes: Option<&[u8]>) -> Value {
    match bytes.map(|bytes| (std::str::from_utf8(bytes), bytes)) {
        None => Value::Null,
        Some((Ok(text), _)) => text.into(),
        Some((Err(_), bytes)) => json!({ "base64": base64(bytes) }),
    }
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = LETTERS[(group >> (18 - 6 * place)) as usize & 63];
            encoded.push(if place > chunk.len() { '=' } else { letter.into() });
        }
    }
    encoded
}

strata_plugin_sdk::export_sink!(HttpSink);
