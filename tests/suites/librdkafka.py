"""librdkafka: the tests in C and C++ that its source brings along, which the crate rdkafka-sys holds.

Each test is played by a process of its own, so that one that hangs costs only itself. Settings are those of its test
cluster (tests/scenarios/default.json), on one node. Left out are tests that need no broker (-L), those with known issues
(-K), and those of its socket emulator (-E).
"""

import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess

import suite

# The crate's version; its source is librdkafka 2.12.1.
VERSION = "4.10.0+2.12.1"
PARALLEL = 4
SECONDS_MAX = 150


class Librdkafka(suite.Suite):
    name = "librdkafka"
    settings = {
        "num.partitions": "4",
        "auto.create.topics.enable": "true",
        "group.initial.rebalance.delay.ms": "0",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
    }
    home = suite.CACHE / f"librdkafka-{VERSION}"
    runner = home / "tests/test-runner"

    def install(self):
        if self.runner.exists():
            return
        suite.fresh(self.home)
        shutil.copytree(self.source(), self.home, dirs_exist_ok=True, copy_function=shutil.copy)
        steps = (["./configure", "--disable-gssapi", "--disable-curl"], ["make", "-j2", "libs"])
        with open(self.home / "build.log", "w") as log:
            for step in steps:
                subprocess.run(step, cwd=self.home, check=True, stdout=log, stderr=log)
            subprocess.run(["make", "-j2", "test-runner"], cwd=self.home / "tests", check=True, stdout=log, stderr=log)

    def source(self):
        """The crate's folder, as cargo has unpacked it for the workspace's own tests."""
        described = subprocess.run(
            ["cargo", "metadata", "--format-version=1", "--locked"], cwd=suite.HERE, check=True, stdout=subprocess.PIPE
        ).stdout
        for package in json.loads(described)["packages"]:
            if package["name"] == "rdkafka-sys":
                if package["version"] != VERSION:
                    raise SystemExit(f"rdkafka-sys is {package['version']}: take a new baseline, and change VERSION here")
                return pathlib.Path(package["manifest_path"]).parent / "librdkafka"
        raise SystemExit("rdkafka-sys is not among the workspace's packages")

    def numbers(self):
        """The numbers of the tests: files are named by them."""
        return sorted({path.name[:4] for path in (self.home / "tests").glob("0[0-9][0-9][0-9]-*.c*")})

    def play(self, bootstrap, folder, tests, quick):
        (folder / "test.conf").write_text(f"bootstrap.servers={bootstrap}\ntest.topic.random=true\n")
        kafka = self.kafka_path(folder)
        numbers = self.numbers() if tests is None else sorted({name[:4] for name in tests})

        def play_one(number):
            report = folder / f"{number}.json"
            libraries = f"{self.home}/src:{self.home}/src-cpp"
            environment = {
                "TESTS": number, "TEST_REPORT": report, "RDKAFKA_TEST_CONF": folder / "test.conf", "BROKERS": bootstrap,
                "TEST_KAFKA_VERSION": "4.3.1", "KAFKA_PATH": kafka, "LD_LIBRARY_PATH": libraries,
            }  # fmt: skip
            # Its timeouts are three times as long under CI, which is for its own machines.
            inherited = {name: value for name, value in os.environ.items() if name != "CI"}
            options = ["-L", "-K", "-E", "-p1"] + (["-Q"] if quick else [])
            with open(folder / f"{number}.out", "w") as out:
                done = subprocess.Popen(
                    [self.runner, *options], cwd=folder, env=inherited | {k: str(v) for k, v in environment.items()},
                    stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                )  # fmt: skip
                try:
                    done.wait(SECONDS_MAX if quick else 4 * SECONDS_MAX)
                except subprocess.TimeoutExpired:
                    done.kill()
                    done.wait()
            return self.results(number, report)

        results = {}
        with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
            for found in pool.map(play_one, numbers):
                results |= found
        return results

    def results(self, number, report):
        """What the report says of the tests with this number; without one the process was ended, and has failed."""
        if not report.exists():
            return {number: suite.FAIL}
        states = {"PASSED": suite.PASS, "SKIPPED": suite.SKIP}
        return {
            name: states.get(test["state"], suite.FAIL)
            for name, test in json.loads(report.read_text())["tests"].items()
            if name.startswith(number)
        }

    def kafka_path(self, folder):
        """A few tests call Apache Kafka's scripts: these are the conformance tests' tools under those names."""
        scripts = folder / "kafka/bin"
        scripts.mkdir(parents=True, exist_ok=True)
        for name in ("kafka-acls", "kafka-configs", "kafka-topics"):
            script = scripts / f"{name}.sh"
            script.write_text(f'#!/usr/bin/env bash\n. "{suite.HERE.parent}/conformance/env.sh"\ntool {name} "$@"\n')
            script.chmod(0o755)
        return scripts.parent
