//! What a schema file says, as data.

/// Everything the schema files hold.
#[derive(Default)]
pub struct Schemas {
    pub apis: Vec<Api>,
    pub messages: Vec<Message>,
}

/// One API key; its request and response are among the messages, as `<name>Request` and `<name>Response`.
pub struct Api {
    pub key: i16,
    pub name: String,
    /// Served on the listeners of brokers, of controllers, or of both.
    pub broker: bool,
    pub controller: bool,
    /// The newest version may still change: Kafka does not advertise it unless told to.
    pub latest_unstable: bool,
}

/// A top-level message: a request, a response, a header, a record, or a plain data structure.
pub struct Message {
    pub name: String,
    pub versions: Versions,
    pub flexible: Versions,
    pub kind: Kind,
    pub fields: Vec<Field>,
    /// Structs that several fields share.
    pub structs: Vec<Struct>,
}

#[derive(PartialEq)]
pub enum Kind {
    Request,
    Response,
    /// A record of a coordinator or of the metadata log, with the type number that stands before it.
    Record(i16),
    Data,
}

pub struct Struct {
    pub name: String,
    pub versions: Versions,
    pub fields: Vec<Field>,
}

pub struct Field {
    pub name: String,
    pub ty: Type,
    pub versions: Versions,
    pub nullable: Versions,
    /// Its tag, and the versions in which it is a tagged field.
    pub tag: Option<(u32, Versions)>,
    pub default: Option<String>,
    /// A value that a version cannot carry is dropped, where otherwise encoding it is an error.
    pub ignorable: bool,
    /// Encoded the old way even in flexible versions.
    pub inflexible: bool,
    /// The fields of its own struct, where the struct is defined in place.
    pub fields: Vec<Field>,
}

#[derive(Clone, PartialEq)]
pub enum Type {
    Bool,
    Int8,
    Int16,
    Uint16,
    Int32,
    Uint32,
    Int64,
    Float64,
    String,
    Bytes,
    Records,
    Uuid,
    Struct(String),
    Array(Box<Type>),
}

/// An inclusive range of versions, possibly empty.
#[derive(Clone, Copy, PartialEq)]
pub struct Versions {
    pub first: i16,
    pub last: i16,
}

impl Versions {
    pub const NONE: Self = Self { first: 0, last: -1 };

    pub fn is_empty(self) -> bool {
        self.first > self.last
    }

    pub fn contains(self, version: i16) -> bool {
        self.first <= version && version <= self.last
    }

    pub fn and(self, other: Self) -> Self {
        let both = Self { first: self.first.max(other.first), last: self.last.min(other.last) };
        if both.is_empty() { Self::NONE } else { both }
    }

    /// Whether every version in `other` is in `self` too.
    pub fn cover(self, other: Self) -> bool {
        other.is_empty() || (self.contains(other.first) && self.contains(other.last))
    }
}

impl std::fmt::Display for Versions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.first, self.last) {
            _ if self.is_empty() => write!(f, "none"),
            (first, i16::MAX) => write!(f, "{first}+"),
            (first, last) if first == last => write!(f, "{first}"),
            (first, last) => write!(f, "{first}-{last}"),
        }
    }
}
