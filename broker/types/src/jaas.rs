//! JAAS entries, as `….sasl.jaas.config` holds them: a login module's class, a flag, and options; and files of them, in
//! sections.
//!
//! ```text
//! org.apache.kafka.common.security.plain.PlainLoginModule required username="admin" password="x" user_admin="x";
//!
//! KafkaServer {
//!   org.apache.kafka.common.security.plain.PlainLoginModule required user_admin="x";
//!   org.apache.kafka.common.security.scram.ScramLoginModule required;
//! };
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
    let found = entry(&mut rest)?;
    if rest.trim().is_empty() { Ok(found) } else { Err("only one login module is allowed") }
}

/// Reads a file: the entries of each section, by its name.
///
/// # Errors
/// What is wrong with the text; nothing of it is repeated, as it may be a password.
pub fn parse_file(text: &str) -> Result<BTreeMap<String, Vec<Jaas>>, &'static str> {
    let text = without_comments(text);
    let mut rest = text.trim();
    let mut sections = BTreeMap::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('{').ok_or("a section is written NAME { entries };")?;
        rest = after.trim_start();
        let mut entries = Vec::new();
        while !rest.starts_with('}') {
            entries.push(entry(&mut rest)?);
            rest = rest.trim_start();
        }
        rest = rest[1..].trim_start().strip_prefix(';').ok_or("}; ends a section")?.trim_start();
        sections.insert(name.trim().trim_matches('"').to_owned(), entries);
    }
    Ok(sections)
}

/// Reads one entry, up to and with the semicolon that ends it.
fn entry(rest: &mut &str) -> Result<Jaas, &'static str> {
    let module = word(rest).ok_or("a login module's class is missing")?;
    let flag = word(rest).unwrap_or_default().to_ascii_lowercase();
    if !["required", "requisite", "sufficient", "optional"].contains(&flag.as_str()) {
        return Err("after the login module's class stands required, requisite, sufficient or optional");
    }
    let mut options = BTreeMap::new();
    loop {
        *rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix(';') {
            *rest = after;
            return Ok(Jaas { module, options });
        }
        let (key, after) =
            rest.split_once('=').ok_or("an option is written key=\"value\", and ; ends the entry")?;
        *rest = after.trim_start();
        options.insert(key.trim().to_owned(), value(rest)?);
    }
}

/// The text without `/* … */`, `// …` and `# …`, which may stand wherever no quote is open.
fn without_comments(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(c) = rest.chars().next() {
        if rest.starts_with("//") || c == '#' {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if rest.starts_with("/*") {
            rest = rest.find("*/").map_or("", |end| &rest[end + 2..]);
            out.push(' ');
        } else {
            let end = if matches!(c, '"' | '\'') { quoted(rest, c) } else { c.len_utf8() };
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    out
}

/// How long what stands in quotes is, at the start of the text.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    let end = text[1..].find(|c: char| {
        let ends = !escaped && c == quote;
        escaped = !escaped && c == '\\';
        ends
    });
    end.map_or(text.len(), |end| end + 2)
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
    fn a_file_has_sections_of_entries_and_comments() {
        let text = "/* who */ KafkaServer {\n  a.PlainLoginModule required // us\n  user_a=\"x//y\"\n  user_b='#';\n\
                    # and\n  b.ScramLoginModule required;\n};\n\"sasl_ssl.KafkaServer\" { c.M optional; };\nClient{};";
        let sections = parse_file(text).unwrap();
        let names: Vec<_> = sections.keys().map(String::as_str).collect();
        assert_eq!(names, ["Client", "KafkaServer", "sasl_ssl.KafkaServer"]);
        let [plain, scram] = &sections["KafkaServer"][..] else { panic!("two entries") };
        assert_eq!((plain.options["user_a"].as_str(), plain.options["user_b"].as_str()), ("x//y", "#"));
        assert_eq!(scram.module, "b.ScramLoginModule");
        assert_eq!(parse_file(" \n"), Ok(BTreeMap::new()));
        for wrong in [
            "KafkaServer",
            "KafkaServer {",
            "A { x required }",
            "A { x required; }",
            "A { x required;",
            "A { x y; };",
        ] {
            assert!(parse_file(wrong).is_err(), "{wrong}");
        }
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
