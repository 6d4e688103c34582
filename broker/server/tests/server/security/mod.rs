//! Listeners that ask who comes, and an authoriser that decides what they may do.

mod bearer;
mod denied;
mod hostile;
mod sasl;
mod tls;

use std::net::SocketAddr;

use strata_protocol::messages::{
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};

use super::support::{Broker, Connection};

/// A listener for nobody in particular, and one that asks for a name and a password.
pub(super) const SASL: [&str; 3] = [
    "listeners=PLAINTEXT://127.0.0.1:0,SASL_PLAINTEXT://127.0.0.1:0",
    "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256",
    "listener.name.sasl_plaintext.plain.sasl.jaas.config=PlainLoginModule required user_admin=\"a-secret\" \
     user_alice=\"b-secret\";",
];

/// The address of the n-th listener.
pub(super) fn address(broker: &Broker, listener: usize) -> SocketAddr {
    broker.server.bootstrap().split(',').nth(listener).unwrap().parse().unwrap()
}

pub(super) async fn handshake(connection: &mut Connection, mechanism: &str) -> SaslHandshakeResponse {
    connection.call(1, &SaslHandshakeRequest { mechanism: mechanism.into(), ..Default::default() }).await
}

pub(super) async fn say(connection: &mut Connection, message: &str) -> SaslAuthenticateResponse {
    let auth_bytes = message.as_bytes().to_vec().into();
    connection.call(2, &SaslAuthenticateRequest { auth_bytes, ..Default::default() }).await
}

/// A connection that has authenticated by PLAIN, on the second listener.
pub(super) async fn connect_as(broker: &Broker, user: &str, password: &str) -> Connection {
    let mut connection = Connection::open(address(broker, 1)).await;
    assert_eq!(handshake(&mut connection, "PLAIN").await.error_code, 0);
    let answer = say(&mut connection, &format!("\0{user}\0{password}")).await;
    assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
    connection
}
