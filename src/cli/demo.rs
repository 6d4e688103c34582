//! `strata demo`: see [`crate::demo`].

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
#[command(
    after_help = "Nothing is left behind unless you say --keep. The command ends with status 1 if any answer is wrong."
)]
pub struct Demo {
    /// How many records go the whole way.
    #[arg(long, default_value_t = 20_000)]
    records: usize,
    /// Keep what the demo wrote in this folder, to look at it afterwards.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

impl Demo {
    pub async fn run(self) -> anyhow::Result<()> {
        crate::demo::run(self.records, self.keep).await
    }
}
