//! Model to Rust text.
//!
//! Each message becomes a module with its structs; the module's namesake struct is re-exported above it. A struct
//! gets `read` and `write`, straight-line code over `Decoder` and `Encoder` with a condition where versions differ.

use std::fmt::Write as _;

use crate::errors;
use crate::model::{Field, Kind, Message, Schemas, Struct, Type, Versions};
use crate::parse::struct_name;
use crate::rust;

/// The text of `messages.rs`.
pub fn messages(schemas: &Schemas) -> Result<String, String> {
    let mut out = String::new();
    let names: Vec<&str> = schemas.messages.iter().map(|message| message.name.as_str()).collect();
    let _ = writeln!(
        out,
        "/// Hands every message's name to a macro, for what is to be done with all of them.
        #[macro_export]
        macro_rules! for_each_message {{ ($then:ident) => {{ $then! {{ {} }} }} }}",
        names.join(" ")
    );
    for message in &schemas.messages {
        let module = rust::snake(&message.name);
        let _ = writeln!(out, "pub use {module}::{};", message.name);
        let _ = writeln!(out, "/// `{}`, versions {}.", message.name, message.versions);
        let _ = writeln!(out, "pub mod {module} {{\nuse crate::generated_prelude::*;");
        Structs { out: &mut out, message }.emit().map_err(|e| format!("{}: {e}", message.name))?;
        message_traits(&mut out, message, schemas);
        out.push_str("}\n");
    }
    Ok(out)
}

/// The text of `api_key.rs`.
pub fn api_key(schemas: &Schemas) -> String {
    let mut variants = String::new();
    let mut all = String::new();
    let mut from = String::new();
    let mut facts = String::new();
    for api in &schemas.apis {
        let name = &api.name;
        let message = |suffix: &str| schemas.messages.iter().find(|m| m.name == format!("{name}{suffix}"));
        let flexible = |suffix: &str| message(suffix).map_or(i16::MAX, |m| first_flexible(m.flexible));
        let versions = message("Request").map_or(Versions::NONE, |m| m.versions);
        let _ = writeln!(variants, "{name} = {},", api.key);
        let _ = writeln!(all, "Self::{name},");
        let _ = writeln!(from, "{} => Some(Self::{name}),", api.key);
        let _ = writeln!(
            facts,
            "Self::{name} => ApiFacts {{ name: {name:?}, versions: ({}, {}), flexible_request: {}, \
             flexible_response: {}, on_broker: {}, on_controller: {}, latest_unstable: {} }},",
            versions.first,
            versions.last,
            flexible("Request"),
            flexible("Response"),
            api.broker,
            api.controller,
            api.latest_unstable
        );
    }
    format!(
        "/// What a request asks for: the first field of its header.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ApiKey {{ {variants} }}
        impl ApiKey {{
            /// Every key, in ascending order.
            pub const ALL: &'static [Self] = &[{all}];
            /// The key with this number, if it is one that Kafka still speaks.
            pub const fn from_i16(key: i16) -> Option<Self> {{ match key {{ {from} _ => None }} }}
            const fn facts(self) -> ApiFacts {{ match self {{ {facts} }} }}
        }}"
    )
}

fn first_flexible(flexible: Versions) -> i16 {
    if flexible.is_empty() { i16::MAX } else { flexible.first }
}

