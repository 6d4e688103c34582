"""The scenario that every client plays (see ../README.md), for the Python clients. A client is an object with

    create(topic, partitions, config) -> error code      offsets(topic, spec) -> {partition: offset}
    produce(topic, codec, records)                       committed(group, topic) -> {partition: offset}
    join(group, topic) -> member                         group(group) -> (state, number of members)
    topics() -> {name: partitions}                       delete_group(group), delete_topic(topic) -> error code

where spec is "earliest", "latest" or a timestamp. A member has poll() -> [Record], assignment() -> partitions, commit(), close().
"""

import sys
import time
from typing import NamedTuple, Optional

PARTITIONS = 3
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
RECORDS_PER_CODEC = 12
START_MS = 1_700_000_000_000
WAIT_S = 30


class Record(NamedTuple):
    partition: int
    offset: int
    timestamp: int
    key: Optional[bytes]
    value: Optional[bytes]
    headers: list  # of (str, bytes or None)

    def line(self):
        headers = " ".join(f"{name}={text(value)}" for name, value in self.headers)
        return f"record {self.partition}/{self.offset} {self.timestamp} {text(self.key)} {text(self.value)} [{headers}]"


def text(data):
    return "null" if data is None else '"' + data.decode() + '"'


def records(codec, number):
    """What is produced for the number-th codec: nulls, empties, repeated headers, and enough likeness to compress."""
    for n in range(RECORDS_PER_CODEC):
        key = None if n % 4 == 3 else f"key-{n}".encode()
        value = None if n % 5 == 4 else b"" if n == 0 else f"{codec} {n} {'abcdefghij' * 8}".encode()
        headers = []
        if n % 2 == 0:
            headers = [("codec", codec.encode()), ("n", str(n).encode()), ("n", b"again"), ("empty", b"")]
        if n % 6 == 0:
            headers.append(("null", None))
        timestamp = START_MS + 1000 * (number * RECORDS_PER_CODEC + n)
        yield Record(n % PARTITIONS, -1, timestamp, key, value, headers)


def say(*words):
    print(*words, flush=True)


def wait(what, condition, *members):
    """Polls the members until the condition holds."""
    end = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"timed out: {what}")
        for member in members:
            member.poll()


def consume(member, count):
    """Reads count records, and would notice more."""
    found, end = [], time.monotonic() + WAIT_S
    while len(found) < count:
        if time.monotonic() > end:
            sys.exit(f"timed out: {len(found)} of {count} records came")
        found += member.poll()
    found += member.poll()
    for record in sorted(found):
        say(record.line())


def partitions(by_partition):
    return " ".join(str(by_partition.get(partition)) for partition in range(PARTITIONS))


def rebalance(client, group, topic):
    everything = list(range(PARTITIONS))
    first = client.join(group, topic)
    wait("the first member gets every partition", lambda: first.assignment() == everything, first)
    say("rebalance: one member has", *first.assignment())
    second = client.join(group, topic)
    both = lambda: [member.assignment() for member in (first, second)]
    wait("both members get partitions", lambda: all(both()) and sorted(sum(both(), [])) == everything, first, second)
    say("rebalance: two members have", *sorted(len(share) for share in both()), "together", *sorted(sum(both(), [])))
    say("group:", *client.group(group))
    second.close()
    wait("the first member gets every partition back", lambda: first.assignment() == everything, first)
    say("rebalance: one left, the other has", *first.assignment())
    first.close()
    say("group:", *client.group(group))


def play(client, topic):
    say("create:", client.create(topic, PARTITIONS, {"retention.ms": "-1"}))
    say("create again:", client.create(topic, PARTITIONS, {}))
    wait("the topic is there", lambda: topic in client.topics())
    say("partitions:", client.topics()[topic])
    for number, codec in enumerate(CODECS):
        client.produce(topic, codec, list(records(codec, number)))
    for spec in ("earliest", "latest", START_MS + 17_500, START_MS + 3_600_000):
        say(f"offsets {spec}:", partitions(client.offsets(topic, spec)))

    group = f"{topic}-group"
    member = client.join(group, topic)
    consume(member, len(CODECS) * RECORDS_PER_CODEC)
    member.commit()
    member.close()
    say("committed:", partitions(client.committed(group, topic)))
    say("group:", *client.group(group))

    client.produce(topic, "none", list(records("more", len(CODECS))))
    member = client.join(group, topic)
    consume(member, RECORDS_PER_CODEC)
    member.commit()
    member.close()
    say("resumed and committed:", partitions(client.committed(group, topic)))

    rebalance(client, group, topic)
    say("delete group:", client.delete_group(group))
    say("delete topic:", client.delete_topic(topic))
    wait("the topic is gone", lambda: topic not in client.topics())
    say("done")
