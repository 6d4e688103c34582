//! How the model's names, types, conditions and defaults are said in Rust.

use crate::model::{Field, Type, Versions};

/// `TopicId` → `topic_id`; a Rust keyword becomes a raw identifier.
pub fn snake(name: &str) -> String {
    let mut out = String::new();
    let mut after_lower = false;
    for c in name.chars() {
        if c.is_uppercase() && after_lower {
            out.push('_');
        }
        after_lower = c.is_lowercase() || c.is_ascii_digit();
        out.extend(c.to_lowercase());
    }
    match out.as_str() {
        "type" | "match" | "ref" | "move" | "loop" | "where" | "use" => format!("r#{out}"),
        _ => out,
    }
}

/// Whether the field is an `Option`.
pub fn is_optional(field: &Field) -> bool {
    !field.nullable.is_empty() || field.ty == Type::Records
}

pub fn field_type(field: &Field) -> String {
    let ty = type_name(&field.ty);
    if is_optional(field) { format!("Option<{ty}>") } else { ty }
}

pub fn type_name(ty: &Type) -> String {
    match ty {
        Type::Bool => "bool".into(),
        Type::Int8 => "i8".into(),
        Type::Int16 => "i16".into(),
        Type::Uint16 => "u16".into(),
        Type::Int32 => "i32".into(),
        Type::Uint32 => "u32".into(),
        Type::Int64 => "i64".into(),
        Type::Float64 => "f64".into(),
        Type::String => "Str".into(),
        Type::Bytes => "Bytes".into(),
        Type::Records => "Records".into(),
        Type::Uuid => "Uuid".into(),
        Type::Struct(name) => name.clone(),
        Type::Array(element) => format!("Vec<{}>", type_name(element)),
    }
}

/// Whether the type is a number or a truth value, which `Decoder` and `Encoder` name as Rust does.
pub fn is_primitive(ty: &Type) -> bool {
    !matches!(ty, Type::String | Type::Bytes | Type::Records | Type::Uuid | Type::Struct(_) | Type::Array(_))
}

/// The condition that `version` lies in `wanted`, given that it lies in `given`. `None` means always.
pub fn condition(wanted: Versions, given: Versions) -> Option<String> {
    let wanted = wanted.and(given);
    if wanted.is_empty() {
        return Some("false".into());
    }
    match (wanted.first > given.first, wanted.last < given.last) {
        (false, false) => None,
        (true, false) => Some(format!("version >= {}", wanted.first)),
        (false, true) => Some(format!("version <= {}", wanted.last)),
        (true, true) if wanted.first == wanted.last => Some(format!("version == {}", wanted.first)),
        (true, true) => Some(format!("({}..={}).contains(&version)", wanted.first, wanted.last)),
    }
}

/// The same as a Rust expression.
pub fn condition_or_true(wanted: Versions, given: Versions) -> String {
    condition(wanted, given).unwrap_or_else(|| "true".into())
}

/// Whether the field's default is null.
fn defaults_to_null(field: &Field) -> bool {
    field.ty == Type::Records || (is_optional(field) && field.default.as_deref() == Some("null"))
}

/// Whether Rust's own `Default` gives the field's default.
pub fn has_rusts_default(field: &Field) -> bool {
    match field.default.as_deref() {
        _ if defaults_to_null(field) => true,
        _ if is_optional(field) => false,
        None | Some("0" | "0.0" | "false" | "\"\"") => true,
        Some(_) => false,
    }
}

/// The default as an expression.
pub fn default(field: &Field) -> String {
    if defaults_to_null(field) {
        return "None".into();
    }
    let value = match (&field.ty, field.default.as_deref()) {
        (_, None | Some("\"\"")) => format!("<{}>::default()", type_name(&field.ty)),
        (Type::String, Some(text)) => format!("Str::from_static({text:?})"),
        (_, Some(value)) => value.to_owned(),
    };
    if is_optional(field) { format!("Some({value})") } else { value }
}

/// The condition that `self.<field>` is not its default.
pub fn is_not_default(field: &Field) -> String {
    let name = format!("self.{}", snake(&field.name));
    if defaults_to_null(field) {
        return format!("{name}.is_some()");
    }
    match (&field.ty, is_optional(field)) {
        (Type::Bool, false) if field.default.as_deref() == Some("true") => format!("!{name}"),
        (Type::Bool, false) => name,
        (Type::Uuid, false) => format!("!{name}.is_nil()"),
        (Type::String | Type::Bytes | Type::Array(_), false) if has_rusts_default(field) => {
            format!("!{name}.is_empty()")
        }
        (Type::String | Type::Bytes | Type::Array(_), true) if field.default.is_none() => {
            format!("!{name}.as_ref().is_some_and(|value| value.is_empty())")
        }
        _ => format!("{name} != {}", default(field)),
    }
}
