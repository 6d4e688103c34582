//! The part of OpenTelemetry's `MetricsData` that clients push: numbers, as gauges and sums. Histograms and what is not known are
//! skipped.
//!
//! ```text
//! MetricsData.resource_metrics(1)* ─▶ .scope_metrics(2)* ─▶ .metrics(2)* ─▶ name(1), gauge(5) | sum(7) ─▶ .data_points(1)*
//! data point: attributes(7)*, as_double(4), as_int(6)
//! ```
//!
//! Read by hand: four nested messages and five fields do not pay for a library and its generated code. Nothing is allocated by
//! a length that is not there, and nesting is as deep as the functions below.

/// The longest text that is kept of a name or of a point's attributes.
const TEXT_BYTES_MAX: usize = 512;

/// One number that a client tells.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    pub name: String,
    /// `key=value` pairs, by commas.
    pub attributes: String,
    pub value: f64,
}

/// Bytes that are no protocol buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the metrics are not OTLP")]
pub(crate) struct Malformed;

enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

/// The fields of a message, in order.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u64, Value<'a>), Malformed> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().map_err(|_| Malformed)?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
                Value::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Value::Fixed32
            }
            _ => return Err(Malformed),
        };
        Ok((tag >> 3, value))
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for place in 0..10 {
            let (&byte, rest) = self.0.split_first().ok_or(Malformed)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }
}

/// Calls `each` with every submessage of this number.
fn each<'a>(
    message: &'a [u8],
    number: u64,
    mut each: impl FnMut(&'a [u8]) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    for field in Fields(message) {
        if let (found, Value::Bytes(bytes)) = field?
            && found == number
        {
            each(bytes)?;
        }
    }
    Ok(())
}

/// The numbers in a push, at most `points_max` of them.
pub(crate) fn points(metrics_data: &[u8], points_max: usize) -> Result<Vec<Point>, Malformed> {
    let mut found = Vec::new();
    each(metrics_data, 1, |resource| {
        each(resource, 2, |scope| each(scope, 2, |metric| read_metric(metric, points_max, &mut found)))
    })?;
    Ok(found)
}

fn read_metric(metric: &[u8], points_max: usize, found: &mut Vec<Point>) -> Result<(), Malformed> {
    let mut name = String::new();
    each(metric, 1, |text| {
        name = shortened(text);
        Ok(())
    })?;
    for kind in [5, 7] {
        each(metric, kind, |data| {
            each(data, 1, |point| {
                if found.len() < points_max
                    && let Some((attributes, value)) = read_point(point)?
                {
                    found.push(Point { name: name.clone(), attributes, value });
                }
                Ok(())
            })
        })?;
    }
    Ok(())
}

fn read_point(point: &[u8]) -> Result<Option<(String, f64)>, Malformed> {
    let (mut attributes, mut value) = (String::new(), None);
    for field in Fields(point) {
        match field? {
            (4, Value::Fixed64(bits)) => value = Some(f64::from_bits(bits)),
            (6, Value::Fixed64(bits)) => value = Some(bits as i64 as f64),
            (7, Value::Bytes(pair)) if attributes.len() < TEXT_BYTES_MAX => {
                if !attributes.is_empty() {
                    attributes.push(',');
                }
                attributes.push_str(&read_pair(pair)?);
            }
            _ => {}
        }
    }
    Ok(value.map(|value| (attributes, value)))
}

/// An attribute: a key (1) and a value (2) that is a text (1), a truth (2), a whole number (3) or a number (4).
fn read_pair(pair: &[u8]) -> Result<String, Malformed> {
    let (mut key, mut text) = (String::new(), String::new());
    for field in Fields(pair) {
        match field? {
            (1, Value::Bytes(name)) => key = shortened(name),
            (2, Value::Bytes(any)) => {
                for field in Fields(any) {
                    text = match field? {
                        (1, Value::Bytes(words)) => shortened(words),
                        (2, Value::Varint(truth)) => (truth != 0).to_string(),
                        (3, Value::Varint(number)) => (number as i64).to_string(),
                        (4, Value::Fixed64(bits)) => f64::from_bits(bits).to_string(),
                        _ => continue,
                    };
                }
            }
            _ => {}
        }
    }
    Ok(format!("{key}={text}"))
}

fn shortened(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(TEXT_BYTES_MAX)]).into_owned()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn message(number: u8, body: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, body.len() as u8][..], body].concat()
    }

    /// One gauge with one attribute, and one sum.
    pub(crate) fn sample() -> Vec<u8> {
        let pair = [message(1, b"node"), message(2, &message(1, b"3"))].concat();
        let double = [&[4 << 3 | 1][..], &2.5f64.to_le_bytes(), &message(7, &pair)].concat();
        let whole = [&[6 << 3 | 1][..], &(-7i64).to_le_bytes()].concat();
        let gauge = [message(1, b"a.b"), message(5, &message(1, &double))].concat();
        let sum = [message(1, b"c"), message(7, &message(1, &whole))].concat();
        message(1, &message(2, &[message(2, &gauge), message(2, &sum)].concat()))
    }

    #[test]
    fn numbers_are_read_with_their_attributes() {
        let points = points(&sample(), 10).unwrap();
        let expected = [
            Point { name: "a.b".into(), attributes: "node=3".into(), value: 2.5 },
            Point { name: "c".into(), attributes: String::new(), value: -7.0 },
        ];
        assert_eq!(points, expected);
    }

    #[test]
    fn no_more_points_are_read_than_asked_for() {
        assert_eq!(points(&sample(), 1).unwrap().len(), 1);
    }

    #[test]
    fn every_cut_and_every_byte_is_an_error_or_metrics_and_no_panic() {
        let whole = sample();
        for end in 1..whole.len() {
            let _ = points(&whole[..end], 10);
        }
        for byte in 0..=255 {
            for place in 0..whole.len() {
                let mut changed = whole.clone();
                changed[place] = byte;
                let _ = points(&changed, 10);
            }
        }
        assert_eq!(points(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f], 10), Err(Malformed));
    }
}
