//! The syntax of `server.properties` and `client.properties`: that of `java.util.Properties`.
//!
//! ```text
//! # a comment, as is a line that starts with !
//! log.dirs=/var/lib/strata
//! listeners = PLAINTEXT://:9092,\
//!             CONTROLLER://:9093
//! ```
//!
//! A key ends at the first unescaped `=`, `:` or blank. A backslash at the end of a line joins the next one to it, less
//! that line's leading blanks. `\t`, `\n`, `\r`, `\f` and `\uXXXX` are what they are in Java; any other escaped character
//! is itself.

/// A text that is no list of properties.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the properties: {what}")]
pub struct SyntaxError {
    pub line: usize,
    pub what: &'static str,
}

/// The keys and values of `text`, in order. A key that is set twice is there twice; the last one counts.
pub fn parse(text: &str) -> Result<Vec<(String, String)>, SyntaxError> {
    let mut pairs = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let line = line.trim_start_matches(is_blank);
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = line.to_owned();
        while ends_open(&logical) {
            logical.pop();
            match lines.next() {
                Some((_, next)) => logical.push_str(next.trim_start_matches(is_blank)),
                None => break,
            }
        }
        let pair = pair(&logical).map_err(|what| SyntaxError { line: number + 1, what })?;
        pairs.push(pair);
    }
    Ok(pairs)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

/// Whether the last backslash escapes the end of the line: an odd number of them stands there.
fn ends_open(line: &str) -> bool {
    line.bytes().rev().take_while(|&b| b == b'\\').count() % 2 == 1
}

fn pair(line: &str) -> Result<(String, String), &'static str> {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let ends = !escaped && (is_blank(c) || c == '=' || c == ':');
        escaped = !escaped && c == '\\';
        ends
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start_matches(is_blank);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start_matches(is_blank);
    Ok((unescape(key)?, unescape(value)?))
}

fn unescape(text: &str) -> Result<String, &'static str> {
    let mut out = String::with_capacity(text.len());
    let mut units: Vec<u16> = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            flush_units(&mut units, &mut out)?;
            out.push(c);
            continue;
        }
        match chars.next() {
            // `\u` names UTF-16 units, so that a character outside the first plane is two of them.
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                let unit = (digits.len() == 4).then(|| u16::from_str_radix(&digits, 16).ok()).flatten();
                units.push(unit.ok_or("\\u wants four hexadecimal digits")?);
                continue;
            }
            other => {
                flush_units(&mut units, &mut out)?;
                match other {
                    Some('t') => out.push('\t'),
                    Some('n') => out.push('\n'),
                    Some('r') => out.push('\r'),
                    Some('f') => out.push('\u{c}'),
                    Some(c) => out.push(c),
                    None => {}
                }
            }
        }
    }
    flush_units(&mut units, &mut out)?;
    Ok(out)
}

fn flush_units(units: &mut Vec<u16>, out: &mut String) -> Result<(), &'static str> {
    if !units.is_empty() {
        out.push_str(&String::from_utf16(units).map_err(|_| "\\u escapes do not make a character")?);
        units.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> (String, String) {
        parse(text).unwrap().remove(0)
    }

    #[test]
    fn properties_read_as_java_reads_them() {
        for (text, key, value) in [
            ("a=b", "a", "b"),
            ("  a : b ", "a", "b "),
            ("a b c", "a", "b c"),
            ("a", "a", ""),
            ("a=", "a", ""),
            ("a\\=b=c", "a=b", "c"),
            ("a = = b", "a", "= b"),
            ("a=x,\\\n   y,\\\n\tz", "a", "x,y,z"),
            ("a=x\\\\\nb=2", "a", "x\\"),
            ("a=\\u00e9\\t\\ud83d\\ude00", "a", "é\t😀"),
            ("a=b\r\n", "a", "b"),
            ("a=trailing\\", "a", "trailing"),
            ("log.dirs=C:\\:x", "log.dirs", "C::x"),
        ] {
            assert_eq!(one(text), (key.to_owned(), value.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn comments_and_blank_lines_say_nothing() {
        assert_eq!(parse("# a=b\n\n   ! c=d\n \t\n").unwrap(), []);
        // A comment does not continue.
        assert_eq!(parse("# a \\\nb=c").unwrap(), [("b".to_owned(), "c".to_owned())]);
    }

    #[test]
    fn a_bad_escape_names_its_line() {
        let error = parse("a=b\nc=\\u12x4\n").unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
        assert!(parse("a=\\ud800").is_err());
    }
}
