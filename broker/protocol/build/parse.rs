//! Schema text to model. Every error names the line and what was expected there.

use crate::model::{Api, Field, Kind, Message, Schemas, Struct, Type, Versions};

/// A line's words, and what its indentation says.
struct Line<'a> {
    number: usize,
    depth: usize,
    words: std::str::SplitWhitespace<'a>,
}

impl<'a> Line<'a> {
    fn error(&self, what: impl std::fmt::Display) -> String {
        format!("{}: {what}", self.number)
    }

    fn word(&mut self, what: &str) -> Result<&'a str, String> {
        self.words.next().ok_or_else(|| self.error(format_args!("expected {what}")))
    }

    fn number<T: std::str::FromStr>(&mut self, what: &str) -> Result<T, String> {
        let word = self.word(what)?;
        word.parse().map_err(|_| self.error(format_args!("expected {what}, found `{word}`")))
    }

    fn versions(&mut self, what: &str) -> Result<Versions, String> {
        let word = self.word(what)?;
        versions(word).ok_or_else(|| {
            self.error(format_args!("expected {what} (`3`, `3+`, `3-5` or `none`), found `{word}`"))
        })
    }

    fn end(&mut self) -> Result<(), String> {
        match self.words.next() {
            None => Ok(()),
            Some(word) => Err(self.error(format_args!("unexpected `{word}`"))),
        }
    }
}

/// Adds what one file says to the schemas. The error starts with the line number.
pub fn file(text: &str, schemas: &mut Schemas) -> Result<(), String> {
    let mut lines = lines(text)?.into_iter().peekable();
    let mut api = None;
    while let Some(mut line) = lines.next() {
        if line.depth != 0 {
            return Err(line.error("a field without a message above it"));
        }
        let kind = line.word("a message")?;
        if kind == "api" {
            let found = parse_api(line)?;
            api = Some(found.name.clone());
            schemas.apis.push(found);
            continue;
        }
        let of_api =
            || api.clone().ok_or_else(|| format!("{}: `{kind}` needs an `api` line above it", line.number));
        let (kind, name) = match kind {
            "request" => (Kind::Request, of_api()? + "Request"),
            "response" => (Kind::Response, of_api()? + "Response"),
            "record" => (Kind::Record(line.number("a record type")?), line.word("a name")?.to_owned()),
            "data" => (Kind::Data, line.word("a name")?.to_owned()),
            other => {
                return Err(line.error(format_args!(
                    "expected `api`, `request`, `response`, `record` or `data`, found `{other}`"
                )));
            }
        };
        let mut body = Vec::new();
        while let Some(line) = lines.next_if(|line| line.depth > 0) {
            body.push(line);
        }
        schemas.messages.push(message(line, kind, name, body)?);
    }
    Ok(())
}

fn lines(text: &str) -> Result<Vec<Line<'_>>, String> {
    let mut lines = Vec::new();
    for (index, text) in text.lines().enumerate() {
        let content = text.trim_start();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let spaces = text.len() - content.len();
        let line = Line { number: index + 1, depth: spaces / 2, words: content.split_whitespace() };
        if !spaces.is_multiple_of(2) {
            return Err(line.error("indentation is two spaces a level"));
        }
        lines.push(line);
    }
    Ok(lines)
}

fn parse_api(mut line: Line<'_>) -> Result<Api, String> {
    let key = line.number("an API key")?;
    let name = line.word("a name")?.to_owned();
    let mut api = Api { key, name, broker: false, controller: false, latest_unstable: false };
    if line.word("`on`")? != "on" {
        return Err(line.error("expected `on`"));
    }
    while let Some(word) = line.words.next() {
        match word {
            "broker" => api.broker = true,
            "controller" => api.controller = true,
            "unstable" => api.latest_unstable = true,
            other => return Err(line.error(format_args!("unknown listener `{other}`"))),
        }
    }
    Ok(api)
}

