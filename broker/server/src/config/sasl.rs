//! What the settings say about SASL on a listener. Settings of one listener, or of one mechanism on it, go before the
//! broker's: `listener.name.NAME.MECHANISM.KEY`, `listener.name.NAME.KEY`, `KEY`.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use strata_metadata::ScramMechanism;
use strata_types::jaas::{self, Jaas};

use super::{ConfigError, Values, value};

/// A SASL mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    Plain,
    Scram(ScramMechanism),
    OauthBearer,
}

impl Mechanism {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Scram(scram) => scram.name(),
            Self::OauthBearer => "OAUTHBEARER",
        }
    }

    /// The end of the name of the class that logs in by it.
    pub(super) const fn login_module(self) -> &'static str {
        match self {
            Self::Plain => "PlainLoginModule",
            Self::Scram(_) => "ScramLoginModule",
            Self::OauthBearer => "OAuthBearerLoginModule",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "PLAIN" => Some(Self::Plain),
            "OAUTHBEARER" => Some(Self::OauthBearer),
            name => ScramMechanism::from_name(name).map(Self::Scram),
        }
    }
}

/// SASL on one listener.
#[derive(Clone)]
pub struct SaslSettings {
    pub mechanisms: Vec<MechanismSettings>,
    /// The largest request before a connection has authenticated.
    pub receive_bytes_max: usize,
}

/// One mechanism on one listener.
#[derive(Clone)]
pub struct MechanismSettings {
    pub mechanism: Mechanism,
    /// After this long a connection must authenticate again.
    pub reauthenticate_after: Option<Duration>,
    /// The users of PLAIN, with their passwords.
    pub plain_users: HashMap<String, String>,
    pub oauth: Option<OauthSettings>,
}

/// How bearer tokens are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OauthSettings {
    Signed(SignedTokens),
    /// Tokens that nobody signed: for tests, and only where their handler is named.
    Unsecured {
        principal_claim: String,
        clock_skew: Duration,
    },
}

/// What a signed token must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedTokens {
    pub keys: KeySource,
    pub issuer: Option<String>,
    /// One of them; none: any.
    pub audiences: Vec<String>,
    pub principal_claim: String,
    pub clock_skew: Duration,
}

/// Where the keys (a JWK set) are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    File(PathBuf),
    Url(KeyUrl),
}

/// Keys that are fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUrl {
    pub url: String,
    /// How often, without a reason.
    pub refresh: Duration,
    /// How long after a fetch that failed, at first and at most.
    pub backoff: Duration,
    pub backoff_max: Duration,
    /// The login module's options that begin with `ssl.`: whom to trust there, and how to show oneself.
    pub tls: BTreeMap<String, String>,
}

const SECURED_HANDLERS: [&str; 2] = [
    "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler",
    "org.apache.kafka.common.security.oauthbearer.secured.OAuthBearerValidatorCallbackHandler",
];
const UNSECURED_HANDLERS: [&str; 2] = [
    "org.apache.kafka.common.security.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler",
    "org.apache.kafka.common.security.oauthbearer.OAuthBearerUnsecuredValidatorCallbackHandler",
];
const HANDLER: &str = "sasl.server.callback.handler.class";

impl SaslSettings {
    pub(super) fn new(values: &Values<'_>, listener: &str) -> Result<Self, ConfigError> {
        const KEY: &str = "sasl.enabled.mechanisms";
        let names = values.of_listener(listener, KEY).unwrap_or_default();
        let mut mechanisms = Vec::new();
        for name in value::list(names) {
            let mechanism = Mechanism::from_name(name).ok_or_else(|| {
                let why = format!(
                    "listener {listener} speaks SASL; allowed are PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER"
                );
                ConfigError::unsupported(KEY, names, why)
            })?;
            mechanisms.push(MechanismSettings::new(values, listener, mechanism)?);
        }
        if mechanisms.is_empty() {
            return Err(ConfigError::invalid(KEY, names, "a SASL listener needs a mechanism"));
        }
        let receive_bytes_max = values.of_listener(listener, "sasl.server.max.receive.size");
        let receive_bytes_max = receive_bytes_max.and_then(|text| text.parse().ok()).unwrap_or_default();
        Ok(Self { mechanisms, receive_bytes_max })
    }
}

