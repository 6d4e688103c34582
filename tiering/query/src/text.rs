use std::any::Any;
use std::sync::Arc;

use arrow::array::{Array, AsArray, StringBuilder};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// `text(binary)`: the bytes as text, or null where they are not UTF-8. (A cast would end the query there.)
pub(crate) fn text() -> ScalarUDF {
    ScalarUDF::from(Text { signature: Signature::exact(vec![DataType::Binary], Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Text {
    signature: Signature,
}

impl ScalarUDFImpl for Text {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &str {
        "text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.first() {
            Some(ColumnarValue::Array(array)) => {
                let bytes = array.as_binary::<i32>();
                let mut text = StringBuilder::with_capacity(bytes.len(), bytes.value_data().len());
                for value in bytes {
                    text.append_option(value.and_then(|value| std::str::from_utf8(value).ok()));
                }
                Ok(ColumnarValue::Array(Arc::new(text.finish())))
            }
            Some(ColumnarValue::Scalar(ScalarValue::Binary(Some(bytes)))) => {
                let text = std::str::from_utf8(bytes).ok().map(str::to_owned);
                Ok(ColumnarValue::Scalar(ScalarValue::Utf8(text)))
            }
            _ => Ok(ColumnarValue::Scalar(ScalarValue::Utf8(None))),
        }
    }
}
