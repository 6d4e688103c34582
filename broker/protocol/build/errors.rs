//! Error codes of responses: where the first one that says something is found.

use std::fmt::Write;

use crate::model::{Field, Type};
use crate::rust;

/// `first_error` of a response's struct: its own error codes first, then those of what it holds.
pub fn emit(out: &mut String, fields: &[&Field]) {
    let _ = writeln!(out, "pub(crate) fn first_error(&self) -> Option<i16> {{");
    for field in fields.iter().filter(|field| is_code(field)) {
        let name = rust::snake(&field.name);
        let _ = writeln!(out, "if self.{name} != 0 {{ return Some(self.{name}); }}");
    }
    for field in fields {
        if let Some(find) = find(field) {
            let _ = writeln!(out, "if let Some(code) = {find} {{ return Some(code); }}");
        }
    }
    out.push_str("None\n}\n");
}

fn is_code(field: &Field) -> bool {
    field.ty == Type::Int16 && field.name.ends_with("ErrorCode") && !rust::is_optional(field)
}

/// The expression that looks through a field that holds structs.
fn find(field: &Field) -> Option<String> {
    let name = rust::snake(&field.name);
    let optional = rust::is_optional(field);
    match &field.ty {
        Type::Struct(_) if optional => {
            Some(format!("self.{name}.as_ref().and_then(|held| held.first_error())"))
        }
        Type::Struct(_) => Some(format!("self.{name}.first_error()")),
        Type::Array(element) if matches!(**element, Type::Struct(_)) => {
            let all = if optional { "iter().flatten()" } else { "iter()" };
            Some(format!("self.{name}.{all}.find_map(|held| held.first_error())"))
        }
        _ => None,
    }
}
