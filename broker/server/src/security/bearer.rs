//! The keys that bearer tokens are verified with: from a file, read again when it changes, or from an address, fetched
//! again by time and when a token names a key that is not known.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::sasl::{InvalidToken, KeySet, TokenChecker, check_signed, check_unsecured};
use super::tls::{self, Stamp, TlsError};
use crate::config::{KeySource, KeyUrl, Listener, OauthSettings, SignedTokens};

/// A larger key set is refused.
const KEY_SET_BYTES_MAX: usize = 1024 * 1024;
/// How long fetching may take.
const FETCH_MAX: Duration = Duration::from_secs(30);
/// Between two fetches, whoever wants keys, and however many tokens name keys that nobody knows.
const FETCH_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// Checks the bearer tokens of one listener. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Bearer(Option<Arc<Inner>>);

struct Inner {
    settings: OauthSettings,
    keys: ArcSwapOption<KeySet>,
    file: Mutex<Option<Stamp>>,
    /// A token named a key that is not known.
    wanted: Notify,
}

impl Bearer {
    /// Where there are no bearer tokens.
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// # Errors
    /// When the stores for an address cannot be read. The address itself need not answer yet.
    pub(crate) fn new(listener: &Listener) -> Result<Self, TlsError> {
        let mechanisms = listener.sasl.iter().flat_map(|sasl| &sasl.mechanisms);
        let settings = mechanisms.filter_map(|mechanism| mechanism.oauth.clone()).next();
        if let Some(OauthSettings::Signed(SignedTokens { keys: KeySource::Url(from), .. })) = &settings {
            client_tls(from)?;
        }
        Ok(Self(settings.map(|settings| {
            let (keys, file, wanted) = (ArcSwapOption::empty(), Mutex::default(), Notify::new());
            Arc::new(Inner { settings, keys, file, wanted })
        })))
    }

    /// Keeps keys that come from an address up to date, until `stop`.
    pub(crate) async fn follow(self, stop: CancellationToken) {
        let Some(inner) = &self.0 else { return };
        let OauthSettings::Signed(signed) = &inner.settings else { return };
        let KeySource::Url(from) = &signed.keys else { return };
        let following = async {
            let mut backoff = from.backoff;
            loop {
                let pause = match fetch(from).await {
                    Ok(keys) => {
                        inner.keys.store(Some(Arc::new(keys)));
                        backoff = from.backoff;
                        from.refresh
                    }
                    Err(why) => {
                        let url = &from.url;
                        tracing::warn!(url, "the keys of bearer tokens could not be fetched: {why}");
                        let pause = backoff;
                        backoff = (backoff * 2).min(from.backoff_max);
                        pause
                    }
                };
                tokio::time::sleep(FETCH_INTERVAL_MIN).await;
                let pause = pause.saturating_sub(FETCH_INTERVAL_MIN);
                let _ = tokio::time::timeout(pause, inner.wanted.notified()).await;
            }
        };
        stop.run_until_cancelled(following).await;
    }
}

impl TokenChecker for Bearer {
    fn check(&self, token: &str, now_ms: i64) -> Result<(String, i64), InvalidToken> {
        let inner = self.0.as_ref().ok_or(InvalidToken::NoKeys)?;
        let signed = match &inner.settings {
            OauthSettings::Signed(signed) => signed,
            OauthSettings::Unsecured { principal_claim, clock_skew } => {
                return check_unsecured(token, principal_claim, clock_skew.as_millis() as i64, now_ms);
            }
        };
        if let KeySource::File(path) = &signed.keys {
            inner.read(path);
        }
        let keys = inner.keys.load();
        let keys = keys.as_ref().ok_or(InvalidToken::NoKeys)?;
        check_signed(token, keys, signed, now_ms).inspect_err(|why| {
            if *why == InvalidToken::UnknownKey {
                inner.wanted.notify_one();
            }
        })
    }
}

impl Inner {
    /// Reads the file, if it has changed. One that cannot be read leaves the keys as they were.
    fn read(&self, path: &Path) {
        let mut known = self.file.lock();
        let stamp = Stamp::of([path]);
        if known.as_ref() == Some(&stamp) {
            return;
        }
        let read = std::fs::read(path).map_err(|error| error.to_string());
        match read.and_then(|json| KeySet::parse(&json).map_err(str::to_owned)) {
            Ok(keys) => self.keys.store(Some(Arc::new(keys))),
            Err(why) => tracing::warn!(path = %path.display(), "the keys of bearer tokens: {why}"),
        }
        *known = Some(stamp);
    }
}

async fn fetch(from: &KeyUrl) -> Result<KeySet, String> {
    let mut client =
        reqwest::Client::builder().timeout(FETCH_MAX).redirect(reqwest::redirect::Policy::none());
    if let Some(tls) = client_tls(from).map_err(|error| error.to_string())? {
        client = client.use_preconfigured_tls(tls);
    }
    let client = client.build().map_err(|error| in_full(&error))?;
    let response = client.get(&from.url).send().await.and_then(reqwest::Response::error_for_status);
    let mut response = response.map_err(|error| in_full(&error))?;
    let mut json = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| in_full(&error))? {
        if json.len() + chunk.len() > KEY_SET_BYTES_MAX {
            return Err(format!("they take more than {KEY_SET_BYTES_MAX} bytes"));
        }
        json.extend_from_slice(&chunk);
    }
    KeySet::parse(&json).map_err(str::to_owned)
}

/// `None`: as the machine trusts.
fn client_tls(from: &KeyUrl) -> Result<Option<rustls::ClientConfig>, TlsError> {
    match from.tls.is_empty() {
        true => Ok(None),
        false => tls::client(&|key| from.tls.get(key).cloned()).map(Some),
    }
}

/// An error with its causes, which say what was wrong.
fn in_full(error: &reqwest::Error) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
