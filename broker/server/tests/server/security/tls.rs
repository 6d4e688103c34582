//! TLS over the wire, and what does not belong on it.

use std::path::Path;
use std::sync::Arc;

use pkcs8::pkcs5::pbes2;
use pkcs8::{LineEnding, PrivateKeyInfoRef};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use strata_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use strata_protocol::messages::{
    ApiVersionsRequest, CreateTopicsRequest, IncrementalAlterConfigsRequest, MetadataRequest,
};
use strata_protocol::records::BuilderOptions;
use strata_protocol::{Request, Str, frame};
use strata_types::ErrorCode;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::super::support::{batch_with, create_topic, fetch, only_partition, produce, start_in, values};
use super::*;

/// An authority, and what it has signed.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: TempDir,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, dir }
    }

    /// Key and certificate for a name, as one PEM file.
    pub(super) fn sign(&self, file: &str, name: &str) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, "Ex, Inc.");
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let pem = format!("{}{}", key.serialize_pem(), certificate.pem());
        std::fs::write(self.path(file), pem).unwrap();
    }

    /// The same with an encrypted key (PKCS#8); both as well by themselves.
    fn sign_encrypted(&self, file: &str, password: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "broker");
        let chain = params.signed_by(&key, &self.issuer).unwrap().pem();
        let parameters =
            pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(2048, b"a salt of its own", [7; 16]).unwrap();
        let der = key.serialize_der();
        let info = PrivateKeyInfoRef::try_from(der.as_slice()).unwrap();
        let encrypted = info.encrypt_with_params(parameters, password).unwrap();
        let key = encrypted.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF).unwrap().to_string();
        std::fs::write(self.path(file), format!("{key}{chain}")).unwrap();
        (key, chain)
    }

    pub(super) fn path(&self, file: &str) -> String {
        self.dir.path().join(file).display().to_string()
    }

    /// For a server that shows a certificate signed before.
    pub(super) fn acceptor(&self, file: &str) -> TlsAcceptor {
        let pem = std::fs::read(self.path(file)).unwrap();
        let chain = CertificateDer::pem_slice_iter(&pem).map(Result::unwrap).collect();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_slice(&pem).unwrap())
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// TLS on the second listener; `more` settings come after.
    async fn broker(&self, more: &[&str]) -> Broker {
        self.sign("broker.pem", "broker");
        let own = [
            "listeners=PLAINTEXT://127.0.0.1:0,SSL://127.0.0.1:0".to_owned(),
            "ssl.keystore.type=PEM".to_owned(),
            format!("ssl.keystore.location={}", self.path("broker.pem")),
            "ssl.truststore.type=PEM".to_owned(),
            format!("ssl.truststore.location={}", self.path("ca.pem")),
        ];
        let settings: Vec<&str> = own.iter().map(String::as_str).chain(more.iter().copied()).collect();
        Broker::with(&settings).await
    }

    async fn connect(&self, broker: &Broker, certificate: Option<&str>) -> Option<Tls> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.issuer.der().to_vec())).unwrap();
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match certificate {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let pem = std::fs::read(Path::new(&self.path(file))).unwrap();
                let chain = CertificateDer::pem_slice_iter(&pem).map(Result::unwrap).collect();
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(&pem).unwrap()).unwrap()
            }
        };
        let stream = TcpStream::connect(address(broker, 1)).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
        Some(Tls { stream })
    }
}

struct Tls {
    stream: TlsStream<TcpStream>,
}

impl Tls {
    /// The answer; `None` where the broker closes.
    async fn call<R: Request>(&mut self, version: i16, request: &R) -> Option<R::Response> {
        let encoded = frame::encode_request(1, &Str::from_static("test"), version, request).unwrap();
        self.stream.write_all(&encoded.to_bytes()).await.ok()?;
        self.stream.flush().await.ok()?;
        let length = self.stream.read_u32().await.ok()?;
        let mut frame = vec![0; length as usize];
        self.stream.read_exact(&mut frame).await.ok()?;
        Some(frame::decode_response::<R>(frame.into(), version).unwrap().1)
    }

    fn serial(&self) -> Vec<u8> {
        self.stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }
}

#[tokio::test]
async fn records_go_through_tls_whole() {
    let authority = Authority::new();
    let broker = authority.broker(&[]).await;
    let mut tls = authority.connect(&broker, None).await.unwrap();
    tls.call(7, &create_topic("t", 1, &[])).await.unwrap();
    let large = "x".repeat(300_000);
    let batch = batch_with(&[&large, "small"], BuilderOptions::default(), 1_700_000_000_000);
    let produced = tls.call(9, &produce("t", 0, -1, batch)).await.unwrap();
    assert_eq!(produced.responses[0].partition_responses[0].error_code, 0);
    let fetched = only_partition(tls.call(12, &fetch("t", 0, 0, 0)).await.unwrap());
    assert_eq!(values(&fetched), [(0, large), (1, "small".to_owned())]);
}