impl MechanismSettings {
    fn new(values: &Values<'_>, listener: &str, mechanism: Mechanism) -> Result<Self, ConfigError> {
        let get = |key: &str| values.of_mechanism(listener, mechanism, key);
        let jaas = match get("sasl.jaas.config") {
            None => values.jaas_file.entry(listener, mechanism).cloned(),
            Some(text) => Some(jaas::parse(text).map_err(|why| {
                let key = format!("listener.name.{}.sasl.jaas.config", listener.to_ascii_lowercase());
                ConfigError::invalid(&key, "[hidden]", why)
            })?),
        };
        let reauthenticate_ms: u64 =
            get("connections.max.reauth.ms").and_then(|text| text.parse().ok()).unwrap_or_default();
        Ok(Self {
            mechanism,
            reauthenticate_after: (reauthenticate_ms > 0).then(|| Duration::from_millis(reauthenticate_ms)),
            plain_users: match mechanism {
                Mechanism::Plain => plain_users(listener, jaas.as_ref())?,
                _ => HashMap::new(),
            },
            oauth: match mechanism {
                Mechanism::OauthBearer => Some(oauth(&get, jaas.as_ref())?),
                _ => None,
            },
        })
    }
}

fn plain_users(listener: &str, jaas: Option<&Jaas>) -> Result<HashMap<String, String>, ConfigError> {
    let Some(jaas) = jaas else {
        let key = format!("listener.name.{}.plain.sasl.jaas.config", listener.to_ascii_lowercase());
        let why = "PLAIN needs its users: PlainLoginModule required user_NAME=\"PASSWORD\";";
        return Err(ConfigError::invalid(&key, "", why));
    };
    let users = jaas.options.iter();
    Ok(users
        .filter_map(|(key, password)| Some((key.strip_prefix("user_")?.to_owned(), password.clone())))
        .collect())
}

fn oauth<'a>(
    get: &dyn Fn(&str) -> Option<&'a str>,
    jaas: Option<&Jaas>,
) -> Result<OauthSettings, ConfigError> {
    const URL: &str = "sasl.oauthbearer.jwks.endpoint.url";
    let handler = get(HANDLER).unwrap_or_default();
    let url = get(URL).unwrap_or_default();
    if UNSECURED_HANDLERS.contains(&handler) {
        let option = |name: &str| jaas.and_then(|jaas| jaas.options.get(name));
        let skew_ms = option("unsecuredValidatorAllowableClockSkewMs").and_then(|ms| ms.parse().ok());
        return Ok(OauthSettings::Unsecured {
            principal_claim: option("unsecuredValidatorPrincipalClaimName")
                .map_or_else(|| "sub".to_owned(), String::clone),
            clock_skew: Duration::from_millis(skew_ms.unwrap_or_default()),
        });
    }
    if !handler.is_empty() && !SECURED_HANDLERS.contains(&handler) {
        let why = format!("Java classes cannot be loaded; allowed is {}", SECURED_HANDLERS[0]);
        return Err(ConfigError::unsupported(HANDLER, handler, why));
    }
    if url.is_empty() {
        let why = "OAUTHBEARER needs the keys by which tokens are verified; tokens without a signature are taken \
                   only where OAuthBearerUnsecuredValidatorCallbackHandler is named";
        return Err(ConfigError::invalid(URL, url, why));
    }
    let number = |key: &str| get(key).and_then(|text| text.parse().ok()).unwrap_or_default();
    let keys = match url.strip_prefix("file:") {
        // `file:/x`, `file:///x`.
        Some(path) => KeySource::File(format!("/{}", path.trim_start_matches('/')).into()),
        None if url.starts_with("https://") || url.starts_with("http://") => {
            let millis = |key: &str| Duration::from_millis(number(key));
            let options = jaas.into_iter().flat_map(|jaas| &jaas.options);
            let tls = options.filter(|(key, _)| key.starts_with("ssl."));
            KeySource::Url(KeyUrl {
                url: url.to_owned(),
                refresh: millis("sasl.oauthbearer.jwks.endpoint.refresh.ms"),
                backoff: millis("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms"),
                backoff_max: millis("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms"),
                tls: tls.map(|(key, value)| (key.clone(), value.clone())).collect(),
            })
        }
        None => return Err(ConfigError::invalid(URL, url, "allowed are file:, https: and http:")),
    };
    let audiences = get("sasl.oauthbearer.expected.audience").unwrap_or_default();
    Ok(OauthSettings::Signed(SignedTokens {
        keys,
        issuer: get("sasl.oauthbearer.expected.issuer").filter(|text| !text.is_empty()).map(str::to_owned),
        audiences: value::list(audiences).map(str::to_owned).collect(),
        principal_claim: get("sasl.oauthbearer.sub.claim.name").unwrap_or("sub").to_owned(),
        clock_skew: Duration::from_secs(number("sasl.oauthbearer.clock.skew.seconds")),
    }))
}
