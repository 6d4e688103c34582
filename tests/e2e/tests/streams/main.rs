//! Topologies on the real binary: what is counted, what survives, and what happens to plugins that misbehave.

mod cluster;

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, ensure};
use bytes::Bytes;
use cluster::{Cluster, Companion, shared, until};
use strata_types::TopicName;

/// Sandboxed code that does what none should. Users are not offered it by name.
const MISBEHAVE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/catalog/misbehave/misbehave.wasm");

type Counts = HashMap<String, i64>;

/// Lines of a few words that come again and again.
fn lines(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| format!("the {} order of customer {}", n % 3, n % 7)).collect()
}

fn count(lines: &[String]) -> Counts {
    let mut counts = Counts::new();
    for word in lines.iter().flat_map(|line| line.split(' ')) {
        *counts.entry(word.to_owned()).or_default() += 1;
    }
    counts
}

/// The last value of each key. A count never goes down, unless state was lost.
fn last_values(
    records: Vec<(Bytes, Bytes)>,
    number: impl Fn(&[u8]) -> Option<i64>,
) -> anyhow::Result<Counts> {
    let mut counts = Counts::new();
    for (key, value) in records {
        let word = String::from_utf8(key.to_vec())?;
        let value = number(&value).with_context(|| format!("{word} has no number"))?;
        let former = counts.insert(word.clone(), value).unwrap_or(0);
        ensure!(value >= former, "{word} went from {former} to {value}");
    }
    Ok(counts)
}

/// An application that counts words: `NAME-lines` to `NAME-counts`, three partitions each.
struct WordCount {
    name: String,
    lines: String,
    counts: String,
}

impl WordCount {
    async fn deploy(cluster: &Cluster, name: &str) -> anyhow::Result<Self> {
        let (lines, counts) = (format!("{name}-lines"), format!("{name}-counts"));
        cluster.create_topics(3, &[&lines, &counts]).await?;
        let config = [format!("topics={lines}"), format!("output.topic={counts}")];
        cluster.deploy(name, "word-count", &config.each_ref().map(String::as_str)).await?;
        Ok(Self { name: name.to_owned(), lines, counts })
    }

    /// In front of the node that counts into the store `counts`.
    fn repartition(&self) -> String {
        format!("{}-count-counts-repartition", self.name)
    }

    /// Waits until everything written is counted, and returns what the output and the changelog agree on.
    async fn counted(&self, cluster: &Cluster) -> anyhow::Result<Counts> {
        cluster.until_processed(&self.name, &[&self.lines, &self.repartition()]).await?;
        let output = cluster.read(&self.counts).await?;
        let output = last_values(output, |value| std::str::from_utf8(value).ok()?.parse().ok())?;
        let changelog = cluster.read(&format!("{}-counts-changelog", self.name)).await?;
        let changelog = last_values(changelog, |value| Some(i64::from_be_bytes(value.try_into().ok()?)))?;
        ensure!(output == changelog, "the output has {output:?}, the changelog {changelog:?}");
        Ok(output)
    }
}

#[tokio::test]
async fn words_on_three_partitions_are_counted_exactly() -> anyhow::Result<()> {
    let cluster = shared().await?;
    let app = WordCount::deploy(&cluster, "exact").await?;
    let lines = lines(0..3_000);
    cluster.write(&app.lines, lines.clone()).await?;
    assert_eq!(app.counted(&cluster).await?, count(&lines));
    let status = cluster.until_state("exact", "RUNNING").await?;
    assert_eq!(status["tasks"], 6, "three partitions of two sub-topologies: {status}");

    cluster.strata(&["streams", "remove", "exact"]).await?;
    assert_eq!(cluster.listed("exact").await?, None);
    let words = cluster.client.partitions(&TopicName::new(&app.repartition())?).await?;
    assert_eq!(words.len(), 3, "as many as the topic that is read");
    Ok(())
}

/// A kill may count some lines twice and loses none. A stop counts none twice, and what the state folder had comes back
/// from the changelog.
#[tokio::test]
async fn counts_survive_a_kill_and_the_loss_of_the_state_folder() -> anyhow::Result<()> {
    let cluster = Cluster::start().await?;
    let app = WordCount::deploy(&cluster, "survivor").await?;
    cluster.write(&app.lines, lines(0..500)).await?;
    assert_eq!(app.counted(&cluster).await?, count(&lines(0..500)));

    // Killed right behind the acknowledgement of lines that nobody can have counted yet.
    cluster.write(&app.lines, lines(500..2_000)).await?;
    let cluster = cluster.kill_and_restart().await?;
    cluster.write(&app.lines, lines(2_000..2_100)).await?;
    let counted = app.counted(&cluster).await?;
    for (word, least) in count(&lines(0..2_100)) {
        ensure!(counted.get(&word).is_some_and(|found| *found >= least), "{word}: {counted:?}, not {least}");
    }

    let lose_state = |data: &Path| std::fs::remove_dir_all(data.join("streams"));
    let cluster = cluster.stop_change_and_restart(lose_state).await?;
    cluster.write(&app.lines, lines(2_100..2_200)).await?;
    let mut expected = counted;
    for (word, more) in count(&lines(2_100..2_200)) {
        *expected.entry(word).or_default() += more;
    }
    assert_eq!(app.counted(&cluster).await?, expected);
    Ok(())
}

