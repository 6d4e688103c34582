//! Every message in every version, byte for byte and field for field as Apache Kafka's own classes have it.
//!
//! `golden/generate` fills Kafka's classes and writes down their bytes and Kafka's JSON of them. Here the bytes are
//! decoded, the fields are compared with the JSON by name (so that two swapped fields of one type are found), and
//! encoded again. Our side's names and values are read from the derived `Debug` text, which no generated code can
//! bend.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::Value;
use strata_protocol::{Message, for_each_message, messages};
use uuid::Uuid;

#[test]
fn every_message_is_as_kafka_writes_it() {
    let path = golden_file();
    let Ok(text) = fs::read_to_string(&path) else {
        let how =
            "run broker/protocol/golden/generate (needs Java 17 and Maven) to have messages to compare with";
        assert!(std::env::var_os("CI").is_none(), "{} is missing: {how}", path.display());
        #[allow(clippy::print_stderr)]
        {
            eprintln!("NOT COMPARED with Apache Kafka: {how}");
        }
        return;
    };
    let mut seen = BTreeMap::new();
    let mut wrong = Vec::new();
    for line in text.lines() {
        let line = Line::parse(line);
        *seen.entry(line.message).or_insert(0) += 1;
        if let Err(problem) = check_by_name(&line) {
            wrong.push(format!("{} {} {}: {problem}", line.message, line.version, line.filling));
        }
    }
    let shown = wrong.iter().take(20).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} of {} differ:\n{shown}", wrong.len(), text.lines().count());
    for name in every_name() {
        assert!(
            seen.contains_key(name),
            "{name} was not compared: run broker/protocol/golden/generate again"
        );
    }
}

fn golden_file() -> PathBuf {
    // Cargo gives integration tests `<target>/tmp`.
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("kafka-golden").join("golden.txt")
}

/// One line of the file.
struct Line<'a> {
    message: &'a str,
    version: i16,
    filling: &'a str,
    bytes: Bytes,
    json: Value,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Self {
        let parts: Vec<&str> = line.splitn(5, ' ').collect();
        let [message, version, filling, hex, json] = parts[..] else { panic!("a line of 5 parts: {line}") };
        let version = version.parse().expect("a version");
        let json = serde_json::from_str(json).expect("JSON");
        Self { message, version, filling, bytes: unhex(hex), json }
    }
}

macro_rules! by_name {
    ($($message:ident)+) => {
        fn check_by_name(line: &Line<'_>) -> Result<(), String> {
            match line.message {
                $(stringify!($message) => check::<messages::$message>(line),)+
                _ => Err("a message that we do not have".into()),
            }
        }

        fn every_name() -> &'static [&'static str] {
            &[$(stringify!($message)),+]
        }
    };
}

for_each_message!(by_name);

fn check<T: Message>(line: &Line<'_>) -> Result<(), String> {
    let message = T::from_bytes(line.bytes.clone(), line.version).map_err(|e| format!("decoding: {e}"))?;
    if line.filling == "DEFAULT" && message != T::default() {
        // A field that this version has and Kafka fills otherwise than we do by default.
        return Err(format!("another default: {message:?}"));
    }
    let text = format!("{message:?}");
    compare(T::NAME, &line.json, &View::parse(&text))?;
    let again = message.to_bytes(line.version).map_err(|e| format!("encoding: {e}"))?;
    if again == line.bytes { Ok(()) } else { Err(format!("encoded as {again:?}, not {:?}", line.bytes)) }
}

