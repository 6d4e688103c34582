use std::io::{self, Write};
use std::str::FromStr;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::json::writer::{LineDelimited, WriterBuilder};
use arrow::util::display::FormatOptions;
use arrow::util::pretty::pretty_format_batches_with_options;

use crate::engine::QueryResult;
use crate::error::QueryError;

/// Rows that are laid out as one table, so that its columns line up; longer results are several tables.
const TABLE_ROWS_MAX: usize = 1_000;

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Lines and columns, for people.
    #[default]
    Table,
    /// One object per line. Binary values are hexadecimal.
    Json,
    /// With a line of names. Binary values are hexadecimal.
    Csv,
}

/// Why rows could not be printed.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error("writing rows: {0}")]
    Write(#[from] io::Error),
    #[error("printing rows: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            "csv" => Ok(Self::Csv),
            other => Err(format!("'{other}' is none of table, json, csv")),
        }
    }
}

impl Format {
    /// Prints rows as they come, and answers how many there were.
    pub async fn write(self, out: &mut impl Write, mut rows: QueryResult) -> Result<usize, FormatError> {
        let mut printer = Printer::new(self, rows.schema());
        while let Some(batch) = rows.next().await {
            printer.push(out, batch?)?;
        }
        printer.finish(out)
    }
}

struct Printer {
    format: Format,
    schema: SchemaRef,
    held: Vec<RecordBatch>,
    held_rows: usize,
    rows: usize,
    started: bool,
}

impl Printer {
    fn new(format: Format, schema: SchemaRef) -> Self {
        Self { format, schema, held: Vec::new(), held_rows: 0, rows: 0, started: false }
    }

    fn push(&mut self, out: &mut impl Write, batch: RecordBatch) -> Result<(), FormatError> {
        self.rows += batch.num_rows();
        match self.format {
            Format::Table => {
                self.held_rows += batch.num_rows();
                self.held.push(batch);
                if self.held_rows >= TABLE_ROWS_MAX {
                    self.print_table(out)?;
                }
            }
            Format::Json => {
                let builder = WriterBuilder::new().with_explicit_nulls(true);
                let mut writer = builder.build::<_, LineDelimited>(&mut *out);
                writer.write(&batch)?;
                writer.finish()?;
            }
            Format::Csv => self.print_csv(out, &csv_columns(&batch)?)?,
        }
        Ok(())
    }

    fn finish(mut self, out: &mut impl Write) -> Result<usize, FormatError> {
        match self.format {
            Format::Table if self.held_rows > 0 || !self.started => self.print_table(out)?,
            Format::Csv if !self.started => {
                let empty = RecordBatch::new_empty(self.schema.clone());
                self.print_csv(out, &csv_columns(&empty)?)?;
            }
            _ => {}
        }
        out.flush()?;
        Ok(self.rows)
    }

    fn print_table(&mut self, out: &mut impl Write) -> Result<(), FormatError> {
        let mut held = std::mem::take(&mut self.held);
        if held.is_empty() {
            held.push(RecordBatch::new_empty(self.schema.clone()));
        }
        let options = FormatOptions::default().with_display_error(true);
        writeln!(out, "{}", pretty_format_batches_with_options(&held, &options)?)?;
        (self.held_rows, self.started) = (0, true);
        Ok(())
    }

    fn print_csv(&mut self, out: &mut impl Write, batch: &RecordBatch) -> Result<(), FormatError> {
        let header = !self.started;
        let mut writer = arrow::csv::WriterBuilder::new().with_header(header).build(&mut *out);
        writer.write(batch)?;
        self.started = true;
        Ok(())
    }
}

/// CSV has no nested values: lists and structs are printed as a table prints them.
fn csv_columns(batch: &RecordBatch) -> Result<RecordBatch, FormatError> {
    use arrow::array::{ArrayRef, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use arrow::util::display::ArrayFormatter;

    let options = FormatOptions::default();
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if column.data_type().is_nested() {
            let formatter = ArrayFormatter::try_new(column, &options)?;
            let texts =
                (0..column.len()).map(|row| (!column.is_null(row)).then(|| formatter.value(row).to_string()));
            columns.push(std::sync::Arc::new(texts.collect::<StringArray>()));
            fields.push(Field::new(field.name(), DataType::Utf8, true));
        } else {
            columns.push(column.clone());
            fields.push(field.as_ref().clone());
        }
    }
    Ok(RecordBatch::try_new(std::sync::Arc::new(Schema::new(fields)), columns)?)
}