fn message_traits(out: &mut String, message: &Message, schemas: &Schemas) {
    let name = &message.name;
    let Versions { first, last } = message.versions;
    let _ = writeln!(
        out,
        "impl Message for {name} {{
            const NAME: &'static str = {name:?};
            const VERSIONS: std::ops::RangeInclusive<i16> = {first}..={last};
            fn decode_body(d: &mut Decoder, version: i16) -> Result<Self, DecodeError> {{ Self::read(d, version) }}
            fn encode_body(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeError> {{ self.write(e, version) }}
        }}"
    );
    match message.kind {
        Kind::Request => {
            let api = name.strip_suffix("Request").unwrap_or(name);
            if schemas.apis.iter().any(|known| known.name == api) {
                let _ = writeln!(
                    out,
                    "impl Request for {name} {{ const KEY: ApiKey = ApiKey::{api}; \
                     type Response = super::{api}Response; }}"
                );
            }
        }
        Kind::Record(number) => {
            let _ = writeln!(out, "impl TypedRecord for {name} {{ const TYPE: i16 = {number}; }}");
        }
        Kind::Response => {
            // One field of one name and unit, in nearly all of them.
            let throttled = message.fields.iter().any(|field| field.name == "ThrottleTimeMs");
            let body = match throttled {
                true => {
                    "fn set_throttle_time_ms(&mut self, ms: i32) { self.throttle_time_ms = ms; }
                     fn throttle_time_ms(&self) -> i32 { self.throttle_time_ms }"
                }
                false => "",
            };
            let first_error = format!("fn first_error(&self) -> Option<i16> {{ {name}::first_error(self) }}");
            let _ = writeln!(out, "impl Response for {name} {{ {body} {first_error} }}");
        }
        Kind::Data => {}
    }
}

/// Writes one message's structs.
struct Structs<'a> {
    out: &'a mut String,
    message: &'a Message,
}

