//! Bearer tokens whose keys come from an address: when they are fetched, and from whom.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use strata_types::ErrorCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::super::support::{PATIENCE, start_in};
use super::tls::Authority;
use super::*;

/// A key that signs tokens.
struct Key {
    id: &'static str,
    pair: EcdsaKeyPair,
}

impl Key {
    fn new(id: &'static str) -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random);
        Self { id, pair: pair.unwrap() }
    }

    fn set(&self) -> String {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        format!(r#"{{"keys":[{{"kty":"EC","crv":"P-256","kid":"{}","x":"{x}","y":"{y}"}}]}}"#, self.id)
    }

    /// A token of alice's that this key has signed, and that names the key `id`.
    fn token(&self, id: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let header = format!(r#"{{"alg":"ES256","kid":"{id}"}}"#);
        let claims = format!(r#"{{"sub":"alice","iat":{now},"exp":{}}}"#, now + 600);
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let sign = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(sign))
    }
}

/// Serves a key set, and counts how often.
#[derive(Clone, Default)]
struct Issuer {
    set: Arc<Mutex<String>>,
    fetches: Arc<AtomicUsize>,
}

impl Issuer {
    /// Its address, with `tls` an `https:` one.
    async fn start(&self, key: &Key, tls: Option<TlsAcceptor>) -> String {
        self.change_to(key);
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (issuer, scheme) = (self.clone(), if tls.is_some() { "https" } else { "http" });
        tokio::spawn(async move {
            loop {
                let (stream, _) = socket.accept().await.unwrap();
                match &tls {
                    None => issuer.answer(stream).await,
                    // Who does not trust it ends the handshake.
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => issuer.answer(stream).await,
                        Err(_) => continue,
                    },
                }
            }
        });
        format!("{scheme}://{address}/keys")
    }

    async fn answer(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.unwrap() > 0 {}
        self.fetches.fetch_add(1, Ordering::SeqCst);
        let set = self.set.lock().clone();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", set.len());
        stream.write_all(format!("{head}{set}").as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    }

    fn change_to(&self, key: &Key) {
        *self.set.lock() = key.set();
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

fn settings(url: &str, options: &str, more: &[&str]) -> Vec<String> {
    let own = [
        "listeners=PLAINTEXT://127.0.0.1:0,SASL_PLAINTEXT://127.0.0.1:0".to_owned(),
        "sasl.enabled.mechanisms=OAUTHBEARER".to_owned(),
        "connection.failed.authentication.delay.ms=0".to_owned(),
        format!("sasl.oauthbearer.jwks.endpoint.url={url}"),
        format!(
            "listener.name.sasl_plaintext.oauthbearer.sasl.jaas.config=OAuthBearerLoginModule required {options};"
        ),
    ];
    own.into_iter().chain(more.iter().map(|one| (*one).to_owned())).collect()
}

async fn broker(settings: &[String]) -> Broker {
    Broker::with(&settings.iter().map(String::as_str).collect::<Vec<_>>()).await
}

/// Whether the token is taken.
async fn authenticates(broker: &Broker, token: &str) -> bool {
    let mut connection = Connection::open(address(broker, 1)).await;
    assert_eq!(handshake(&mut connection, "OAUTHBEARER").await.error_code, 0);
    let answer = say(&mut connection, &format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}")).await;
    if answer.error_code == 0 && answer.auth_bytes.is_empty() {
        assert!(answer.session_lifetime_ms > 0, "it lasts as long as the token");
        connection.topic_names().await;
        return true;
    }
    // The client acknowledges, and is told in the end.
    let answer = say(&mut connection, "\u{1}").await;
    assert_eq!(answer.error_code, ErrorCode::SaslAuthenticationFailed.code());
    assert_eq!(answer.error_message.unwrap(), "{\"status\":\"invalid_token\"}");
    false
}

async fn authenticates_soon(broker: &Broker, token: &str) {
    let end = Instant::now() + PATIENCE;
    while !authenticates(broker, token).await {
        assert!(Instant::now() < end, "the token is not taken");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_key_that_is_not_known_is_fetched_and_not_more_than_once_a_second() {
    let (issuer, first, second) = (Issuer::default(), Key::new("first"), Key::new("second"));
    let url = issuer.start(&first, None).await;
    let broker = broker(&settings(&url, "", &[])).await;
    authenticates_soon(&broker, &first.token("first")).await;
    assert_eq!(issuer.fetches(), 1, "a known key is not asked for again");
    issuer.change_to(&second);
    assert!(authenticates(&broker, &first.token("first")).await, "until somebody asks");
    authenticates_soon(&broker, &second.token("second")).await;
    assert_eq!(issuer.fetches(), 2);
    assert!(
        !authenticates(&broker, &first.token("first")).await,
        "what is not in the set any more does not count"
    );

    // However many come with keys that there are not: the issuer is not flooded.
    let (began, before) = (Instant::now(), issuer.fetches());
    for n in 0..200 {
        assert!(!authenticates(&broker, &second.token(&format!("unknown-{n}"))).await);
    }
    let (took, fetches) = (began.elapsed().as_secs() as usize, issuer.fetches() - before);
    assert!(fetches <= took + 2, "{fetches} fetches in {took} s");
    assert!(authenticates(&broker, &second.token("second")).await);
}

#[tokio::test]
async fn keys_are_fetched_again_by_time() {
    let (issuer, first, second) = (Issuer::default(), Key::new("same"), Key::new("same"));
    let url = issuer.start(&first, None).await;
    let often = "sasl.oauthbearer.jwks.endpoint.refresh.ms=1000";
    let broker = broker(&settings(&url, "", &[often])).await;
    authenticates_soon(&broker, &first.token("same")).await;
    // A wrong signature is no reason to ask, only time is.
    issuer.change_to(&second);
    authenticates_soon(&broker, &second.token("same")).await;
}

#[tokio::test]
async fn an_issuer_that_comes_late_is_asked_again() {
    let (issuer, key) = (Issuer::default(), Key::new("k"));
    *issuer.set.lock() = String::new();
    let url = issuer.start(&key, None).await;
    *issuer.set.lock() = "no keys yet".to_owned();
    let broker = broker(&settings(&url, "", &[])).await;
    assert!(!authenticates(&broker, &key.token("k")).await);
    issuer.change_to(&key);
    authenticates_soon(&broker, &key.token("k")).await;
}

#[tokio::test]
async fn over_tls_the_issuer_must_be_one_whom_the_options_trust() {
    let (issuer, key, authority) = (Issuer::default(), Key::new("k"), Authority::new());
    authority.sign("issuer.pem", "issuer");
    let url = issuer.start(&key, Some(authority.acceptor("issuer.pem"))).await;
    let trust = |file: &str| {
        format!(r#"ssl.truststore.type="PEM" ssl.truststore.location="{}""#, authority.path(file))
    };
    let trusting = broker(&settings(&url, &trust("ca.pem"), &[])).await;
    authenticates_soon(&trusting, &key.token("k")).await;

    let other = Authority::new();
    std::fs::copy(other.path("ca.pem"), authority.path("other.pem")).unwrap();
    for options in [trust("other.pem"), String::new()] {
        let before = issuer.fetches();
        let wary = broker(&settings(&url, &options, &[])).await;
        assert!(!authenticates(&wary, &key.token("k")).await);
        wary.server.shutdown().await;
        assert_eq!(issuer.fetches(), before, "nothing was asked of it");
    }
    let dir = tempfile::tempdir().unwrap();
    let missing = settings(&url, &trust("missing.pem"), &[]);
    let missing: Vec<&str> = missing.iter().map(String::as_str).collect();
    let refused = start_in(dir.path(), &missing).await.err().unwrap().to_string();
    assert!(refused.contains("ssl.truststore.location") && refused.contains("missing.pem"), "{refused}");
}
