//! The binary as people and scripts use it: where settings come from, what an error looks like, and how commands end.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use strata_e2e::{Broker, BrokerOptions, binary};

/// Apache Kafka 4.3's own `config/server.properties`, with the ports and the folder left to the test.
const SERVER_PROPERTIES: &str = "\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:0,CONTROLLER://:0
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:0,CONTROLLER://localhost:0
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
num.partitions=1
num.recovery.threads.per.data.dir=2
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
";

/// What the official image is commonly given.
const IMAGE_VARIABLES: &[(&str, &str)] = &[
    ("KAFKA_NODE_ID", "1"),
    ("KAFKA_PROCESS_ROLES", "broker,controller"),
    ("KAFKA_LISTENERS", "PLAINTEXT://:0,CONTROLLER://:0"),
    ("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://localhost:0"),
    ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
    ("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT"),
    ("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@localhost:9093"),
    ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
    ("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1"),
    ("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1"),
    ("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0"),
    ("KAFKA_HEAP_OPTS", "-Xmx1G"),
    ("CLUSTER_ID", "4L6g3nShT-eMCtK--X86sw"),
];

fn strata(arguments: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(binary()?);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}

/// A process that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server, and the first line that it prints; what it has logged, if it ends without one.
fn server(command: &mut Command) -> anyhow::Result<(String, Running)> {
    let mut server = Running(command.spawn()?);
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().context("a pipe")?).read_line(&mut line)?;
    if line.is_empty() {
        server.0.stderr.take().context("a pipe")?.read_to_string(&mut line)?;
    }
    Ok((line, server))
}

fn first_line(command: &mut Command) -> anyhow::Result<String> {
    Ok(server(command)?.0)
}

fn run(arguments: &[&str]) -> anyhow::Result<Output> {
    Ok(strata(arguments)?.output()?)
}

/// Checks that a command failed as it should: status 1, and one line that has `words`.
fn assert_one_line(what: &str, failed: &Output, words: &str) {
    let said = String::from_utf8_lossy(&failed.stderr);
    assert_eq!(failed.status.code(), Some(1), "{what}: {said}");
    assert_eq!(said.lines().count(), 1, "{what}: {said}");
    assert!(said.contains(words), "{what}: {said}");
}

#[test]
fn kafkas_own_server_properties_start_a_broker() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("server.properties");
    fs::write(&file, format!("{SERVER_PROPERTIES}log.dirs={}\n", folder.path().join("data").display()))?;
    let line = first_line(strata(&["start", "--config"])?.arg(&file))?;
    assert!(line.starts_with("ready on localhost:"), "{line}");
    Ok(())
}

#[test]
fn the_official_images_environment_starts_a_broker() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut command = strata(&["start"])?;
    command.envs(IMAGE_VARIABLES.iter().copied()).env("KAFKA_LOG_DIRS", folder.path().join("data"));
    let line = first_line(&mut command)?;
    assert!(line.starts_with("ready on localhost:"), "{line}");
    assert!(line.contains("cluster 4L6g3nShT-eMCtK--X86sw"), "{line}");
    Ok(())
}

#[test]
fn what_cannot_be_is_one_line_and_status_one() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data").display().to_string();
    let file = folder.path().join("file");
    fs::write(&file, "")?;
    let file = file.display().to_string();
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let taken = format!("PLAINTEXT://{}", taken.local_addr()?);
    let cases: &[(&str, &str, &str)] = &[
        ("--listeners", "PLAINTEXT://127.0.0.1:99999", "0 to 65535"),
        ("--listeners", "127.0.0.1:9092", "NAME://HOST:PORT"),
        ("--listeners", "SASL_SSL://127.0.0.1:0", "allowed are PLAIN, SCRAM-SHA-256"),
        ("--listeners", "ELSEWHERE://127.0.0.1:0", "does not say which protocol"),
        ("--override", "nonsense", "key=value"),
        ("--override", "=1", "key=value"),
        ("--override", "num.io.threads=0", "1 or more"),
        ("--override", "log.retention.ms=-5", "at least -1"),
        ("--override", "process.roles=king", "broker, controller"),
        ("--override", "zookeeper.connect=localhost:2181", "no ZooKeeper"),
        ("--object-store", "ftp://somewhere", "neither s3 nor file"),
        ("--object-store", "s3://", "bucket is missing"),
        ("--config", "/no/such/file", "/no/such/file"),
        ("--data-dir", &file, "the data directory"),
        ("--data-dir", "/proc/strata", "the data directory /proc/strata"),
        ("--listeners", &taken, "in use"),
    ];
    for (option, value, words) in cases {
        let mut arguments = vec!["start", *option, *value];
        for default in [["--data-dir", &data], ["--listeners", "PLAINTEXT://127.0.0.1:0"]] {
            if *option != default[0] {
                arguments.extend(default);
            }
        }
        assert_one_line(&format!("{option} {value}"), &run(&arguments)?, words);
    }
    Ok(())
}

