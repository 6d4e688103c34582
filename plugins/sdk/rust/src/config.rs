//! A plugin's own description, and the config that it is started with.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use crate::Error;
use crate::bindings::topology::strata::plugin::types;

/// Name, version and the config keys that a plugin takes.
#[derive(Debug)]
pub struct Descriptor(pub(crate) types::Descriptor);

impl Descriptor {
    pub fn new(name: &str, version: &str, description: &str) -> Self {
        Descriptor(types::Descriptor {
            name: name.into(),
            version: version.into(),
            description: description.into(),
            config: Vec::new(),
        })
    }

    /// A key that must be set.
    pub fn required(self, name: &str, doc: &str) -> Self {
        self.key(name, types::ConfigKind::String, None, doc)
    }

    /// A key with a default.
    pub fn optional(self, name: &str, default: &str, doc: &str) -> Self {
        self.key(name, types::ConfigKind::String, Some(default), doc)
    }

    /// A whole number with a default.
    pub fn number(self, name: &str, default: i64, doc: &str) -> Self {
        self.key(name, types::ConfigKind::Int, Some(&default.to_string()), doc)
    }

    fn key(mut self, name: &str, kind: types::ConfigKind, default: Option<&str>, doc: &str) -> Self {
        self.0.config.push(types::ConfigKey {
            name: name.into(),
            kind,
            default: default.map(Into::into),
            required: default.is_none(),
            doc: doc.into(),
        });
        self
    }
}

/// What the plugin is started with. Keys that are not set have the descriptor's defaults.
#[derive(Clone, Debug)]
pub struct Config(BTreeMap<String, String>);

impl Config {
    pub(crate) fn new(set: Vec<(String, String)>, descriptor: &Descriptor) -> Self {
        let defaults =
            descriptor.0.config.iter().filter_map(|key| Some((key.name.clone(), key.default.clone()?)));
        let mut values: BTreeMap<String, String> = defaults.collect();
        values.extend(set);
        Config(values)
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// The value, or an error that names the key.
    pub fn required(&self, key: &str) -> Result<&str, Error> {
        self.get(key)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| Error::stop(format!("`{key}` is not set")))
    }

    /// The value as a number or the like.
    pub fn parse<T: FromStr<Err: Display>>(&self, key: &str) -> Result<T, Error> {
        let value = self.required(key)?;
        value.trim().parse().map_err(|why| Error::stop(format!("`{key}` is `{value}`: {why}")))
    }

    /// The comma separated words; none when it is not set.
    pub fn list(&self, key: &str) -> Vec<String> {
        let words = self.get(key).unwrap_or_default().split(',').map(str::trim);
        words.filter(|word| !word.is_empty()).map(Into::into).collect()
    }

    /// The same config with one key set.
    pub fn with(mut self, key: &str, value: impl Display) -> Self {
        self.0.insert(key.into(), value.to_string());
        self
    }

    pub(crate) fn into_pairs(self) -> Vec<(String, String)> {
        self.0.into_iter().collect()
    }
}
