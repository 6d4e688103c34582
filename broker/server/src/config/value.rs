//! Types of settings, and what a value may be: read from the notation that Kafka's own documentation uses
//! (`[0,...]`, `[1,...,9] or -1`, `[compact, delete]`, `non-empty string`).

use std::fmt;

/// A setting's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    String,
    Int,
    Short,
    Long,
    Double,
    List,
    Class,
    Password,
}

/// Why a value is not one: what is allowed instead, to stand after the key and the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Problem(String);

impl Kind {
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "boolean" => Self::Boolean,
            "string" => Self::String,
            "int" => Self::Int,
            "short" => Self::Short,
            "long" => Self::Long,
            "double" => Self::Double,
            "list" => Self::List,
            "class" => Self::Class,
            "password" => Self::Password,
            _ => return None,
        })
    }

    pub(crate) fn check(self, text: &str) -> Result<(), Problem> {
        let text = text.trim();
        let (ok, wanted) = match self {
            Self::Boolean => (parse_boolean(text).is_some(), "true or false"),
            Self::Int => (text.parse::<i32>().is_ok(), "a whole number of 32 bits"),
            Self::Short => (text.parse::<i16>().is_ok(), "a whole number of 16 bits"),
            Self::Long => (text.parse::<i64>().is_ok(), "a whole number of 64 bits"),
            Self::Double => (text.parse::<f64>().is_ok_and(f64::is_finite), "a number"),
            Self::String | Self::List | Self::Class | Self::Password => (true, ""),
        };
        if ok { Ok(()) } else { Err(Problem(format!("allowed is {wanted}"))) }
    }

    /// What Kafka says of a text that is not of this type.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Boolean => "Expected value to be either true or false",
            Self::Int => "Not a number of type INT",
            Self::Short => "Not a number of type SHORT",
            Self::Long => "Not a number of type LONG",
            Self::Double => "Not a number of type DOUBLE",
            Self::String | Self::List | Self::Class | Self::Password => "Not a text",
        }
    }

    /// The number by which DescribeConfigs names the type (KIP-569).
    pub fn code(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::String => 2,
            Self::Int => 3,
            Self::Short => 4,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
            Self::Class => 8,
            Self::Password => 9,
        }
    }
}

/// `true` or `false` in any case, as Kafka takes them.
pub(super) fn parse_boolean(text: &str) -> Option<bool> {
    match text.trim() {
        t if t.eq_ignore_ascii_case("true") => Some(true),
        t if t.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// The entries of a list: commas part them, blanks around them do not count.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

/// What a setting's value may be beyond its type.
#[derive(Debug, PartialEq)]
pub enum Allowed {
    Anything,
    NotEmpty,
    /// From, to, and one value outside that is allowed too.
    Range(f64, Option<f64>, Option<f64>),
    /// One of these words, or a list of them; the flag: in any case.
    Words(Vec<&'static str>, bool),
}

impl Allowed {
    pub(super) fn parse(text: &'static str) -> Self {
        let (ignore_case, text) = match text.strip_prefix("(case insensitive) ") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if text.starts_with("non-empty") {
            return Self::NotEmpty;
        }
        let (body, also) = match text.split_once(" or ") {
            Some((body, also)) => (body, also.parse().ok()),
            None => (text, None),
        };
        // The throttled replicas' notation is no list of words; their form is checked where they are used.
        let Some(body) =
            body.strip_prefix('[').and_then(|b| b.strip_suffix(']')).filter(|b| !b.contains(':'))
        else {
            return Self::Anything;
        };
        match body.split_once(",...") {
            Some((from, to)) => match from.parse() {
                Ok(from) => Self::Range(from, to.strip_prefix(',').and_then(|to| to.parse().ok()), also),
                Err(_) => Self::Anything,
            },
            None => Self::Words(body.split(", ").collect(), ignore_case),
        }
    }

    pub(super) fn check(&self, kind: Kind, text: &str) -> Result<(), Problem> {
        let ok = match self {
            Self::Anything => true,
            Self::NotEmpty => !text.trim().is_empty(),
            Self::Range(from, to, also) => text.trim().parse().is_ok_and(|value: f64| {
                Some(value) == *also || (value >= *from && to.is_none_or(|to| value <= to))
            }),
            Self::Words(words, ignore_case) => {
                let known = |entry: &str| {
                    words.iter().any(|w| *w == entry || (*ignore_case && w.eq_ignore_ascii_case(entry)))
                };
                if kind == Kind::List { list(text).all(known) } else { known(text.trim()) }
            }
        };
        if ok { Ok(()) } else { Err(Problem(format!("allowed is {self}"))) }
    }
}

impl Allowed {
    /// What Kafka says of a value that is not allowed; `None` where it depends on more than the value.
    pub(super) fn words(&self, text: &str) -> Option<String> {
        match self {
            Self::NotEmpty => Some("String must be non-empty".to_owned()),
            Self::Range(from, to, None) => {
                let value: f64 = text.trim().parse().ok()?;
                match to.filter(|to| value > *to) {
                    Some(to) => Some(format!("Value must be no more than {to}")),
                    None => Some(format!("Value must be at least {from}")),
                }
            }
            Self::Words(words, false) => Some(format!("String must be one of: {}", words.join(", "))),
            Self::Words(words, true) => {
                Some(format!("String must be one of (case insensitive): {}", words.join(", ")))
            }
            Self::Anything | Self::Range(..) => None,
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anything => f.write_str("any value"),
            Self::NotEmpty => f.write_str("a value that is not empty"),
            Self::Range(from, to, also) => {
                match to {
                    Some(to) => write!(f, "{from} to {to}")?,
                    None => write!(f, "{from} or more")?,
                }
                also.map_or(Ok(()), |also| write!(f, ", or {also}"))
            }
            Self::Words(words, _) => write!(f, "{}", words.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_notation_is_understood() {
        for (notation, kind, good, bad) in [
            ("[0,...]", Kind::Int, &["0", " 7 "][..], &["-1"][..]),
            ("[1,...,9] or -1", Kind::Int, &["1", "9", "-1"], &["0", "10"]),
            ("[0,...,1]", Kind::Double, &["0.5"], &["1.5"]),
            ("[compact, delete]", Kind::List, &["delete", "compact,delete", ""], &["archive"]),
            ("[CreateTime, LogAppendTime]", Kind::String, &["CreateTime"], &["createtime", ""]),
            ("(case insensitive) [ES256, RS256]", Kind::String, &["es256"], &["none"]),
            ("non-empty string", Kind::String, &["x"], &["", " "]),
            ("-", Kind::String, &["", "x"], &[]),
        ] {
            let allowed = Allowed::parse(notation);
            assert!(good.iter().all(|v| allowed.check(kind, v).is_ok()), "{notation}");
            assert!(bad.iter().all(|v| allowed.check(kind, v).is_err()), "{notation}");
        }
    }

    #[test]
    fn types_are_checked() {
        assert!(Kind::Int.check("2147483648").is_err());
        assert!(Kind::Long.check("2147483648").is_ok());
        assert!(Kind::Boolean.check("TRUE").is_ok());
        assert!(Kind::Boolean.check("yes").is_err());
        assert!(Kind::Double.check("NaN").is_err());
    }
}
