"""A million records go to the archive and come back: nothing is lost, nothing changes.

 1. Produce records of mixed sizes with every codec: null and empty keys and values, headers of every kind.
 2. Consume them from the log; a digest over everything a consumer sees, offset by offset, is the reference.
 3. Let the local log go (local.retention.bytes=1), once the archive holds it all.
 4. Consume again, now from Parquet on S3: the same digest, partition by partition.
 5. DuckDB over the bucket's files, and `strata query` over the topic, agree with the consumer: counts, sums, checksums.

On Apache Kafka (--server kafka), steps 1, 2 and 4 run, without an archive: that proves the test's own arithmetic.
"""

import argparse
import csv
import hashlib
import importlib.util
import os
import pathlib
import random
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic

import servers

TOPIC = "million"
PARTITIONS = 4
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
START_MS = 1_700_000_000_000
SEGMENT_BYTES = 4 << 20
WAIT_S = 300


def records(count, chance):
    """(key, value, headers) of each record. Mostly small, some of kilobytes; compressible, but not all alike."""
    text = " ".join(str(chance.randrange(10**6)) for _ in range(20_000)).encode()
    for n in range(count):
        size = n % 97 if n % 10 else 1_000 + n % 3_000
        at = chance.randrange(len(text) - size)
        value = None if n % 23 == 7 else text[at:at + size]
        key = None if n % 7 == 3 else b"" if n % 101 == 5 else b"key-%d" % (n % 5_000)
        headers = []
        if n % 5 == 0:
            headers = [("n", str(n).encode()), ("twice", b"1"), ("twice", b"2")]
        if n % 15 == 0:
            headers += [("null", None), ("empty", b""), ("ünïcode", "é".encode())]
        yield key, value, headers


