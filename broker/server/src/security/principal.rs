//! Principals: `Type:name`, as access control entries and `super.users` write them.

use std::fmt;
use std::sync::{Arc, LazyLock};

/// What a connection that has authenticated as nobody is called.
const ANONYMOUS: &str = "User:ANONYMOUS";

/// Who a connection belongs to. It is decided once, when the connection has authenticated; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Principal {
    /// `Type:name`.
    text: Arc<str>,
    /// Where the name begins.
    name: usize,
    /// Authenticated by a delegation token, which may not be used to get further ones.
    token_authenticated: bool,
}

impl Principal {
    /// A user, which is what every mechanism but custom ones makes.
    pub(crate) fn user(name: &str) -> Self {
        Self { text: format!("User:{name}").into(), name: "User:".len(), token_authenticated: false }
    }

    /// Whoever has said nothing about themselves.
    pub(crate) fn anonymous() -> Self {
        Self { text: ANONYMOUS.into(), name: "User:".len(), token_authenticated: false }
    }

    /// The same, to be borrowed.
    pub(crate) fn nobody() -> &'static Self {
        static NOBODY: LazyLock<Principal> = LazyLock::new(Principal::anonymous);
        &NOBODY
    }

    pub(crate) fn is_anonymous(&self) -> bool {
        *self.text == *ANONYMOUS
    }

    /// What `text`, of the form `Type:name`, names; `None` where it has another form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once(':')?;
        let plain = !kind.is_empty() && !name.is_empty();
        plain.then(|| Self { text: text.into(), name: kind.len() + 1, token_authenticated: false })
    }

    pub(crate) fn with_token(mut self) -> Self {
        self.token_authenticated = true;
        self
    }

    pub(crate) fn kind(&self) -> &str {
        &self.text[..self.name - 1]
    }

    pub(crate) fn name(&self) -> &str {
        &self.text[self.name..]
    }

    pub(crate) fn is_token_authenticated(&self) -> bool {
        self.token_authenticated
    }

    /// `Type:name`.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_has_a_type_and_a_name() {
        let principal = Principal::parse("User:CN=a:b").unwrap();
        assert_eq!((principal.kind(), principal.name()), ("User", "CN=a:b"));
        assert_eq!(Principal::user("x"), Principal::parse("User:x").unwrap());
        assert_eq!(Principal::anonymous().name(), "ANONYMOUS");
        assert_eq!(
            (Principal::parse("x"), Principal::parse(":x"), Principal::parse("User:")),
            (None, None, None)
        );
    }
}
