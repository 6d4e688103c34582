//! What the settings say about security beyond the listeners: the authoriser, delegation tokens.
//!
//! ```text
//! authorizer.class.name             = org.apache.kafka.metadata.authorizer.StandardAuthorizer
//! super.users                       = User:admin;User:CN=broker
//! allow.everyone.if.no.acl.found    = false
//! ```

use std::time::Duration;

use super::first_users::first_users;
use super::value::parse_boolean;
use super::{ConfigError, FirstUser, Values};

/// The one authoriser there is, by the name of Kafka's class.
const STANDARD_AUTHORIZER: &str = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";

/// The standard authoriser's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizerSettings {
    /// Who may do anything: `Type:name`.
    pub super_users: Vec<String>,
    /// Whether what no entry names is open to all.
    pub allow_without_acls: bool,
}

/// Security as the settings have it.
#[derive(Debug, Clone, Default)]
pub struct SecuritySettings {
    /// `None`: everybody may do everything.
    pub authorizer: Option<AuthorizerSettings>,
    /// `None`: there are no delegation tokens.
    pub tokens: Option<TokenSettings>,
    /// Whom a new cluster starts with.
    pub first_users: Vec<FirstUser>,
    /// How long a connection may take to authenticate, its TLS handshake included.
    pub authentication_max: Duration,
    /// How long a refusal waits, so that guessing takes its time.
    pub failed_authentication_delay: Duration,
}

/// Delegation tokens' settings.
#[derive(Clone)]
pub struct TokenSettings {
    /// What tokens' secrets are made of.
    pub secret: String,
    pub max_lifetime_ms: i64,
    pub expiry_ms: i64,
    pub check_interval: Duration,
}

/// The secret belongs into no log.
impl std::fmt::Debug for TokenSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenSettings([hidden])")
    }
}

impl SecuritySettings {
    pub(super) fn new(values: &Values<'_>) -> Result<Self, ConfigError> {
        let millis = |key: &str| {
            let ms = values.effective(key).and_then(|text| text.parse().ok());
            Duration::from_millis(ms.unwrap_or_default())
        };
        Ok(Self {
            authorizer: authorizer(values)?,
            tokens: tokens(values),
            first_users: first_users(values)?,
            authentication_max: millis("strata.authentication.timeout.ms"),
            failed_authentication_delay: millis("connection.failed.authentication.delay.ms"),
        })
    }
}

fn tokens(values: &Values<'_>) -> Option<TokenSettings> {
    let number = |key: &str| values.effective(key).and_then(|text| text.parse().ok()).unwrap_or_default();
    let secret = values.given("delegation.token.secret.key").filter(|secret| !secret.is_empty())?.to_owned();
    Some(TokenSettings {
        secret,
        max_lifetime_ms: number("delegation.token.max.lifetime.ms"),
        expiry_ms: number("delegation.token.expiry.time.ms"),
        check_interval: Duration::from_millis(
            number("delegation.token.expiry.check.interval.ms").unsigned_abs(),
        ),
    })
}

fn authorizer(values: &Values<'_>) -> Result<Option<AuthorizerSettings>, ConfigError> {
    const KEY: &str = "authorizer.class.name";
    match values.given(KEY).unwrap_or_default() {
        "" => return Ok(None),
        STANDARD_AUTHORIZER => {}
        class => {
            let why = format!("Java classes cannot be loaded; allowed is {STANDARD_AUTHORIZER}");
            return Err(ConfigError::unsupported(KEY, class, why));
        }
    }
    const SUPER_USERS: &str = "super.users";
    let mut super_users = Vec::new();
    let users = values.given(SUPER_USERS).unwrap_or_default();
    for user in users.split(';').map(str::trim).filter(|user| !user.is_empty()) {
        match user.split_once(':') {
            Some((kind, name)) if !kind.is_empty() && !name.is_empty() => super_users.push(user.to_owned()),
            _ => return Err(ConfigError::invalid(SUPER_USERS, user, "allowed is TYPE:NAME, parted by ;")),
        }
    }
    const ALLOW: &str = "allow.everyone.if.no.acl.found";
    let allow = values.given(ALLOW).unwrap_or("false");
    let allow_without_acls =
        parse_boolean(allow).ok_or_else(|| ConfigError::invalid(ALLOW, allow, "allowed is true or false"))?;
    Ok(Some(AuthorizerSettings { super_users, allow_without_acls }))
}