/// All listeners ask for SCRAM, so that nobody could log in to make the first user.
#[test]
fn a_new_cluster_starts_with_the_users_that_it_is_told() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (data, login) = (folder.path().join("data"), folder.path().join("client.properties"));
    let topics = |user: &str, password: &str, address: &str| {
        let module = "org.apache.kafka.common.security.scram.ScramLoginModule";
        let text = format!(
            "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-512\n\
             sasl.jaas.config={module} required username=\"{user}\" password=\"{password}\";\n"
        );
        fs::write(&login, text)?;
        let login = login.to_string_lossy();
        run(&["topic", "list", "--bootstrap-server", address, "--command-config", &login])
    };
    for (user, is_known) in [("admin", true), ("later", false)] {
        let scram = format!("SCRAM-SHA-512=[name={user},password={user}-secret]");
        let data = data.to_string_lossy();
        let mut command =
            strata(&["start", "--data-dir", &data, "--listeners", "SASL_PLAINTEXT://127.0.0.1:0"])?;
        command.args(["--override", "sasl.enabled.mechanisms=SCRAM-SHA-512", "--add-scram", &scram]);
        let (line, _broker) = server(&mut command)?;
        let address = line.strip_prefix("ready on ").and_then(|rest| rest.split(' ').next());
        let address = address.with_context(|| line.clone())?;
        let wrong = topics("admin", "wrong", address)?;
        ensure!(!wrong.status.success(), "a wrong password lists topics");
        assert_eq!(topics("admin", "admin-secret", address)?.status.code(), Some(0));
        // Only a new cluster is given users.
        assert_eq!(topics(user, &format!("{user}-secret"), address)?.status.success(), is_known, "{user}");
    }
    Ok(())
}

#[test]
fn a_folder_has_one_owner_and_one_cluster() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data").display().to_string();
    let start = ["start", "--listeners", "PLAINTEXT://127.0.0.1:0", "--data-dir", &data];
    let mut owner = Running(strata(&start)?.spawn()?);
    let mut line = String::new();
    BufReader::new(owner.0.stdout.take().context("a pipe")?).read_line(&mut line)?;
    assert!(line.starts_with("ready"), "{line}");
    assert_one_line("a folder in use", &run(&start)?, "in use by another process");
    drop(owner);
    let other = strata(&start)?.env("CLUSTER_ID", "4L6g3nShT-eMCtK--X86sw").output()?;
    let said = String::from_utf8_lossy(&other.stderr);
    assert_eq!(other.status.code(), Some(1), "{said}");
    assert_eq!(said.matches("belongs to cluster").count(), 1, "{said}");
    Ok(())
}

#[test]
fn a_broker_that_is_not_there_is_told_within_seconds() -> anyhow::Result<()> {
    let nobody = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    for command in [&["topic", "list"][..], &["consume", "t"], &["query", "SELECT 1"]] {
        let began = Instant::now();
        let failed = run(&[command, &["--bootstrap-server", &nobody]].concat())?;
        assert_one_line(command[0], &failed, "Connection refused");
        assert!(began.elapsed() < Duration::from_secs(20), "{command:?} took {:?}", began.elapsed());
    }
    Ok(())
}

#[test]
fn a_reader_that_has_enough_is_no_failure() -> anyhow::Result<()> {
    let broker = Broker::start(BrokerOptions::default())?;
    let address = broker.address().to_string();
    let at = ["--bootstrap-server", &address];
    let created = run(&[&["topic", "create", "numbers"], &at[..]].concat())?;
    ensure!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    let numbers: String = (0..20_000).map(|number| format!("{number}\n")).collect();
    let mut produce = strata(&[&["produce", "numbers"], &at[..]].concat())?.stdin(Stdio::piped()).spawn()?;
    produce.stdin.take().context("a pipe")?.write_all(numbers.as_bytes())?;
    ensure!(produce.wait()?.success(), "produce failed");

    let all = ["consume", "numbers", "--from-beginning", "--until-end"];
    let whole = run(&[&all, &at[..]].concat())?;
    assert_eq!(whole.stdout, numbers.as_bytes());

    let mut consume = Running(strata(&[&all, &at[..]].concat())?.spawn()?);
    let mut line = String::new();
    BufReader::with_capacity(64, consume.0.stdout.take().context("a pipe")?).read_line(&mut line)?;
    assert_eq!(line, "0\n");
    // The pipe is closed now, with most of the records unread.
    let status = consume.0.wait()?;
    let mut said = String::new();
    consume.0.stderr.take().context("a pipe")?.read_to_string(&mut said)?;
    assert!(status.success() && said.is_empty(), "{status}: {said}");
    Ok(())
}
