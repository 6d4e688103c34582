#!/usr/bin/env python3
"""Writes the schema files beside this script from the message definitions inside Apache Kafka's own jars.

    ./import.py 4.4.0            # every file from release 4.4.0, jars fetched with Maven
    ./import.py 4.4.0 4.3.1      # the clients' messages from 4.4.0, the servers' records from 4.3.1
    ./import.py --jars DIR ...   # the same, but look for kafka-*-VERSION.jar in DIR first

To follow a Kafka release: run it, read `git diff`, build, run `../golden/generate` and the golden tests.
Only facts are taken (names, types, versions, tags, defaults), in the notation that README.md explains.
Python's standard library is all it needs.
"""

import argparse
import json
import pathlib
import re
import subprocess
import tempfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent

# The servers' records: one schema file for each of these jars.
SERVER_JARS = {
    "kafka-group-coordinator": "group_coordinator",
    "kafka-transaction-coordinator": "transaction_coordinator",
    "kafka-share-coordinator": "share_coordinator",
    "kafka-metadata": "metadata",
    "kafka-storage": "storage",
}
RECORD_TYPES = ("metadata", "coordinator-key", "coordinator-value")


def fetch(artifact, version, folders, scratch):
    """The jar's path: from one of the folders, or else downloaded by its Maven coordinates."""
    name = f"{artifact}-{version}.jar"
    for folder in folders:
        if (pathlib.Path(folder) / name).exists():
            return pathlib.Path(folder) / name
    subprocess.run(
        ["mvn", "-q", "dependency:copy", f"-Dartifact=org.apache.kafka:{artifact}:{version}", f"-DoutputDirectory={scratch}"],
        check=True,
    )
    return pathlib.Path(scratch) / name


def definitions(jar):
    """Every message definition in a jar. The files are JSON with whole-line comments."""
    with zipfile.ZipFile(jar) as archive:
        for name in sorted(archive.namelist()):
            if re.search(r"(^|/)(message|metadata)/\w+\.json$", name):
                text = archive.read(name).decode()
                yield json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))


def default(value):
    if isinstance(value, bool):
        return str(value).lower()
    value = str(value)
    if value.startswith("0x"):
        return str(int(value, 16))
    return value if value else '""'


def field_lines(fields, indent):
    for field in fields:
        versions = field.get("versions") or field["taggedVersions"]
        words = [field["name"], field["type"], versions]
        if "nullableVersions" in field:
            words.append(f"nullable {field['nullableVersions']}")
        if "tag" in field:
            words.append(f"tag {field['tag']} {field['taggedVersions']}")
        if field.get("default") is not None:  # a bare null is no default to Kafka's generator; "null" is
            words.append(f"default {default(field['default'])}")
        if str(field.get("ignorable", "")).lower() == "true":
            words.append("ignorable")
        if field.get("flexibleVersions") == "none":
            words.append("inflexible")
        yield "  " * indent + " ".join(words)
        yield from field_lines(field.get("fields", []), indent + 1)


def message_lines(opening, message):
    yield f"{opening} {message['validVersions']} flexible {message.get('flexibleVersions', 'none')}"
    for common in message.get("commonStructs", []):
        yield f"  struct {common['name']} {common['versions']}"
        yield from field_lines(common["fields"], 2)
    yield from field_lines(message["fields"], 1)


def write(name, version, lines):
    (HERE / f"{name}.txt").write_text("\n".join([f"# Apache Kafka {version}", *lines]) + "\n")


def snake(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def write_apis(messages, version):
    """One file for each API key. A key whose messages Kafka has withdrawn ("none") is left out."""
    requests = {m["apiKey"]: m for m in messages if m["type"] == "request"}
    responses = {m["apiKey"]: m for m in messages if m["type"] == "response"}
    for key, request in sorted(requests.items()):
        if request["validVersions"] == "none":
            continue
        name = request["name"].removesuffix("Request")
        opening = f"api {key} {name} on {' '.join(request['listeners'])}"
        if request.get("latestVersionUnstable"):
            opening += " unstable"
        lines = [opening, *message_lines("request", request), *message_lines("response", responses[key])]
        write(f"{key:03}_{snake(name)}", version, lines)


def write_others(file, messages, version):
    lines = []
    for message in messages:
        if message["type"] in RECORD_TYPES:
            lines += message_lines(f"record {message['apiKey']} {message['name']}", message)
        elif message["type"] in ("header", "data"):
            lines += message_lines(f"data {message['name']}", message)
    write(file, version, lines)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("clients", help="Kafka release of the clients' messages")
    arguments.add_argument("servers", nargs="?", help="Kafka release of the servers' records; the same unless given")
    arguments.add_argument("--jars", action="append", default=[], help="a folder to look for jars in first")
    given = arguments.parse_args()
    servers = given.servers or given.clients
    for old in HERE.glob("*.txt"):
        old.unlink()
    with tempfile.TemporaryDirectory() as scratch:
        messages = list(definitions(fetch("kafka-clients", given.clients, given.jars, scratch)))
        write_apis(messages, given.clients)
        write_others("clients", messages, given.clients)
        for artifact, file in SERVER_JARS.items():
            jar = fetch(artifact, servers, given.jars, scratch)
            write_others(file, list(definitions(jar)), servers)


if __name__ == "__main__":
    main()
