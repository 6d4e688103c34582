//! Whose a certificate is: its subject as Java writes it (RFC 2253), and `ssl.principal.mapping.rules` over that (KIP-371).

use std::fmt::Write as _;

use regex::Regex;
use x509_cert::Certificate;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::asn1::{Ia5StringRef, PrintableStringRef, TeletexStringRef, Utf8StringRef};
use x509_cert::der::{Decode, Encode, Tag, Tagged};

/// The most rules, and the largest pattern.
const RULES_MAX: usize = 100;
const PATTERN_BYTES_MAX: usize = 4 * 1024;

/// The subject of a certificate: `CN=a,OU=b`, the last part first.
pub(super) fn distinguished_name(certificate: &[u8]) -> Result<String, String> {
    let certificate = Certificate::from_der(certificate)
        .map_err(|error| format!("the certificate cannot be read: {error}"))?;
    let mut out = String::new();
    let parts: Vec<_> = certificate.tbs_certificate().subject().iter_rdn().collect();
    for (i, part) in parts.into_iter().rev().enumerate() {
        if i > 0 {
            out.push(',');
        }
        for (j, attribute) in part.iter().enumerate() {
            if j > 0 {
                out.push('+');
            }
            write_attribute(&mut out, attribute);
        }
    }
    Ok(out)
}

fn write_attribute(out: &mut String, attribute: &AttributeTypeAndValue) {
    let oid = attribute.oid.to_string();
    // The types that RFC 2253 names; Java writes every other one by its number, and its value in hexadecimal.
    let keyword = match oid.as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.25" => "DC",
        "0.9.2342.19200300.100.1.1" => "UID",
        _ => "",
    };
    let text = if keyword.is_empty() { None } else { text(attribute) };
    match text {
        Some(text) => {
            let _ = write!(out, "{keyword}=");
            escape(out, &text);
        }
        None => {
            let _ = write!(out, "{}=#", if keyword.is_empty() { &oid } else { keyword });
            for byte in attribute.value.to_der().unwrap_or_default() {
                let _ = write!(out, "{byte:02x}");
            }
        }
    }
}

fn text(attribute: &AttributeTypeAndValue) -> Option<String> {
    let value = &attribute.value;
    match value.tag() {
        Tag::Utf8String => value.decode_as::<Utf8StringRef<'_>>().ok().map(|s| s.as_str().to_owned()),
        Tag::PrintableString => {
            value.decode_as::<PrintableStringRef<'_>>().ok().map(|s| s.as_str().to_owned())
        }
        Tag::Ia5String => value.decode_as::<Ia5StringRef<'_>>().ok().map(|s| s.as_str().to_owned()),
        Tag::TeletexString => value.decode_as::<TeletexStringRef<'_>>().ok().map(|s| s.as_str().to_owned()),
        _ => None,
    }
}

/// RFC 2253, 2.4: special characters, a blank at an end and `#` at the start are escaped.
fn escape(out: &mut String, text: &str) {
    let last = text.chars().count().saturating_sub(1);
    for (i, c) in text.chars().enumerate() {
        let special = matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';');
        if special || (c == ' ' && (i == 0 || i == last)) || (c == '#' && i == 0) {
            out.push('\\');
        }
        out.push(c);
    }
}

/// `ssl.principal.mapping.rules`: `RULE:pattern/replacement/[LU]` or `DEFAULT`, by commas; the first that applies counts.
pub(crate) struct MappingRules(Vec<Rule>);

enum Rule {
    Default,
    Map { pattern: Regex, replacement: String, case: Option<char> },
}

impl MappingRules {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut rules = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            if rules.len() == RULES_MAX {
                return Err(format!("more than {RULES_MAX} rules"));
            }
            if let Some(after) = rest.strip_prefix("DEFAULT") {
                rules.push(Rule::Default);
                rest = after;
            } else if let Some(after) = rest.strip_prefix("RULE:") {
                let (pattern, after) = until_slash(after).ok_or("a rule lacks a /")?;
                let (replacement, after) = until_slash(after).ok_or("a rule lacks its second /")?;
                let case = after.chars().next().filter(|c| matches!(c, 'L' | 'U'));
                rest = &after[case.map_or(0, char::len_utf8)..];
                if pattern.len() > PATTERN_BYTES_MAX {
                    return Err(format!("a pattern of more than {PATTERN_BYTES_MAX} bytes"));
                }
                let pattern = Regex::new(&format!("^(?:{pattern})$")).map_err(|error| error.to_string())?;
                rules.push(Rule::Map { pattern, replacement: braced(replacement), case });
            } else {
                return Err("a rule is RULE:pattern/replacement/[LU] or DEFAULT".to_owned());
            }
            rest = rest.trim_start();
            rest = match rest.strip_prefix(',') {
                Some(after) => after.trim_start(),
                None if rest.is_empty() => rest,
                None => return Err("a comma parts two rules".to_owned()),
            };
        }
        if rules.is_empty() { Ok(Self(vec![Rule::Default])) } else { Ok(Self(rules)) }
    }

    pub(super) fn apply(&self, name: &str) -> Option<String> {
        self.0.iter().find_map(|rule| match rule {
            Rule::Default => Some(name.to_owned()),
            Rule::Map { pattern, replacement, case } => {
                let captures = pattern.captures(name)?;
                let mut out = String::new();
                captures.expand(replacement, &mut out);
                Some(match case {
                    Some('L') => out.to_lowercase(),
                    Some('U') => out.to_uppercase(),
                    _ => out,
                })
            }
        })
    }
}

/// What stands before the next slash that no backslash escapes, and what follows it.
fn until_slash(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    let end = text.find(|c: char| {
        let ends = !escaped && c == '/';
        escaped = !escaped && c == '\\';
        ends
    })?;
    Some((&text[..end], &text[end + 1..]))
}

/// `$1` as Java means it: one group, whatever letters follow.
fn braced(replacement: &str) -> String {
    let mut out = String::new();
    let mut chars = replacement.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('$', Some(digit)) if digit.is_ascii_digit() => {
                out.push_str("${");
                while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                    out.push(digit);
                }
                out.push('}');
            }
            ('\\', Some('$')) => {
                chars.next();
                out.push_str("$$");
            }
            ('\\', Some(_)) => out.extend(chars.next()),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_map_as_kafka_maps_them() {
        let rules = "RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/,\
                     RULE:^CN=(.*?),OU=(.*?),O=(.*?),L=(.*?),ST=(.*?),C=(.*?)$/$1@$2/L,\
                     RULE:^.*[Cc][Nn]=([a-zA-Z0-9.]*).*$/$1/U,DEFAULT";
        let rules = MappingRules::parse(rules).unwrap();
        for (name, mapped) in [
            ("CN=kafka-server,OU=ServiceUsers,O=x,C=y", "kafka-server"),
            ("CN=Duke,OU=JavaSoft,O=Sun,L=a,ST=b,C=US", "duke@javasoft"),
            ("OU=x,CN=abc", "ABC"),
            ("O=x", "O=x"),
        ] {
            assert_eq!(rules.apply(name).as_deref(), Some(mapped), "{name}");
        }
        assert_eq!(MappingRules::parse("RULE:^CN=a$/b/").unwrap().apply("CN=c"), None);
        for wrong in ["RULE:a", "RULE:a/b", "NONE", "RULE:(/b/", "DEFAULT DEFAULT"] {
            assert!(MappingRules::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn values_are_escaped_as_java_escapes_them() {
        let mut out = String::new();
        escape(&mut out, " #a,b+c \\");
        assert_eq!(out, "\\ #a\\,b\\+c \\\\");
    }
}
