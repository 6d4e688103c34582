//! One record's whole life, shown and checked: produced, crashed over, archived, consumed from the archive, queried,
//! counted by a plugin, moved by connectors; and plugins that misbehave.
//!
//! The broker is a process of its own, so that it can be killed. Every step compares what came out with what went in,
//! and the first difference ends the demo with an error.

mod broker;
mod cold;
mod connect;
mod fingerprint;
mod hot;
mod sandbox;
mod story;
mod streams;

use std::path::{Path, PathBuf};

use anyhow::Context;

use self::broker::Broker;
use self::story::Story;

pub async fn run(records: usize, keep: Option<PathBuf>) -> anyhow::Result<()> {
    anyhow::ensure!(records >= 1_000, "fewer than 1000 records fill no segment: nothing would be archived");
    let folder = tempfile::tempdir()?;
    let root = match &keep {
        Some(dir) => {
            std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
            std::path::absolute(dir)?
        }
        None => folder.path().to_path_buf(),
    };
    let mut story = Story::new();
    tell(&mut story, &root, records).await?;
    let kept = keep.map(|dir| format!("; everything is in {}", dir.display())).unwrap_or_default();
    story.end(&format!("Every answer was as it should be{kept}."))
}

async fn tell(story: &mut Story, root: &Path, records: usize) -> anyhow::Result<()> {
    let mut broker = Broker::start(root).await?;
    story.step("A broker: one process, no configuration")?;
    story.fact(&broker.ready_line())?;

    let written = hot::produce_and_consume(story, &broker, records).await?;
    hot::survive_sigkill(story, &mut broker, &written).await?;
    cold::archive(story, &broker, root, &written).await?;
    cold::query(story, &broker, &written).await?;
    streams::count_words(story, &broker).await?;
    connect::generate_and_post(story, &broker, root).await?;
    sandbox::contain(story, &broker).await?;

    story.step("The end: SIGTERM")?;
    broker.stop().await?;
    story.fact("stopped in order, with status 0")
}
