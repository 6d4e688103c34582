use bytes::Bytes;
use strata_runtime::Registry;

use super::broker::Broker;
use super::hot::create_topic;
use super::story::Story;
use super::streams::{owned, until_failed, write_lines};
use crate::shipped;

/// What a plugin may do wrong, and what the runtime has to say about it.
const MISDEEDS: [(&str, &str); 3] =
    [("trap", "a trap"), ("loop", "an endless loop"), ("memory", "a memory bomb")];

/// Deploys plugins that misbehave: each has to end as FAILED, with its reason, and the broker has to go on.
pub async fn contain(story: &mut Story, broker: &Broker) -> anyhow::Result<()> {
    story.step("The sandbox: a trap, an endless loop and a memory bomb")?;
    let client = broker.client().await?;
    create_topic(&client, "out", 1, &[]).await?;
    let registry = Registry::open(client.clone()).await?;
    for (mode, what) in MISDEEDS {
        let application = format!("demo-{mode}");
        let wasm = Bytes::from_static(shipped::MISBEHAVE);
        registry.deploy(&application, wasm, owned(&[("mode", mode), ("topic", "lines")])).await?;
        let reason = until_failed(&registry, &application).await?;
        story.fact(&format!("✓ {what}: FAILED, {reason}"))?;
    }
    write_lines(&client, &["the broker goes on".to_owned()]).await?;
    story.fact("✓ the broker took another record meanwhile")
}
