//! SASL over the wire.

use strata_protocol::messages::{
    ApiVersionsRequest, CreateDelegationTokenRequest, DescribeDelegationTokenRequest, MetadataRequest,
    SaslHandshakeRequest,
};
use strata_types::ErrorCode;

use super::*;

#[tokio::test]
async fn the_right_password_opens_the_listener_and_nothing_else_does() {
    let broker = Broker::with(&SASL).await;
    connect_as(&broker, "alice", "b-secret").await.topic_names().await;

    let mut wrong = Connection::open(address(&broker, 1)).await;
    wrong.call(3, &names(ApiVersionsRequest::default())).await;
    assert_eq!(handshake(&mut wrong, "PLAIN").await.mechanisms, ["PLAIN", "SCRAM-SHA-256"]);
    let answer = say(&mut wrong, "\0alice\0a-secret").await;
    assert_eq!(answer.error_code, ErrorCode::SaslAuthenticationFailed.code());
    assert_eq!(answer.error_message.unwrap(), "Authentication failed: Invalid username or password");
    assert!(wrong.is_closed().await);
}

fn names(request: ApiVersionsRequest) -> ApiVersionsRequest {
    ApiVersionsRequest { client_software_name: "test".into(), client_software_version: "1".into(), ..request }
}

#[tokio::test]
async fn a_request_before_authentication_closes_the_connection() {
    let broker = Broker::with(&SASL).await;
    let mut early = Connection::open(address(&broker, 1)).await;
    early.send(12, &MetadataRequest { topics: None, ..Default::default() }).await;
    assert!(early.is_closed().await);

    let mut between = Connection::open(address(&broker, 1)).await;
    handshake(&mut between, "PLAIN").await;
    between.send(12, &MetadataRequest { topics: None, ..Default::default() }).await;
    assert!(between.is_closed().await);
}

#[tokio::test]
async fn a_mechanism_that_is_not_enabled_is_answered_and_then_closed() {
    let broker = Broker::with(&SASL).await;
    let mut connection = Connection::open(address(&broker, 1)).await;
    let answer = handshake(&mut connection, "SCRAM-SHA-512").await;
    assert_eq!(answer.error_code, ErrorCode::UnsupportedSaslMechanism.code());
    assert!(connection.is_closed().await);
}

#[tokio::test]
async fn the_first_version_of_the_handshake_is_followed_by_bare_messages() {
    let broker = Broker::with(&SASL).await;
    let mut connection = Connection::open(address(&broker, 1)).await;
    let request = SaslHandshakeRequest { mechanism: "PLAIN".into(), ..Default::default() };
    assert_eq!(connection.call(0, &request).await.error_code, 0);
    let message = b"\0alice\0b-secret";
    connection.write(&(message.len() as u32).to_be_bytes()).await;
    connection.write(message).await;
    assert_eq!(connection.receive_frame().await.unwrap(), b""[..]);
    connection.topic_names().await;
}

#[tokio::test]
async fn a_session_that_has_ended_serves_no_further_request() {
    let settings = [&SASL[..], &["connections.max.reauth.ms=1000"]].concat();
    let broker = Broker::with(&settings).await;
    let mut connection = Connection::open(address(&broker, 1)).await;
    handshake(&mut connection, "PLAIN").await;
    let lasts_ms = say(&mut connection, "\0alice\0b-secret").await.session_lifetime_ms;
    assert!((1..=1000).contains(&lasts_ms), "{lasts_ms}");
    connection.topic_names().await;
    // As the same user it goes on, as another it does not.
    assert_eq!(handshake(&mut connection, "PLAIN").await.error_code, 0);
    assert_eq!(say(&mut connection, "\0alice\0b-secret").await.error_code, 0);
    connection.topic_names().await;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    connection.send(12, &MetadataRequest { topics: None, ..Default::default() }).await;
    assert!(connection.is_closed().await);
}

#[tokio::test]
async fn cve_2017_12610_nobody_becomes_another_by_authenticating_again() {
    let settings = [&SASL[..], &["connections.max.reauth.ms=60000"]].concat();
    let broker = Broker::with(&settings).await;
    let mut connection = connect_as(&broker, "alice", "b-secret").await;
    assert_eq!(handshake(&mut connection, "PLAIN").await.error_code, 0);
    let answer = say(&mut connection, "\0admin\0a-secret").await;
    assert_eq!(answer.error_code, ErrorCode::SaslAuthenticationFailed.code());
    assert!(connection.is_closed().await);
}

#[tokio::test]
async fn a_session_that_does_not_end_is_not_authenticated_again() {
    let broker = Broker::with(&SASL).await;
    let mut connection = connect_as(&broker, "alice", "b-secret").await;
    assert_eq!(handshake(&mut connection, "PLAIN").await.error_code, ErrorCode::IllegalSaslState.code());
    connection.topic_names().await;
}

#[tokio::test]
async fn on_a_listener_without_sasl_there_is_nothing_to_authenticate() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    assert_eq!(handshake(&mut connection, "PLAIN").await.error_code, ErrorCode::IllegalSaslState.code());
    assert_eq!(say(&mut connection, "x").await.error_code, ErrorCode::IllegalSaslState.code());
    connection.topic_names().await;
}

#[tokio::test]
async fn whoever_does_not_authenticate_in_time_is_let_go() {
    let settings = [&SASL[..], &["strata.authentication.timeout.ms=100"]].concat();
    let broker = Broker::with(&settings).await;
    assert!(Connection::open(address(&broker, 1)).await.is_closed().await);
    // Who has authenticated, and who need not, may take their time.
    let mut authenticated = connect_as(&broker, "alice", "b-secret").await;
    let mut plain = broker.connect().await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    authenticated.topic_names().await;
    plain.topic_names().await;
}

#[tokio::test]
async fn delegation_tokens_are_their_owners_and_nobody_elses() {
    let settings = [&SASL[..], &["delegation.token.secret.key=secret"]].concat();
    let broker = Broker::with(&settings).await;
    let request = CreateDelegationTokenRequest { max_lifetime_ms: -1, ..Default::default() };
    let anonymous = broker.connect().await.call(3, &request).await;
    assert_eq!(anonymous.error_code, ErrorCode::DelegationTokenRequestNotAllowed.code());

    let mut alice = connect_as(&broker, "alice", "b-secret").await;
    let created = alice.call(3, &request).await;
    assert_eq!((created.error_code, created.hmac.len()), (0, 64));
    assert_eq!(created.principal_name, "alice");
    let all = DescribeDelegationTokenRequest { owners: None, ..Default::default() };
    assert_eq!(alice.call(3, &all).await.tokens[0].hmac, created.hmac);
}
