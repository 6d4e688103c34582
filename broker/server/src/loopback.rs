//! A client in the broker's own process: request frames in, answers out, through everything but the network.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use strata_protocol::Encoded;

use crate::broker::Broker;
use crate::config::Listener;
use crate::dispatch::{self, Peer};
use crate::net;
use crate::security::{Bearer, Principal, Session};

/// Speaks to the broker as a connection of an unknown user does.
pub struct Loopback {
    broker: Arc<Broker>,
    peer: Peer,
}

impl Loopback {
    pub(crate) fn new(broker: Arc<Broker>, listener: &Listener) -> Self {
        let session = Session::new(listener, Principal::anonymous(), &Bearer::none());
        let peer = Peer {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            listener: listener.bind.name.as_str().into(),
            connection: net::next_number(),
            session: Arc::new(session),
            transactional_turn: Arc::default(),
            throttle: Arc::default(),
            software: Arc::default(),
        };
        Self { broker, peer }
    }

    /// Answers a request: its frame, without the length in front. `None` where a connection would get no answer, or be
    /// closed.
    pub fn answer(&self, frame: Bytes) -> impl Future<Output = Option<Encoded>> + Send + 'static {
        let started = dispatch::start(&self.broker, &self.peer, frame);
        async move { started.ok()?.await.ok() }
    }
}
