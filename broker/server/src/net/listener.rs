//! A listening socket: accepts connections within the limits, and hands each a task.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use strata_protocol::Str;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::limits::{Limits, Place, TooMany};
use super::transport::Transport;
use super::{connection, handshake};
use crate::broker::Broker;
use crate::config::{Endpoint, Listener};
use crate::dispatch::Peer;
use crate::security::{Bearer, Principal, Session, TlsError, TlsListener};

/// What a failed `accept` is given before the next one: the process is out of descriptors, and no event says when it has
/// some again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A listener that has its address.
pub(crate) struct Bound {
    socket: TcpListener,
    pub(crate) address: SocketAddr,
    /// With the real port, where port 0 was asked for.
    pub(crate) advertised: Endpoint,
    listener: Listener,
}

/// What all connections of a listener share.
struct Entrance {
    name: Str,
    listener: Listener,
    tls: Option<TlsListener>,
    bearer: Bearer,
}

impl Bound {
    /// Binds the listener. An empty host is every address, IPv6 included where the machine has it.
    pub(crate) fn bind(listener: &Listener, backlog: i32) -> io::Result<Self> {
        let Endpoint { host, port, .. } = &listener.bind;
        let socket = match host.as_str() {
            "" => bind_to((std::net::Ipv6Addr::UNSPECIFIED, *port).into(), backlog)
                .or_else(|_| bind_to((std::net::Ipv4Addr::UNSPECIFIED, *port).into(), backlog))?,
            host => {
                let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
                let bound = (host, *port)
                    .to_socket_addrs()?
                    .find_map(|address| bind_to(address, backlog).map_err(|error| last = error).ok());
                bound.ok_or(last)?
            }
        };
        let socket = TcpListener::from_std(socket.into())?;
        let address = socket.local_addr()?;
        let mut advertised = listener.advertised.clone();
        if advertised.port == 0 {
            advertised.port = address.port();
        }
        Ok(Self { socket, address, advertised, listener: listener.clone() })
    }
}

fn bind_to(address: SocketAddr, backlog: i32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Without it, a restart would wait for the last run's connections to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket)
}

/// Accepts on every listener until `stop`; connections run as tasks of `tasks`.
///
/// # Errors
/// When a listener's TLS settings cannot be used; no connection was accepted then.
pub(crate) fn serve(
    broker: &Arc<Broker>,
    bound: Vec<Bound>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<(), TlsError> {
    let limits = &broker.limits;
    let mut entrances = Vec::with_capacity(bound.len());
    for Bound { listener, advertised, .. } in &bound {
        let tls = match listener.protocol.is_tls() {
            true => Some(TlsListener::new(broker.config.clone(), listener, &broker.image())?),
            false => None,
        };
        let bearer = Bearer::new(listener)?;
        tasks.spawn(bearer.clone().follow(stop.clone()));
        let (name, listener) = (advertised.name.as_str().into(), listener.clone());
        entrances.push(Arc::new(Entrance { name, listener, tls, bearer }));
    }
    for (bound, entrance) in bound.into_iter().zip(entrances) {
        let (broker, limits, tasks, stop) = (broker.clone(), limits.clone(), tasks.clone(), stop.clone());
        tasks.clone().spawn(async move {
            let accepting = accept(&broker, (bound.socket, entrance), &limits, &tasks, &stop);
            stop.run_until_cancelled(accepting).await;
        });
    }
    Ok(())
}

async fn accept(
    broker: &Arc<Broker>,
    (socket, entrance): (TcpListener, Arc<Entrance>),
    limits: &Arc<Limits>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    loop {
        // As in Kafka, a full house lets new ones wait outside.
        let mut place = limits.place(&entrance.name).await;
        match socket.accept().await {
            Ok((stream, peer)) => match limits.admit(&mut place, peer.ip().to_canonical(), &broker.quotas) {
                Ok(pause) => {
                    let (broker, stop) = (broker.clone(), stop.clone());
                    tasks.spawn(serve_one(broker, stream, peer, entrance.clone(), place, stop));
                    if !pause.is_zero() {
                        tokio::time::sleep(pause).await;
                    }
                }
                Err(TooMany::OfAddress) => limits
                    .causes
                    .warn("max.connections.per.ip", &format_args!("{peer} has too many connections")),
                Err(TooMany::Lately(wait)) => {
                    let what = format_args!("{peer} makes too many connections");
                    limits.causes.warn("connection_creation_rate", &what);
                    // It keeps its place until then, so that the waiting ones are bounded too.
                    let stop = stop.clone();
                    tasks.spawn(async move {
                        let _ = (stop.run_until_cancelled(tokio::time::sleep(wait)).await, stream, place);
                    });
                }
            },
            Err(error) => {
                limits.causes.warn("accept", &format_args!("a connection could not be accepted: {error}"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_one(
    broker: Arc<Broker>,
    stream: TcpStream,
    peer: SocketAddr,
    entrance: Arc<Entrance>,
    place: Place,
    stop: CancellationToken,
) {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let warn = |cause, error: &dyn std::fmt::Display| {
        place.limits.causes.warn(cause, &format_args!("connection from {peer} closed: {error}"));
    };
    // Answers are whole frames; waiting to fill a packet would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        return warn("socket", &error);
    }
    let Entrance { name, listener, tls, bearer } = &*entrance;
    let established = match tls {
        None => Ok((Transport::Plain(stream), Principal::anonymous())),
        Some(tls) => {
            let handshake_max = broker.config.security.authentication_max;
            let accepting = handshake::accept(&broker, tls, listener.protocol, stream, handshake_max);
            match stop.run_until_cancelled(Box::pin(accepting)).await {
                Some(established) => established,
                None => return,
            }
        }
    };
    let (transport, principal) = match established {
        Ok(established) => established,
        Err(error) => return warn(error.cause(), &error),
    };
    let session = Arc::new(Session::new(listener, principal, bearer));
    let connected = Peer {
        address: peer,
        listener: name.clone(),
        connection: connection::next_number(),
        session,
        transactional_turn: Arc::default(),
        throttle: Arc::default(),
        software: Arc::default(),
    };
    match connection::run(broker, transport, connected, &stop).await {
        Ok(()) => tracing::trace!(%peer, "the connection ended"),
        Err(error) => warn(error.cause(), &error),
    }
}
