//! How values of each type are read and shown.

use strata_protocol::records::{Compression, TimestampType};

use super::{CleanupPolicy, CompressionType, Durability, Retention};

/// The bounds of a number, both inclusive.
#[derive(Clone, Copy)]
pub(super) struct Bounds(pub(super) i64, pub(super) i64);

impl Bounds {
    pub(super) const ANY: Self = Self(i64::MIN, i64::MAX);
    pub(super) const POSITIVE: Self = Self(1, i64::MAX);
    pub(super) const NOT_NEGATIVE: Self = Self(0, i64::MAX);
    pub(super) const INT_NOT_NEGATIVE: Self = Self(0, i32::MAX as i64);
    pub(super) const OR_MINUS_ONE: Self = Self(-1, i64::MAX);
}

pub(super) trait Value: Sized {
    /// The value, or why it cannot be one.
    fn read(text: &str, bounds: Bounds) -> Result<Self, String>;
    fn show(&self) -> String;
}

fn number(text: &str, Bounds(least, most): Bounds) -> Result<i64, String> {
    let value: i64 = text.parse().map_err(|_| "it is not a whole number".to_string())?;
    if value < least {
        Err(format!("it must be at least {least}"))
    } else if value > most {
        Err(format!("it must be at most {most}"))
    } else {
        Ok(value)
    }
}

fn one_of<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        format!("it must be one of {}", names.join(", "))
    })
}

macro_rules! whole_number {
    ($($type:ty),+) => {
        $(impl Value for $type {
            fn read(text: &str, bounds: Bounds) -> Result<Self, String> {
                number(text, bounds)?.try_into().map_err(|_| "it is out of range".to_string())
            }
            fn show(&self) -> String {
                self.to_string()
            }
        })+
    };
}

whole_number!(i32, i64, u64, usize);

/// A limit, −1 for none.
impl<T: Value> Value for Option<T> {
    fn read(text: &str, bounds: Bounds) -> Result<Self, String> {
        match number(text, bounds)? {
            -1 => Ok(None),
            _ => T::read(text, bounds).map(Some),
        }
    }
    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "-1".to_string(), Value::show)
    }
}

impl Value for f64 {
    fn read(text: &str, Bounds(least, most): Bounds) -> Result<Self, String> {
        let value: f64 = text.parse().map_err(|_| "it is not a number".to_string())?;
        if (least as f64..=most as f64).contains(&value) {
            Ok(value)
        } else {
            Err(format!("it must be between {least} and {most}"))
        }
    }
    fn show(&self) -> String {
        format!("{self:?}")
    }
}

impl Value for bool {
    fn read(text: &str, _: Bounds) -> Result<Self, String> {
        one_of(&text.to_ascii_lowercase(), &[("true", true), ("false", false)])
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    fn read(text: &str, _: Bounds) -> Result<Self, String> {
        Ok(text.to_string())
    }
    fn show(&self) -> String {
        self.clone()
    }
}

impl Value for Retention {
    fn read(text: &str, bounds: Bounds) -> Result<Self, String> {
        Ok(match number(text, bounds)? {
            -2 => Self::FollowTotal,
            -1 => Self::Unlimited,
            limit => Self::Limit(limit),
        })
    }
    fn show(&self) -> String {
        match self {
            Self::FollowTotal => "-2".to_string(),
            Self::Unlimited => "-1".to_string(),
            Self::Limit(limit) => limit.to_string(),
        }
    }
}

impl Value for CleanupPolicy {
    fn read(text: &str, _: Bounds) -> Result<Self, String> {
        let mut policy = Self { delete: false, compact: false };
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word {
                "delete" => policy.delete = true,
                "compact" => policy.compact = true,
                _ => return Err("it must be a list of compact and delete".to_string()),
            }
        }
        Ok(policy)
    }
    fn show(&self) -> String {
        let words = [(self.compact, "compact"), (self.delete, "delete")];
        words.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect::<Vec<_>>().join(",")
    }
}

const TIMESTAMP_TYPES: &[(&str, TimestampType)] =
    &[("CreateTime", TimestampType::CreateTime), ("LogAppendTime", TimestampType::LogAppendTime)];

impl Value for TimestampType {
    fn read(text: &str, _: Bounds) -> Result<Self, String> {
        one_of(text, TIMESTAMP_TYPES)
    }
    fn show(&self) -> String {
        self.name().to_string()
    }
}

const DURABILITIES: &[(&str, Durability)] = &[("disk", Durability::Disk), ("os", Durability::Os)];

impl Value for Durability {
    fn read(text: &str, _: Bounds) -> Result<Self, String> {
        one_of(text, DURABILITIES)
    }
    fn show(&self) -> String {
        match self {
            Self::Disk => "disk".to_string(),
            Self::Os => "os".to_string(),
        }
    }
}

impl Value for CompressionType {
    fn read(text: &str, _: Bounds) -> Result<Self, String> {
        match text {
            "producer" => Ok(Self::Producer),
            "uncompressed" => Ok(Self::Codec(Compression::None)),
            name => Compression::from_name(name)
                .filter(|codec| *codec != Compression::None)
                .map(Self::Codec)
                .ok_or_else(|| {
                    "it must be one of uncompressed, zstd, lz4, snappy, gzip, producer".to_string()
                }),
        }
    }
    fn show(&self) -> String {
        match self {
            Self::Producer => "producer".to_string(),
            Self::Codec(Compression::None) => "uncompressed".to_string(),
            Self::Codec(codec) => codec.name().to_string(),
        }
    }
}