impl Structs<'_> {
    fn emit(&mut self) -> Result<(), String> {
        let message = self.message;
        for shared in &message.structs {
            self.emit_struct(&shared.name, &shared.fields, shared.versions.and(message.versions))?;
        }
        self.emit_struct(&message.name, &message.fields, message.versions)
    }

    fn emit_struct(&mut self, name: &str, fields: &[Field], versions: Versions) -> Result<(), String> {
        let fields: Vec<&Field> = fields.iter().filter(|f| !f.versions.and(versions).is_empty()).collect();
        for field in &fields {
            if let (Some(inner), false) = (struct_name(&field.ty), field.fields.is_empty()) {
                self.emit_struct(inner, &field.fields, field.versions.and(versions))?;
            }
        }
        let flexible = self.message.flexible.and(versions);
        let tagged = !flexible.is_empty();
        self.declare(name, &fields, tagged);
        let condition = rust::condition_or_true(flexible, versions);
        let _ = writeln!(self.out, "impl {name} {{");
        let _ = writeln!(
            self.out,
            "pub(crate) fn read(d: &mut Decoder, version: i16) -> Result<Self, DecodeError> {{
            let flexible = {condition};
            let mut m = Self::default();"
        );
        self.read_fields(&fields, versions)?;
        if tagged {
            self.read_tagged(&fields, versions, flexible)?;
        }
        let _ = writeln!(
            self.out,
            "Ok(m)\n}}
            pub(crate) fn write(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeError> {{
            let flexible = {condition};"
        );
        self.write_fields(name, &fields, versions)?;
        if tagged {
            self.write_tagged(name, &fields, versions);
        }
        self.out.push_str("Ok(())\n}\n");
        if self.message.kind == Kind::Response {
            errors::emit(self.out, &fields);
        }
        self.out.push_str("}\n");
        Ok(())
    }

    fn declare(&mut self, name: &str, fields: &[&Field], tagged: bool) {
        let plain = fields.iter().all(|field| rust::has_rusts_default(field));
        let _ =
            writeln!(self.out, "#[derive(Clone, Debug, PartialEq{})]", if plain { ", Default" } else { "" });
        let _ = writeln!(self.out, "pub struct {name} {{");
        for field in fields {
            let _ = write!(self.out, "/// Versions {}", field.versions);
            if !field.nullable.is_empty() {
                let _ = write!(self.out, ", null in {}", field.nullable);
            }
            if let Some((tag, versions)) = field.tag {
                let _ = write!(self.out, ", tag {tag} in {versions}");
            }
            let _ = writeln!(self.out, ".\npub {}: {},", rust::snake(&field.name), rust::field_type(field));
        }
        if tagged {
            self.out.push_str("pub unknown_tagged_fields: Vec<RawTaggedField>,\n");
        }
        self.out.push_str("}\n");
        if plain {
            return;
        }
        let _ = writeln!(self.out, "impl Default for {name} {{\nfn default() -> Self {{\nSelf {{");
        for field in fields {
            let _ = writeln!(self.out, "{}: {},", rust::snake(&field.name), rust::default(field));
        }
        if tagged {
            self.out.push_str("unknown_tagged_fields: Vec::new(),\n");
        }
        self.out.push_str("}\n}\n}\n");
    }

    fn read_fields(&mut self, fields: &[&Field], versions: Versions) -> Result<(), String> {
        for field in fields {
            let plain = untagged(field, versions);
            if plain.is_empty() {
                continue;
            }
            let name = rust::snake(&field.name);
            let value = self.read_value(field, versions)?;
            let _ = match present(field, versions) {
                None => writeln!(self.out, "m.{name} = {value}?;"),
                Some(when) => writeln!(self.out, "if {when} {{ m.{name} = {value}?; }}"),
            };
        }
        Ok(())
    }

    fn read_tagged(
        &mut self,
        fields: &[&Field],
        versions: Versions,
        flexible: Versions,
    ) -> Result<(), String> {
        let known = tagged_fields(fields, versions);
        if flexible != versions {
            self.out.push_str("if flexible {\n");
        }
        if known.is_empty() {
            self.out.push_str("m.unknown_tagged_fields = d.unknown_tagged_fields()?;\n");
        } else {
            self.out.push_str("m.unknown_tagged_fields = d.tagged_fields(|tag, d| {\nmatch tag {\n");
            for (tag, tagged, field) in &known {
                let guard =
                    rust::condition(*tagged, versions).map_or(String::new(), |when| format!(" if {when}"));
                let value = self.read_value(field, versions)?.replace("d.nullable(", "d.nullable_in_tag(");
                let _ = writeln!(self.out, "{tag}{guard} => m.{} = {value}?,", rust::snake(&field.name));
            }
            self.out.push_str("_ => return Ok(false),\n}\nOk(true)\n})?;\n");
        }
        if flexible != versions {
            self.out.push_str("}\n");
        }
        Ok(())
    }

    /// The expression that reads a field's value: a `Result`.
    fn read_value(&self, field: &Field, versions: Versions) -> Result<String, String> {
        let flexible = if field.inflexible { "false" } else { "flexible" };
        let present = field.versions.and(versions);
        let plain = self.read_type(&field.ty, flexible, present)?;
        if !rust::is_optional(field) {
            return Ok(plain);
        }
        let nullable = rust::condition_or_true(field.nullable, present);
        Ok(match &field.ty {
            Type::String => format!("d.nullable_string({flexible}, {nullable})"),
            Type::Bytes => format!("d.nullable_bytes({flexible}, {nullable})"),
            Type::Records => format!("d.nullable_records({flexible}, {nullable})"),
            Type::Array(_) => plain.replacen("d.array(", &format!("d.nullable_array({nullable}, "), 1),
            _ => format!("d.nullable({nullable}, |d| {plain})"),
        })
    }

    fn read_type(&self, ty: &Type, flexible: &str, versions: Versions) -> Result<String, String> {
        Ok(match ty {
            Type::String => format!("d.string({flexible})"),
            Type::Bytes => format!("d.bytes({flexible})"),
            Type::Records => format!("d.nullable_records({flexible}, true)"),
            Type::Struct(name) => format!("{name}::read(d, version)"),
            Type::Uuid => "d.uuid()".into(),
            Type::Array(element) => {
                let least = self.least_bytes(element, versions)?;
                let read = self.read_type(element, flexible, versions)?;
                format!("d.array({flexible}, {least}, |d| {read})")
            }
            primitive => format!("d.{}()", rust::type_name(primitive)),
        })
    }

    fn write_fields(&mut self, parent: &str, fields: &[&Field], versions: Versions) -> Result<(), String> {
        for field in fields {
            let value = write_value(parent, field, versions);
            let plain = untagged(field, versions);
            if !plain.is_empty() {
                let _ = match present(field, versions) {
                    None => writeln!(self.out, "{value};"),
                    Some(when) => writeln!(self.out, "if {when} {{ {value}; }}"),
                };
            }
            if !field.ignorable
                && let Some(when) = rust::condition(field.versions, versions)
            {
                let _ = writeln!(
                    self.out,
                    "if !({when}) && {} {{ return Err(EncodeError::NotInVersion {{ field: \"{parent}.{}\", version }}); }}",
                    rust::is_not_default(field),
                    field.name
                );
            }
        }
        Ok(())
    }

    fn write_tagged(&mut self, parent: &str, fields: &[&Field], versions: Versions) {
        let known = tagged_fields(fields, versions);
        if known.is_empty() {
            self.out.push_str("e.unknown_tagged_fields(flexible, &self.unknown_tagged_fields)?;\n");
            return;
        }
        self.out.push_str("let mut tagged = TaggedFields::new();\n");
        for (tag, tagged, field) in &known {
            let when = rust::condition(*tagged, versions).map_or(String::new(), |when| format!("{when} && "));
            let value = write_value(parent, field, versions).replace("e.nullable(", "e.nullable_in_tag(");
            let _ = writeln!(
                self.out,
                "if {when}{} {{ let e = tagged.field({tag}); {value}; }}",
                rust::is_not_default(field)
            );
        }
        self.out.push_str("tagged.finish(e, flexible, &self.unknown_tagged_fields)?;\n");
    }

    /// The fewest bytes that a value of this type takes on the wire in any of the versions.
    fn least_bytes(&self, ty: &Type, versions: Versions) -> Result<usize, String> {
        let sizes = (versions.first..=versions.last).map(|version| self.least_bytes_in(ty, version));
        let least = sizes.collect::<Result<Vec<_>, _>>()?.into_iter().min().unwrap_or(0);
        if least == 0 {
            return Err("an array's elements may not be empty: its length could not be checked".into());
        }
        Ok(least)
    }

    fn least_bytes_in(&self, ty: &Type, version: i16) -> Result<usize, String> {
        let flexible = self.message.flexible.contains(version);
        Ok(match ty {
            Type::Bool | Type::Int8 => 1,
            Type::Int16 | Type::Uint16 => 2,
            Type::Int32 | Type::Uint32 => 4,
            Type::Int64 | Type::Float64 => 8,
            Type::Uuid => 16,
            Type::String | Type::Bytes | Type::Records | Type::Array(_) if flexible => 1,
            Type::String => 2,
            Type::Bytes | Type::Records | Type::Array(_) => 4,
            Type::Struct(name) => {
                let fields = find_struct(self.message, name).ok_or_else(|| format!("no struct `{name}`"))?;
                let mut bytes = usize::from(flexible);
                for field in fields {
                    if field.versions.contains(version) && !is_tagged_in(field, version) {
                        let nullable_struct = matches!(field.ty, Type::Struct(_)) && rust::is_optional(field);
                        bytes += if nullable_struct { 1 } else { self.least_bytes_in(&field.ty, version)? };
                    }
                }
                bytes
            }
        })
    }
}

/// The statement that writes a field's value.
fn write_value(parent: &str, field: &Field, versions: Versions) -> String {
    let name = rust::snake(&field.name);
    let label = format!("\"{parent}.{}\"", field.name);
    let flexible = if field.inflexible { "false" } else { "flexible" };
    let nullable = || rust::condition_or_true(field.nullable, field.versions.and(versions));
    match (&field.ty, rust::is_optional(field)) {
        (Type::String, true) => {
            format!("e.nullable_string({flexible}, {}, self.{name}.as_ref(), {label})?", nullable())
        }
        (Type::Bytes, true) => {
            format!("e.nullable_bytes({flexible}, {}, self.{name}.as_ref(), {label})?", nullable())
        }
        (Type::Records, _) => {
            format!("e.nullable_records({flexible}, {}, self.{name}.as_ref(), {label})?", nullable())
        }
        (Type::Array(element), true) => format!(
            "e.nullable_array({flexible}, {}, self.{name}.as_deref(), {label}, |e, x| {})?",
            nullable(),
            write_element(element, &label)
        ),
        (Type::Array(element), false) => {
            format!("e.array({flexible}, &self.{name}, {label}, |e, x| {})?", write_element(element, &label))
        }
        (_, true) => {
            format!("e.nullable({}, self.{name}.as_ref(), {label}, |e, x| x.write(e, version))?", nullable())
        }
        (Type::String, false) => format!("e.string({flexible}, &self.{name}, {label})?"),
        (Type::Bytes, false) => format!("e.bytes({flexible}, &self.{name}, {label})?"),
        (Type::Struct(_), false) => format!("self.{name}.write(e, version)?"),
        (Type::Uuid, false) => format!("e.uuid(self.{name})"),
        (primitive, false) => format!("e.{}(self.{name})", rust::type_name(primitive)),
    }
}

/// The expression that writes an array's element `x`: a `Result`.
fn write_element(element: &Type, label: &str) -> String {
    match element {
        Type::String => format!("e.string(flexible, x, {label})"),
        Type::Bytes => format!("e.bytes(flexible, x, {label})"),
        Type::Uuid => "{ e.uuid(*x); Ok(()) }".into(),
        primitive if rust::is_primitive(primitive) => {
            format!("{{ e.{}(*x); Ok(()) }}", rust::type_name(primitive))
        }
        _ => "x.write(e, version)".into(),
    }
}

/// The versions, among those given, in which the field stands in the body and not among the tagged fields.
fn untagged(field: &Field, versions: Versions) -> Versions {
    let present = field.versions.and(versions);
    match field.tag {
        Some((_, tagged)) if tagged.cover(present) => Versions::NONE,
        Some((_, tagged)) => Versions { last: tagged.first - 1, ..present },
        None => present,
    }
}

fn present(field: &Field, versions: Versions) -> Option<String> {
    rust::condition(untagged(field, versions), versions)
}

fn is_tagged_in(field: &Field, version: i16) -> bool {
    field.tag.is_some_and(|(_, tagged)| tagged.contains(version))
}

/// The fields that are tagged in some of the versions, in ascending order of their tags.
fn tagged_fields<'a>(fields: &[&'a Field], versions: Versions) -> Vec<(u32, Versions, &'a Field)> {
    let mut known = Vec::new();
    for &field in fields {
        if let Some((tag, tagged)) = field.tag
            && !tagged.and(versions).is_empty()
        {
            known.push((tag, tagged, field));
        }
    }
    known.sort_by_key(|(tag, ..)| *tag);
    known
}

fn find_struct<'a>(message: &'a Message, name: &str) -> Option<&'a [Field]> {
    fn inside<'a>(fields: &'a [Field], name: &str) -> Option<&'a [Field]> {
        fields.iter().find_map(|field| {
            let here = struct_name(&field.ty) == Some(name) && !field.fields.is_empty();
            if here { Some(field.fields.as_slice()) } else { inside(&field.fields, name) }
        })
    }
    let shared = |shared: &'a Struct| if shared.name == name { Some(&shared.fields[..]) } else { None };
    message
        .structs
        .iter()
        .find_map(shared)
        .or_else(|| message.structs.iter().find_map(|s| inside(&s.fields, name)))
        .or_else(|| inside(&message.fields, name))
}
