//! The JAAS file that Java is told of, as `KAFKA_OPTS` names it: `-Djava.security.auth.login.config=FILE`. What a listener's
//! settings do not say themselves is looked for in its section `LISTENER.KafkaServer`, the name in small letters, and then
//! in `KafkaServer`.

use std::collections::BTreeMap;

use strata_types::jaas::{self, Jaas};

use super::{ConfigError, Mechanism};

const OPTION: &str = "-Djava.security.auth.login.config=";
const VARIABLE: &str = "KAFKA_OPTS";
/// A larger file is none.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The entries of each section.
#[derive(Debug, Clone, Default)]
pub(super) struct JaasFile(BTreeMap<String, Vec<Jaas>>);

impl JaasFile {
    pub(super) const fn none() -> Self {
        Self(BTreeMap::new())
    }

    /// Reads the file that Java's options name, if they name one.
    pub(super) fn of(options: &str) -> Result<Self, ConfigError> {
        let mut named = options.split_whitespace().filter_map(|option| option.strip_prefix(OPTION));
        // A second = would only say that no other file counts.
        let Some(path) = named.next_back().map(|path| path.trim_start_matches('=').trim_matches('"')) else {
            return Ok(Self::default());
        };
        let invalid = |why: String| ConfigError::invalid(VARIABLE, &format!("{OPTION}{path}"), why);
        let path = path.strip_prefix("file:").unwrap_or(path);
        let text = std::fs::metadata(path).and_then(|meta| match meta.len() {
            0..=FILE_BYTES_MAX => std::fs::read_to_string(path),
            _ => Err(std::io::Error::other("it is too large")),
        });
        let text = text.map_err(|error| invalid(error.to_string()))?;
        Ok(Self(jaas::parse_file(&text).map_err(|why| invalid(why.to_owned()))?))
    }

    /// What the file says of a mechanism on a listener.
    pub(super) fn entry(&self, listener: &str, mechanism: Mechanism) -> Option<&Jaas> {
        let own = format!("{}.KafkaServer", listener.to_ascii_lowercase());
        let section = self.0.get(&own).or_else(|| self.0.get("KafkaServer"))?;
        section.iter().find(|entry| entry.module.ends_with(mechanism.login_module()))
    }
}

#[cfg(test)]
mod tests {
    use strata_metadata::ScramMechanism;

    use super::*;

    #[test]
    fn a_listeners_own_section_goes_before_the_one_for_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jaas.conf");
        let text = "KafkaServer { x.PlainLoginModule required user_a=\"1\"; x.ScramLoginModule required; };\n\
                    internal.KafkaServer { x.PlainLoginModule required user_a=\"2\"; };";
        std::fs::write(&path, text).unwrap();
        let file = JaasFile::of(&format!("-Xmx1G {OPTION}{} -Dx=y", path.display())).unwrap();
        let password =
            |listener| file.entry(listener, Mechanism::Plain).map(|entry| entry.options["user_a"].as_str());
        assert_eq!((password("EXTERNAL"), password("INTERNAL")), (Some("1"), Some("2")));
        let scram = Mechanism::Scram(ScramMechanism::Sha256);
        assert!(file.entry("EXTERNAL", scram).is_some() && file.entry("INTERNAL", scram).is_none());
        assert!(JaasFile::of("-Xmx1G").unwrap().entry("EXTERNAL", Mechanism::Plain).is_none());
        let error = JaasFile::of(&format!("{OPTION}/nowhere")).unwrap_err().to_string();
        assert!(error.contains("KAFKA_OPTS") && error.contains("/nowhere"), "{error}");
        std::fs::write(&path, "KafkaServer { x.PlainLoginModule required user_a=\"secret\" }").unwrap();
        let error = JaasFile::of(&format!("{OPTION}{}", path.display())).unwrap_err().to_string();
        assert!(!error.contains("secret") && !error.contains('\n'), "{error}");
    }
}
