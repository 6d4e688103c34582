//! Runs a broker with the settings given as `key=value` arguments, until Ctrl-C.

use strata_server::Server;
use strata_server::config::Config;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let config = Config::load("", std::env::vars(), std::env::args().skip(1))?;
    let started = std::time::Instant::now();
    let server = Server::start(config, None).await?;
    #[expect(clippy::print_stdout)]
    {
        println!("ready: {} after {:?}", server.bootstrap(), started.elapsed());
    }
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        reason = server.failed() => return Err(reason.into()),
    }
    server.shutdown().await;
    Ok(())
}
