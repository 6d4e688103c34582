use std::any::Any;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use serde_json::Value;

/// `json_get(text, path)`: a value within a JSON text, as text: `json_get(value, 'customer.id')`, `'items.0.sku'`. Null
/// where the text is no JSON or has nothing there, and for JSON's own null; objects and arrays as JSON.
pub(crate) fn json_get() -> ScalarUDF {
    let arguments = vec![DataType::Utf8, DataType::Utf8];
    ScalarUDF::from(JsonGet { signature: Signature::exact(arguments, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonGet {
    signature: Signature,
}

impl ScalarUDFImpl for JsonGet {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &str {
        "json_get"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let (texts, paths) = (strings(&columns[0])?, strings(&columns[1])?);
        let mut found = StringBuilder::new();
        for (text, path) in texts.iter().zip(paths.iter()) {
            let value = text.zip(path).and_then(|(text, path)| get(text, path));
            found.append_option(value);
        }
        Ok(ColumnarValue::Array(Arc::new(found.finish())))
    }
}

fn strings(column: &ArrayRef) -> Result<StringArray> {
    let column = cast(column, &DataType::Utf8)?;
    Ok(StringArray::from(column.to_data()))
}

fn get(text: &str, path: &str) -> Option<String> {
    let root: Value = serde_json::from_str(text).ok()?;
    let mut value = &root;
    for step in path.split('.').filter(|step| !step.is_empty()) {
        value = match value {
            Value::Object(fields) => fields.get(step)?,
            Value::Array(items) => items.get(step.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::get;

    #[test]
    fn a_path_names_fields_and_positions() {
        let order = r#"{"id": 7, "items": [{"sku": "a"}, {"sku": "b", "n": null}], "open": true}"#;
        for (path, expected) in [
            ("id", Some("7")),
            ("open", Some("true")),
            ("items.1.sku", Some("b")),
            ("items.0", Some(r#"{"sku":"a"}"#)),
            ("items.1.n", None),
            ("items.2.sku", None),
            ("id.x", None),
            ("items.x", None),
        ] {
            assert_eq!(get(order, path).as_deref(), expected, "{path}");
        }
        assert_eq!(get("no json", "id"), None);
    }
}