/// Every field that Kafka's JSON has must be there, with the same value.
fn compare(at: &str, kafka: &Value, ours: &View<'_>) -> Result<(), String> {
    let differs = || Err(format!("{at} is {ours:?}, not {kafka}"));
    match (kafka, ours) {
        (Value::Null, View::Null) => Ok(()),
        (Value::Object(fields), View::Struct(ours)) => fields.iter().try_for_each(|(name, value)| {
            let name = name.strip_suffix("SizeInBytes").filter(|n| n.ends_with("ecords")).unwrap_or(name);
            let found = ours.iter().find(|(our_name, _)| our_name.replace('_', "") == name.to_lowercase());
            let (_, found) = found.ok_or_else(|| format!("{at} has no {name}"))?;
            compare(&format!("{at}.{name}"), value, found)
        }),
        (Value::Array(elements), View::List(ours)) if elements.len() == ours.len() => {
            elements.iter().zip(ours).try_for_each(|(value, ours)| compare(at, value, ours))
        }
        (Value::Bool(value), View::Leaf(ours)) if value.to_string() == *ours => Ok(()),
        (Value::Number(value), View::Leaf(ours)) => {
            let size = ours.strip_prefix("Records(").and_then(|rest| rest.strip_suffix(" bytes)"));
            let ours = size.unwrap_or(ours);
            let same_float = value.is_f64() && value.as_f64() == ours.parse().ok();
            if value.to_string() == ours || same_float { Ok(()) } else { differs() }
        }
        (Value::Number(size), View::Null) if at.ends_with("ecords") && size.as_i64() == Some(0) => Ok(()),
        (Value::String(text), View::Leaf(ours)) => {
            let wanted = if ours.starts_with('"') {
                format!("{text:?}")
            } else if ours.starts_with("b\"") {
                format!("{:?}", Bytes::from(unbase64(text)))
            } else {
                Uuid::from_slice(&unbase64(text)).map_or(String::new(), |uuid| uuid.to_string())
            };
            if wanted == *ours { Ok(()) } else { differs() }
        }
        _ => differs(),
    }
}

/// What a value's `Debug` text shows.
#[derive(Debug)]
enum View<'a> {
    Struct(Vec<(&'a str, View<'a>)>),
    List(Vec<View<'a>>),
    /// A number, a quoted string, quoted bytes, a UUID, or the size of records.
    Leaf(&'a str),
    Null,
}

impl<'a> View<'a> {
    fn parse(mut text: &'a str) -> Self {
        let view = Self::read(&mut text);
        assert_eq!(text, "", "left over");
        view
    }

    fn read(text: &mut &'a str) -> Self {
        if eat(text, "None") {
            return Self::Null;
        }
        if eat(text, "Some(") {
            let inner = Self::read(text);
            assert!(eat(text, ")"), "`)` at {text}");
            return inner;
        }
        if eat(text, "[") {
            let mut elements = Vec::new();
            while !eat(text, "]") {
                elements.push(Self::read(text));
                eat(text, ", ");
            }
            return Self::List(elements);
        }
        let leaf = split(text, leaf_end(text));
        if !leaf.starts_with(|c: char| c.is_ascii_uppercase()) || leaf.starts_with("Records(") {
            return Self::Leaf(leaf);
        }
        let mut fields = Vec::new();
        if eat(text, " { ") {
            while !eat(text, " }") {
                let name = split(text, text.find(": ").expect("a field's name"));
                eat(text, ": ");
                fields.push((name, Self::read(text)));
                eat(text, ", ");
            }
        }
        Self::Struct(fields)
    }
}

/// Where the leaf or name ends with which the text begins.
fn leaf_end(text: &str) -> usize {
    if text.starts_with("Records(") {
        return text.find(')').expect("`)`") + 1;
    }
    let quoted = text.strip_prefix("b\"").or_else(|| text.strip_prefix('"'));
    let Some(quoted) = quoted else { return text.find([',', ' ', ']', ')']).unwrap_or(text.len()) };
    let mut escaped = false;
    let end = quoted.find(|c| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    });
    text.len() - quoted.len() + end.expect("a closing quote") + 1
}

fn split<'a>(text: &mut &'a str, at: usize) -> &'a str {
    let (first, rest) = text.split_at(at);
    *text = rest;
    first
}

fn eat(text: &mut &str, token: &str) -> bool {
    match text.strip_prefix(token) {
        Some(rest) => {
            *text = rest;
            true
        }
        None => false,
    }
}

fn unhex(hex: &str) -> Bytes {
    let digit = |c: u8| (c as char).to_digit(16).expect("a hex digit") as u8;
    hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// Base64 in the usual alphabet or the one for URLs, padded or not.
fn unbase64(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for c in text.bytes().filter(|c| *c != b'=') {
        let six = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' | b'-' => 62,
            _ => 63,
        };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}