#[tokio::test]
async fn two_runtimes_share_the_tasks_and_one_takes_over_from_the_other() -> anyhow::Result<()> {
    let cluster = shared().await?;
    let app = WordCount::deploy(&cluster, "shared").await?;
    cluster.write(&app.lines, lines(0..300)).await?;
    assert_eq!(app.counted(&cluster).await?, count(&lines(0..300)));

    let folder = tempfile::tempdir()?;
    let companion = Companion::start(&cluster, folder.path())?;
    until("the companion has a task with state", async || {
        let tasks = std::fs::read_dir(folder.path().join("shared"))?;
        let names: Vec<_> = tasks.map(|task| task.map(|task| task.file_name())).collect::<Result<_, _>>()?;
        Ok(names.iter().any(|name| name.to_string_lossy().starts_with("1_")).then_some(()))
    })
    .await?;
    let refused = Companion::start(&cluster, folder.path())?.until_refused().await?;
    ensure!(refused.contains("another stream runtime uses this folder"), "{refused}");
    cluster.write(&app.lines, lines(300..1_300)).await?;
    assert_eq!(app.counted(&cluster).await?, count(&lines(0..1_300)), "while both run");

    companion.stop().await?;
    cluster.write(&app.lines, lines(1_300..1_600)).await?;
    assert_eq!(app.counted(&cluster).await?, count(&lines(0..1_600)), "after one has gone");
    cluster.strata(&["streams", "remove", "shared"]).await.map(drop)
}

#[tokio::test]
async fn what_a_plugin_does_wrong_ends_its_application_and_no_other() -> anyhow::Result<()> {
    let cluster = shared().await?;
    cluster.create_topics(1, &["wild", "tame", "out"]).await?;
    cluster.deploy("tame", "uppercase", &["topics=wild", "output.topic=tame"]).await?;
    cluster.write("wild", ["before"]).await?;
    for (mode, reason) in [
        ("trap", "trapped"),
        ("loop", "did not finish within"),
        ("memory", "bytes of memory"),
        ("error", "this record is not to my taste"),
    ] {
        cluster.deploy("wild", MISBEHAVE, &["topic=wild", &format!("mode={mode}")]).await?;
        let status = until(&format!("{mode} fails"), async || {
            let status = cluster.until_state("wild", "FAILED").await?;
            let is_it = status["reason"].as_str().is_some_and(|said| said.contains(reason));
            Ok(is_it.then_some(status))
        })
        .await?;
        ensure!(
            status["reason"].as_str().is_some_and(|said| said.ends_with("at wild-0 offset 0")),
            "{status}"
        );
    }
    cluster.write("wild", ["after"]).await?;
    cluster.until_values("tame", vec!["BEFORE".into(), "AFTER".into()]).await?;

    // What fails stays at its record: a version that is better begins there, and the failures left nothing behind.
    cluster.deploy("wild", MISBEHAVE, &["topic=wild", "mode=echo"]).await?;
    cluster.until_values("out", vec!["before".into(), "after".into()]).await?;
    cluster.until_state("wild", "RUNNING").await.map(drop)
}

#[tokio::test]
async fn a_new_version_goes_on_where_the_old_one_stopped() -> anyhow::Result<()> {
    let cluster = shared().await?;
    cluster.create_topics(2, &["versions", "first", "second"]).await?;
    cluster.deploy("versions", "uppercase", &["topics=versions", "output.topic=first"]).await?;
    let numbered = |range: std::ops::Range<u32>, letter| range.map(move |n| format!("{letter}{n}"));
    cluster.write("versions", numbered(0..200, 'v')).await?;
    cluster.until_values("first", numbered(0..200, 'V').collect()).await?;

    cluster.deploy("versions", "uppercase", &["topics=versions", "output.topic=second"]).await?;
    cluster.write("versions", numbered(200..300, 'v')).await?;
    // Some of these may still have been the old version's, none may be both's or nobody's.
    until("both together have all", async || {
        let both = cluster.values("first").await?.len() + cluster.values("second").await?.len();
        Ok((both >= 300).then_some(()))
    })
    .await?;
    let mut found = cluster.values("first").await?;
    found.extend(cluster.values("second").await?);
    found.sort();
    let mut expected: Vec<_> = numbered(0..300, 'V').collect();
    expected.sort();
    assert_eq!(found, expected);
    cluster.write("versions", ["last"]).await?;
    until("the new version runs", async || {
        Ok(cluster.values("second").await?.contains(&"LAST".to_owned()).then_some(()))
    })
    .await
}

/// A state that its changelog knows nothing of would give counts that nobody can rebuild.
#[tokio::test]
async fn a_changelog_that_is_made_anew_takes_the_state_with_it() -> anyhow::Result<()> {
    let cluster = shared().await?;
    let app = WordCount::deploy(&cluster, "amnesia").await?;
    cluster.write(&app.lines, ["word word word"]).await?;
    assert_eq!(app.counted(&cluster).await?, Counts::from([("word".to_owned(), 3)]));

    cluster.strata(&["streams", "remove", "amnesia"]).await?;
    until("the group is left", async || {
        let group = cluster.client.admin().describe_group("amnesia").await?;
        Ok(group.members.is_empty().then_some(()))
    })
    .await?;
    cluster.client.admin().delete_topic(&TopicName::new("amnesia-counts-changelog")?).await?;
    let config = [format!("topics={}", app.lines), format!("output.topic={}", app.counts)];
    cluster.deploy("amnesia", "word-count", &config.each_ref().map(String::as_str)).await?;
    cluster.write(&app.lines, ["word"]).await?;
    cluster.until_values(&app.counts, vec!["3".into(), "1".into()]).await
}
