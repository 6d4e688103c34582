//! What the settings say about security: the authoriser.
//!
//! ```text
//! authorizer.class.name             = org.apache.kafka.metadata.authorizer.StandardAuthorizer
//! super.users                       = User:admin;User:CN=broker
//! allow.everyone.if.no.acl.found    = false
//! ```

use super::value::parse_boolean;
use super::{ConfigError, Values};

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
}

impl SecuritySettings {
    pub(super) fn new(values: &Values<'_>) -> Result<Self, ConfigError> {
        Ok(Self { authorizer: authorizer(values)? })
    }
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
