//! JAAS entries, as `….sasl.jaas.config` holds them: a login module's class, a flag, and options.
//!
//! ```text
//! org.apache.kafka.common.security.plain.PlainLoginModule required username="admin" password="x" user_admin="x";
//! ```

use std::collections::BTreeMap;

/// One entry.
#[derive(Clone, PartialEq, Eq)]
pub struct Jaas {
    pub module: String,
    pub options: BTreeMap<String, String>,
}

/// The options hold passwords.
impl std::fmt::Debug for Jaas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Jaas({}, [hidden])", self.module)
    }
}

/// Reads the one entry that a setting may hold.
///
/// # Errors
/// What is wrong with the text; nothing of it is repeated, as it may be a password.
pub fn parse(text: &str) -> Result<Jaas, &'static str> {
    let mut rest = text.trim();
    let module = word(&mut rest).ok_or("a login module's class is missing")?;
    let flag = word(&mut rest).unwrap_or_default().to_ascii_lowercase();
    if !["required", "requisite", "sufficient", "optional"].contains(&flag.as_str()) {
        return Err("after the login module's class stands required, requisite, sufficient or optional");
    }
    let mut options = BTreeMap::new();
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix(';') {
            return match after.trim().is_empty() {
                true => Ok(Jaas { module, options }),
                false => Err("only one login module is allowed"),
            };
        }
        let (key, after) =
            rest.split_once('=').ok_or("an option is written key=\"value\", and ; ends the entry")?;
        rest = after.trim_start();
        options.insert(key.trim().to_owned(), value(&mut rest)?);
    }
}

fn word(rest: &mut &str) -> Option<String> {
    *rest = rest.trim_start();
    let end = rest.find(|c: char| c.is_whitespace() || c == ';').unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    *rest = after;
    (!word.is_empty()).then(|| word.to_owned())
}

/// A value, in quotes or bare; a backslash in quotes takes the next character as it is.
fn value(rest: &mut &str) -> Result<String, &'static str> {
    let Some(quote) = rest.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        return word(rest).ok_or("an option has no value");
    };
    let mut out = String::new();
    let mut chars = rest[1..].char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => out.extend(chars.next().map(|(_, c)| c)),
            c if c == quote => {
                *rest = &rest[at + 2..];
                return Ok(out);
            }
            c => out.push(c),
        }
    }
    Err("a quote is not closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_reads_as_java_reads_it() {
        let jaas = parse(
            "org.example.PlainLoginModule required\n username=\"a\" password='b;\"c' user_x=\"p\\\"q\" bare=1;",
        )
        .unwrap();
        assert_eq!(jaas.module, "org.example.PlainLoginModule");
        let options: Vec<_> = jaas.options.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(options, [("bare", "1"), ("password", "b;\"c"), ("user_x", "p\"q"), ("username", "a")]);
        assert!(!format!("{jaas:?}").contains("p\"q"));
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        for text in [
            "",
            "x",
            "x maybe;",
            "x required a",
            "x required a=\"b",
            "x required a=b",
            "x required; y required;",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