def produce(bootstrap, count, chance):
    """One idempotent producer for each codec, in turns of a few hundred records."""
    failed = []
    producers = [Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "compression.type": codec,
                           "linger.ms": 20, "queue.buffering.max.messages": 50_000}, logger=servers.QUIET) for codec in CODECS]
    for n, (key, value, headers) in enumerate(records(count, chance)):
        producer = producers[n // 500 % len(producers)]
        while True:
            try:
                producer.produce(TOPIC, value, key, n % PARTITIONS, timestamp=START_MS + n, headers=headers,
                                 on_delivery=lambda error, _: error and failed.append(error))
                break
            except BufferError:
                producer.poll(0.1)
        if n % 500 == 0:
            producer.poll(0)
    for producer in producers:
        if producer.flush(WAIT_S) or failed:
            sys.exit(f"not delivered: {failed[:3] or 'in time'}")


class View:
    """What one reader sees of a partition: counts, sums, and a checksum that any SQL engine can make."""

    def __init__(self):
        self.records = self.keys = self.values = self.value_bytes = self.headers = 0
        self.everything, self.checksum = hashlib.sha256(), 0

    def add(self, message):
        key, value, headers = message.key(), message.value(), message.headers() or []
        self.records += 1
        self.keys += key is not None
        self.values += value is not None
        self.value_bytes += len(value or b"")
        self.headers += len(headers)
        self.everything.update(repr((message.offset(), message.timestamp(), key, value, headers)).encode())
        key, value = ("-" if data is None else hashlib.md5(data).hexdigest() for data in (key, value))
        row = hashlib.md5(f"{message.offset()}/{message.timestamp()[1]}/{key}/{value}".encode()).hexdigest()
        self.checksum += int.from_bytes(row[:4].encode())

    def summary(self):
        return [self.records, self.keys, self.values, self.value_bytes, self.headers, self.checksum]


def consume(bootstrap):
    """Reads every partition from the start to its end, and answers a View of each."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False,
                         "auto.offset.reset": "error", "check.crcs": True})
    ends = {partition: consumer.get_watermark_offsets(TopicPartition(TOPIC, partition), 60)[1] for partition in range(PARTITIONS)}
    consumer.assign([TopicPartition(TOPIC, partition, 0) for partition in ends])
    views = {partition: View() for partition in ends}
    position, end = dict.fromkeys(ends, 0), time.monotonic() + WAIT_S
    while position != ends:
        if time.monotonic() > end:
            sys.exit(f"read up to {position} of {ends} in {WAIT_S} s")
        for message in consumer.consume(10_000, 1):
            if message.error():
                raise KafkaException(message.error())
            if message.offset() != position[message.partition()]:
                sys.exit(f"{message.partition()}/{message.offset()} came where {position[message.partition()]} was due")
            position[message.partition()] += 1
            views[message.partition()].add(message)
    consumer.close()
    return views


# Per partition: records, keys, values, bytes of values, headers, and a checksum: the sum of numbers made of the digest of
# each row. A sum needs no order and no memory, and the digest covers offset, timestamp, key and value.
SQL = """
SELECT _partition, count(*), count(_key), count(_value), {value_bytes}, {headers},
       sum(ascii(substr(row, 1, 1)) * 16777216 + ascii(substr(row, 2, 1)) * 65536 + ascii(substr(row, 3, 1)) * 256
           + ascii(substr(row, 4, 1)))
FROM (SELECT *, md5(concat(CAST(_offset AS VARCHAR), '/', CAST({milliseconds} AS VARCHAR), '/', coalesce(md5(_key), '-'), '/',
                           coalesce(md5(_value), '-'))) AS row
      FROM {table})
GROUP BY _partition ORDER BY _partition"""


def duckdb_connect():
    import duckdb
    connection = duckdb.connect()
    # The extension is a Python package: nothing is fetched at run time.
    package = pathlib.Path(importlib.util.find_spec("duckdb_extension_httpfs").origin).parent
    connection.execute(f"LOAD '{package}/extensions/v{duckdb.__version__}/httpfs.duckdb_extension'")
    key, secret, url = (os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"))
    connection.execute(f"CREATE SECRET (TYPE s3, KEY_ID '{key}', SECRET '{secret}', ENDPOINT '{url.split('//')[1]}', "
                       "URL_STYLE 'path', USE_SSL false, REGION 'us-east-1')")
    return connection


def in_duckdb(connection, files):
    sql = SQL.format(table=f"read_parquet('{files}')", value_bytes="sum(octet_length(_value))",
                     headers="sum(len(_headers))", milliseconds="epoch_ms(_timestamp)")
    return {row[0]: list(row[1:]) for row in connection.execute(sql).fetchall()}


def in_strata(server):
    sql = SQL.format(table=f'"{TOPIC}"', value_bytes="sum(octet_length(encode(_value, 'hex')) / 2)",
                     headers="sum(coalesce(array_length(_headers), 0))", milliseconds="CAST(_timestamp AS BIGINT)")
    printed = servers.run(os.environ["STRATA_BIN"], "query", sql, "--format", "csv", "--bootstrap-server", server.bootstrap,
                          timeout=WAIT_S)
    rows = csv.reader(printed.splitlines()[1:])
    return {int(row[0]): [int(field) for field in row[1:]] for row in rows}


def archive_everything(server, admin, connection, files, count):
    """Waits until the archive has every record, then until the log has let the archived segments go."""
    end = time.monotonic() + WAIT_S

    def archived():
        try:
            return connection.execute(f"SELECT count(*) FROM read_parquet('{files}')").fetchone()[0]
        except Exception as error:  # no file yet
            return f"0 ({str(error).splitlines()[0]})"

    while (now := archived()) != count:
        if time.monotonic() > end:
            sys.exit(f"{now} of {count} records are in the archive after {WAIT_S} s")
        time.sleep(0.5)
    setting = ConfigEntry("local.retention.bytes", "1", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, TOPIC, incremental_configs=[setting])
    [future] = admin.incremental_alter_configs([resource]).values()
    future.result(30)
    while len(logs := list((server.folder / "data").glob(f"{TOPIC}-*/*.log"))) > PARTITIONS:
        if time.monotonic() > end:
            sys.exit(f"there are still {len(logs)} local segments after {WAIT_S} s")
        time.sleep(0.2)


def compare(name, found, expected):
    for partition in expected:
        if found.get(partition) != expected[partition]:
            sys.exit(f"{name}: partition {partition} is\n  {found.get(partition)}\nand should be\n  {expected[partition]}")


def play(options, folder):
    archive = options.server == "strata"
    settings = {"segment.bytes": str(SEGMENT_BYTES), "retention.ms": "-1"}
    arguments = ["--override", "log.retention.check.interval.ms=500"]
    if archive:
        folder.minio()
        bucket = os.environ["S3_BUCKET"]
        arguments = ["--object-store", f"s3://{bucket}/million", *arguments]
        settings |= {"remote.storage.enable": "true", "strata.archive.lag.ms": "1000"}
    server = folder.server(options.server, *arguments)
    admin = AdminClient({"bootstrap.servers": server.bootstrap}, logger=servers.QUIET)
    admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1, config=settings)])[TOPIC].result(30)

    def step(what):
        print(f"  {time.monotonic() - began:6.1f} s  {what}", flush=True)

    began = time.monotonic()
    produce(server.bootstrap, options.records, random.Random(options.seed))
    step(f"{options.records} records produced")
    before = consume(server.bootstrap)
    step("consumed from the log")
    if archive:
        connection, files = duckdb_connect(), f"s3://{bucket}/million/data/{TOPIC}/**/*.parquet"
        archive_everything(server, admin, connection, files, options.records)
        step("archived, and local segments gone")
    after = consume(server.bootstrap)
    compare("the second read", {p: view.everything.hexdigest() for p, view in after.items()},
            {p: view.everything.hexdigest() for p, view in before.items()})
    step("consumed again: the same, offset by offset")
    summary = {partition: view.summary() for partition, view in before.items()}
    if sum(row[0] for row in summary.values()) != options.records:
        sys.exit(f"the consumer sees {summary}")
    if archive:
        compare("DuckDB", in_duckdb(connection, files), summary)
        step("DuckDB reads the same from the bucket")
        compare("strata query", in_strata(server), summary)
        step("strata query reads the same")
    server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--server", choices=["strata", "kafka"], default="strata")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(f"archive: {options.records} records on {options.server}, seed {options.seed}", flush=True)
    with servers.Folder() as folder:
        play(options, folder)


main()
