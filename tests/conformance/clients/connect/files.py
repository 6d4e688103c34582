"""Kafka Connect, unmodified: a distributed worker with the file source and the file sink.
Usage: files.py BOOTSTRAP plain|exactly-once

Lines of a file become records and lines of another file. The worker is killed and started again, the sink's offsets are
reset, and in the end every line is where it should be, as often as it should be.
"""

import json
import signal
import socket
import sys
import urllib.error
import urllib.request

import worker

# Seconds that the worker may take to answer.
ANSWER_S_MAX = 30


class Rest:
    """The worker's REST API."""

    def __init__(self, port):
        self.at = f"http://127.0.0.1:{port}"

    def ask(self, method, path, body=None):
        """The status and what was answered."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.at + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_S_MAX) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            # Before the worker is ready, its server answers in HTML.
            text = error.read()
            return error.code, json.loads(text) if text.startswith(b"{") else None

    def state(self, name):
        """The connector's state, and those of its tasks."""
        status, answer = self.ask("GET", f"/connectors/{name}/status")
        return (answer["connector"]["state"], [task["state"] for task in answer["tasks"]]) if status == 200 else None

    def await_state(self, name, state):
        worker.wait_for(f"{name} to be {state}", lambda: self.state(name) == state)
        print(f"{name}: {state[0]}, tasks {state[1]}")

    def offsets(self, name):
        return self.ask("GET", f"/connectors/{name}/offsets")[1]["offsets"]


def properties(bootstrap, port, mode):
    own = "exactly.once.source.support"
    return {
        "bootstrap.servers": bootstrap, "group.id": f"{mode}-workers", "listeners": f"http://127.0.0.1:{port}",
        "config.storage.topic": f"{mode}-configs", "config.storage.replication.factor": 1,
        "offset.storage.topic": f"{mode}-offsets", "offset.storage.replication.factor": 1, "offset.storage.partitions": 5,
        "status.storage.topic": f"{mode}-status", "status.storage.replication.factor": 1, "status.storage.partitions": 3,
        "offset.flush.interval.ms": 500, "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "value.converter": "org.apache.kafka.connect.storage.StringConverter", "plugin.discovery": "service_load",
        "scheduled.rebalance.max.delay.ms": 0, own: "enabled" if mode == "exactly-once" else "disabled",
    }  # fmt: skip


def lines(numbers):
    return "".join(f"line {number}\n" for number in numbers)


def append(path, numbers):
    with open(path, "a") as file:
        file.write(lines(numbers))


def came(path, expected):
    """Waits until the sink has written just these lines, in this order, as all of them are of one partition."""
    worker.wait_for(f"{len(expected)} lines", lambda: path.exists() and len(path.read_text().splitlines()) >= len(expected))
    print(f"{len(expected)} lines came, as they should: {path.read_text() == lines(expected)}")


def settled(rest, names, source_bytes, sink_offset):
    """Waits until both connectors' offsets are those of all that there is, so that a kill costs nothing."""
    def both():
        source, sink = map(rest.offsets, names)
        return source and sink and source[0]["offset"]["position"] == source_bytes and \
            sink[0]["offset"]["kafka_offset"] >= sink_offset
    worker.wait_for("the offsets", both)
    print("source offsets:", [offset["offset"] for offset in rest.offsets(names[0])])


def run(bootstrap, mode, folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    rest, source, sink = Rest(port), folder / "in.txt", folder / "out.txt"
    # Both ways are played on one server: nothing of the one may be taken for the other's.
    topic, reader, writer = f"{mode}-lines", f"{mode}-source", f"{mode}-sink"
    own = properties(bootstrap, port, mode)
    start = lambda: worker.Java("org.apache.kafka.connect.cli.ConnectDistributed", own, folder, "worker")  # noqa: E731
    process = start()
    try:
        worker.wait_for("the worker", lambda: rest.ask("GET", "/connectors")[0] == 200)
        print("kafka cluster known:", bool(rest.ask("GET", "/")[1]["kafka_cluster_id"]))
        append(source, range(50))
        # With a partition of its own for order; the connector names no topic settings in its plain form.
        config = {"connector.class": "FileStreamSource", "file": str(source), "topic": topic, "tasks.max": "1",
                  "topic.creation.default.partitions": "1", "topic.creation.default.replication.factor": "1"}
        print("source created:", rest.ask("PUT", f"/connectors/{reader}/config", config)[0])
        config = {"connector.class": "FileStreamSink", "file": str(sink), "topics": topic, "tasks.max": "1",
                  "consumer.override.auto.offset.reset": "earliest"}
        print("sink created:", rest.ask("PUT", f"/connectors/{writer}/config", config)[0])
        running = ("RUNNING", ["RUNNING"])
        rest.await_state(reader, running)
        rest.await_state(writer, running)
        came(sink, list(range(50)))
        append(source, range(50, 80))
        came(sink, list(range(80)))
        settled(rest, (reader, writer), len(lines(range(80))), 80)

        print("sink stopped:", rest.ask("PUT", f"/connectors/{writer}/stop")[0])
        rest.await_state(writer, ("STOPPED", []))
        status = worker.wait_for("the reset", lambda: (lambda s: s if s == 200 else None)(rest.ask("DELETE", f"/connectors/{writer}/offsets")[0]))
        print("sink offsets reset:", status, rest.offsets(writer))
        sink.unlink()
        print("sink resumed:", rest.ask("PUT", f"/connectors/{writer}/resume")[0])
        rest.await_state(writer, running)
        came(sink, list(range(80)))
        settled(rest, (reader, writer), len(lines(range(80))), 80)

        process.end(signal.SIGKILL)
        append(source, range(80, 100))
        process = start()
        worker.wait_for("the worker", lambda: rest.ask("GET", "/connectors")[0] == 200)
        rest.await_state(reader, running)
        rest.await_state(writer, running)
        came(sink, list(range(100)))

        for name in (reader, writer):
            print(f"{name} deleted:", rest.ask("DELETE", f"/connectors/{name}")[0])
        print("connectors left:", rest.ask("GET", "/connectors")[1])
    finally:
        process.end()
    values = [message.value().decode() + "\n" for message in worker.records(bootstrap, topic, 100)]
    print("records in the topic:", len(values), "in order:", "".join(values) == lines(range(100)))
    print("topics:", [name for name in worker.topics(bootstrap) if name.startswith(f"{mode}-")])
    for name in (f"{mode}-configs", f"{mode}-offsets", f"{mode}-status", topic):
        print(name, worker.setting(bootstrap, name, "cleanup.policy"))


if __name__ == "__main__":
    with worker.folder() as work:
        run(sys.argv[1], sys.argv[2], work)