#[tokio::test]
async fn a_client_certificate_is_whom_its_connection_belongs_to() {
    let authority = Authority::new();
    authority.sign("alice.pem", "alice");
    let rules = "ssl.principal.mapping.rules=RULE:^.*CN=(.*?)(,.*)?$/$1/,DEFAULT";
    let acls = "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer";
    let broker = authority.broker(&["ssl.client.auth=required", rules, acls, "super.users=User:alice"]).await;
    let mut alice = authority.connect(&broker, Some("alice.pem")).await.unwrap();
    let created = alice.call(7, &create_topic("t", 1, &[])).await.unwrap();
    assert_eq!(created.topics[0].error_code, 0);

    let other = Authority::new();
    other.sign("mallory.pem", "alice");
    std::fs::copy(other.path("mallory.pem"), authority.path("mallory.pem")).unwrap();
    for certificate in [None, Some("mallory.pem")] {
        // TLS 1.3 tells a client that it was refused with the first thing it reads.
        let answered = match authority.connect(&broker, certificate).await {
            Some(mut tls) => tls.call(0, &ApiVersionsRequest::default()).await.is_some(),
            None => false,
        };
        assert!(!answered, "{certificate:?}");
    }
    let mut anonymous = broker.connect().await;
    let created: <CreateTopicsRequest as Request>::Response =
        anonymous.call(7, &create_topic("u", 1, &[])).await;
    assert_eq!(created.topics[0].error_code, ErrorCode::TopicAuthorizationFailed.code());
}

fn alter_location(location: String) -> IncrementalAlterConfigsRequest {
    let config = AlterableConfig {
        name: "listener.name.ssl.ssl.keystore.location".into(),
        config_operation: 0,
        value: Some(location.into()),
        ..Default::default()
    };
    let resource = AlterConfigsResource {
        resource_type: 4,
        resource_name: "1".into(),
        configs: vec![config],
        ..Default::default()
    };
    IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_taken_only_where_that_is_allowed() {
    let authority = Authority::new();
    authority.sign("other.pem", "other");
    for (allowed, code) in [("false", ErrorCode::InvalidRequest.code()), ("true", 0)] {
        let broker = authority.broker(&[&format!("ssl.allow.dn.changes={allowed}")]).await;
        let first = authority.connect(&broker, None).await.unwrap();
        let answer = broker.connect().await.call(1, &alter_location(authority.path("other.pem"))).await;
        assert_eq!(answer.responses[0].error_code, code, "{:?}", answer.responses[0].error_message);
        let second = authority.connect(&broker, None).await.unwrap();
        assert_eq!(first.serial() != second.serial(), code == 0);
    }
    // A file that has changed in place is no way around.
    let broker = authority.broker(&[]).await;
    let first = authority.connect(&broker, None).await.unwrap();
    authority.sign("broker.pem", "other");
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    assert_eq!(first.serial(), authority.connect(&broker, None).await.unwrap().serial());
}

#[tokio::test]
async fn a_certificate_is_replaced_without_a_restart() {
    let authority = Authority::new();
    let broker = authority.broker(&[]).await;
    let first = authority.connect(&broker, None).await.unwrap();
    // By a setting.
    authority.sign("second.pem", "broker");
    let mut admin = broker.connect().await;
    let refused = admin.call(1, &alter_location(authority.path("missing.pem"))).await;
    assert_ne!(refused.responses[0].error_code, 0);
    let altered = admin.call(1, &alter_location(authority.path("second.pem"))).await;
    assert_eq!(altered.responses[0].error_code, 0, "{:?}", altered.responses[0].error_message);
    let second = authority.connect(&broker, None).await.unwrap();
    assert_ne!(first.serial(), second.serial());
    // By the file: it is looked at once a second.
    authority.sign("second.pem", "broker");
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let third = authority.connect(&broker, None).await.unwrap();
    assert_ne!(second.serial(), third.serial());
}

#[tokio::test]
async fn an_encrypted_key_is_read_with_its_password_and_not_without() {
    let authority = Authority::new();
    let (key, chain) = authority.sign_encrypted("encrypted.pem", "k-secret");
    let in_file = vec![
        "ssl.keystore.type=PEM".to_owned(),
        format!("ssl.keystore.location={}", authority.path("encrypted.pem")),
    ];
    let in_settings =
        vec![format!("ssl.keystore.key={key}"), format!("ssl.keystore.certificate.chain={chain}")];
    for mut settings in [in_file, in_settings] {
        settings.push("listeners=PLAINTEXT://127.0.0.1:0,SSL://127.0.0.1:0".to_owned());
        let with = |password| settings.iter().map(String::as_str).chain([password]).collect::<Vec<&str>>();
        let broker = Broker::with(&with("ssl.key.password=k-secret")).await;
        let mut tls = authority.connect(&broker, None).await.unwrap();
        assert!(tls.call(0, &ApiVersionsRequest::default()).await.is_some());
        let wrong =
            [("ssl.key.password=", "needs ssl.key.password"), ("ssl.key.password=x", "cannot be decrypted")];
        for (password, said) in wrong {
            let dir = tempfile::tempdir().unwrap();
            let refused = start_in(dir.path(), &with(password)).await.err().unwrap().to_string();
            assert!(refused.contains(said), "{refused}");
        }
    }
}

#[tokio::test]
async fn plain_bytes_on_the_tls_port_and_tls_on_the_plain_port_are_closed() {
    let authority = Authority::new();
    let broker = authority.broker(&["strata.authentication.timeout.ms=300"]).await;
    let mut plain = Connection::open(address(&broker, 1)).await;
    plain.send(12, &MetadataRequest { topics: None, ..Default::default() }).await;
    // An alert may come before the end.
    let mut rest = Vec::new();
    let end =
        tokio::time::timeout(super::super::support::PATIENCE, plain.stream.read_to_end(&mut rest)).await;
    assert!(end.is_ok() && rest.len() < 64);
    // Nothing at all is not waited for forever either.
    assert!(Connection::open(address(&broker, 1)).await.is_closed().await);

    let mut tls = broker.connect().await;
    tls.write(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]).await;
    assert!(tls.is_closed().await);
}
