//! Kafka Connect's REST API, over a [`Worker`]: the same paths, the same JSON, the same codes, so that its tools work.
//!
//! | path | methods |
//! |---|---|
//! | `/`, `/health` | GET |
//! | `/connectors` (`?expand=status&expand=info`) | GET, POST |
//! | `/connectors/{name}` | GET, DELETE |
//! | `/connectors/{name}/config` | GET, PUT, PATCH |
//! | `/connectors/{name}/status`, `/tasks`, `/tasks/{id}/status`, `/tasks-config`, `/offsets` | GET |
//! | `/connectors/{name}/restart` (`?includeTasks=&onlyFailed=`), `/tasks/{id}/restart` | POST |
//! | `/connectors/{name}/pause`, `/resume`, `/stop` | PUT |
//! | `/connector-plugins` | GET |
//! | `/connector-plugins/{plugin}/config` | GET |
//! | `/connector-plugins/{plugin}/config/validate` | PUT |
//!
//! Not there yet: writing offsets, topics of a connector, loggers. There is no authentication, as in Kafka Connect by default:
//! listen where only those who may run connectors can reach it.

mod error;
mod routes;
mod views;

use std::net::SocketAddr;

use strata_worker::Worker;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The API as it is served. Dropped, it goes on until its runtime ends.
pub struct Rest {
    addr: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<std::io::Result<()>>,
}

/// Listens, and serves in the background. Port 0: any free one, see [`Rest::addr`].
pub async fn serve(worker: Worker, addr: SocketAddr) -> std::io::Result<Rest> {
    let listener = TcpListener::bind(addr).await?;
    let addr = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let app = routes::router(worker);
    let served = axum::serve(listener, app).with_graceful_shutdown(async move {
        // Told, or forgotten: only being told ends it.
        if stopped.await.is_err() {
            std::future::pending::<()>().await;
        }
    });
    Ok(Rest { addr, stop, served: tokio::spawn(async move { served.await }) })
}

impl Rest {
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Takes no more requests, and answers those that are there.
    pub async fn shutdown(self) {
        self.stop.send(()).ok();
        self.served.await.ok();
    }
}
