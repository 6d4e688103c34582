"""What the suites share: how one is described, and how the results of a run of Go tests are read."""

import json
import os
import pathlib
import re
import shutil
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "strata/suites"

PASS, FAIL, SKIP = "pass", "fail", "skip"


class Suite:
    """A client's own tests, played against a server that somebody else has started."""

    name = ""
    # What the client's own continuous integration sets on its brokers, for both servers.
    settings = {}
    # The same where it is for Apache Kafka only (where its tests would otherwise not pass), or for Strata only.
    settings_of = {"kafka": {}, "strata": {}}
    # Ports that the tests cannot be told, so that the server and the tests get a network namespace of their own.
    ports = ()

    def install(self):
        """Fetches and builds what is not there yet."""

    def prepare(self, bootstrap):
        """What must be there before the tests, made through the server's own protocol."""

    def play(self, bootstrap, folder, tests, quick):
        """Runs the tests named, or all (`tests` is None), and answers {name: pass, fail or skip}."""
        raise NotImplementedError


def go_binary(package):
    """Builds a package's tests, once for each version; answers the program and the package's folder."""
    folder = subprocess.run(
        ["go", "list", "-f", "{{.Dir}}", package], cwd=HERE / "go", check=True, text=True, stdout=subprocess.PIPE
    ).stdout.strip()
    program = CACHE / "go" / (folder.split("/pkg/mod/")[-1].replace("/", "-") + ".test")
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        half = program.with_suffix(".half")
        subprocess.run(["go", "test", "-c", "-o", half, package], cwd=HERE / "go", check=True)
        half.rename(program)
    return program, folder


def go_test(package, folder, environment, tests, seconds_max):
    """Runs a package's tests with `environment`; what they said goes to `folder`."""
    program, sources = go_binary(package)
    pattern = "." if tests is None else "|".join(f"^{name}$" for name in sorted({t.split("/")[0] for t in tests}))
    command = [program, "-test.v=test2json", f"-test.timeout={seconds_max}s", "-test.run", pattern]
    said = folder / f"{program.stem}.json"
    with open(said, "a") as out, open(folder / f"{program.stem}.err", "a") as err:
        tests_process = subprocess.Popen(
            command, cwd=sources, env=os.environ | environment, stdout=subprocess.PIPE, stderr=err
        )
        converter = subprocess.Popen(["go", "tool", "test2json", "-t"], cwd=HERE / "go", stdin=tests_process.stdout, stdout=out)
        tests_process.stdout.close()
        try:
            tests_process.wait(seconds_max + 30)
        except subprocess.TimeoutExpired:
            tests_process.kill()
        converter.wait()
    return go_results(said)


def go_results(said):
    """The last word on each test. One that was begun and never ended has failed."""
    results = {}
    words = {"PASS": PASS, "FAIL": FAIL, "SKIP": SKIP}
    for line in said.read_text(errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        name, action = event.get("Test"), event.get("Action")
        if name and action in ("run", PASS, FAIL, SKIP):
            results[name] = FAIL if action == "run" else action
        # Where a run is ended by its time limit, some ends are told in words only.
        told = re.match(r" *--- (PASS|FAIL|SKIP): (\S+)", event.get("Output", ""))
        if told:
            results[told[2]] = words[told[1]]
    return results


def fresh(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