fn message(mut line: Line<'_>, kind: Kind, name: String, body: Vec<Line<'_>>) -> Result<Message, String> {
    let versions = line.versions("versions")?;
    if line.word("`flexible`")? != "flexible" {
        return Err(line.error("expected `flexible`"));
    }
    let flexible = line.versions("flexible versions")?;
    line.end()?;
    let mut message = Message { name, versions, flexible, kind, fields: Vec::new(), structs: Vec::new() };
    let mut body = body.into_iter().peekable();
    while let Some(line) = body.next() {
        if line.depth != 1 {
            return Err(line.error("indented too deep"));
        }
        let mut words = line.words.clone();
        if words.next() == Some("struct") {
            let mut line = Line { words, ..line };
            let name = line.word("a name")?.to_owned();
            let versions = line.versions("versions")?;
            line.end()?;
            message.structs.push(Struct { name, versions, fields: fields(&mut body, 2)? });
        } else {
            message.fields.push(field(line, &mut body)?);
        }
    }
    Ok(message)
}

type Body<'a> = std::iter::Peekable<std::vec::IntoIter<Line<'a>>>;

/// The fields at `depth`, up to the first line that stands further left.
fn fields(body: &mut Body<'_>, depth: usize) -> Result<Vec<Field>, String> {
    let mut found = Vec::new();
    while let Some(line) = body.next_if(|line| line.depth >= depth) {
        if line.depth > depth {
            return Err(line.error("indented too deep"));
        }
        found.push(field(line, body)?);
    }
    Ok(found)
}

fn field(mut line: Line<'_>, body: &mut Body<'_>) -> Result<Field, String> {
    let name = line.word("a field name")?.to_owned();
    let ty = line.word("a type")?;
    let ty = parse_type(ty).ok_or_else(|| line.error(format_args!("unknown type `{ty}`")))?;
    let mut field = Field {
        name,
        ty,
        versions: line.versions("versions")?,
        nullable: Versions::NONE,
        tag: None,
        default: None,
        ignorable: false,
        inflexible: false,
        fields: Vec::new(),
    };
    while let Some(word) = line.words.next() {
        match word {
            "nullable" => field.nullable = line.versions("nullable versions")?,
            "tag" => field.tag = Some((line.number("a tag")?, line.versions("tagged versions")?)),
            "default" => field.default = Some(line.word("a default value")?.to_owned()),
            "ignorable" => field.ignorable = true,
            "inflexible" => field.inflexible = true,
            other => return Err(line.error(format_args!("unknown word `{other}`"))),
        }
    }
    field.fields = fields(body, line.depth + 1)?;
    if !field.fields.is_empty() && struct_name(&field.ty).is_none() {
        return Err(line.error("only a struct has fields below it"));
    }
    Ok(field)
}

/// The struct that a field's type names, directly or as the element of an array.
pub fn struct_name(ty: &Type) -> Option<&str> {
    match ty {
        Type::Struct(name) => Some(name),
        Type::Array(element) => struct_name(element),
        _ => None,
    }
}

fn parse_type(word: &str) -> Option<Type> {
    if let Some(element) = word.strip_prefix("[]") {
        return Some(Type::Array(Box::new(parse_type(element)?)));
    }
    Some(match word {
        "bool" => Type::Bool,
        "int8" => Type::Int8,
        "int16" => Type::Int16,
        "uint16" => Type::Uint16,
        "int32" => Type::Int32,
        "uint32" => Type::Uint32,
        "int64" => Type::Int64,
        "float64" => Type::Float64,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "records" => Type::Records,
        "uuid" => Type::Uuid,
        name if name.starts_with(char::is_uppercase) => Type::Struct(name.to_owned()),
        _ => return None,
    })
}

fn versions(word: &str) -> Option<Versions> {
    if word == "none" {
        return Some(Versions::NONE);
    }
    if let Some(first) = word.strip_suffix('+') {
        return Some(Versions { first: first.parse().ok()?, last: i16::MAX });
    }
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    Some(Versions { first: first.parse().ok()?, last: last.parse().ok()? })
}
