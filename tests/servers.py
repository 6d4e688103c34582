"""Servers for the Python tests: started and ended by the scripts beside this file."""

import logging
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

# For clients: a librdkafka that loses its server says so once a second, and here it is meant to.
QUIET = logging.getLogger("quiet")
QUIET.setLevel(logging.CRITICAL)

TESTS = pathlib.Path(__file__).resolve().parent


def run(*command, **options):
    """Runs a script, its words on standard error, and answers what it printed."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, **options)
    if done.returncode:
        sys.exit(f"{pathlib.Path(str(command[0])).name} failed")
    return done.stdout


def exports(printed):
    """The variables that a start script prints."""
    words = (line.removeprefix("export ").split("=", 1) for line in printed.splitlines())
    return {name: shlex.split(value)[0] for name, value in words}


class Folder:
    """A temporary folder that stays where a test fails, and the servers in it, which never do."""

    def __enter__(self):
        self.path = pathlib.Path(tempfile.mkdtemp())
        return self

    def __exit__(self, kind, error, trace):
        run(TESTS / "stop", *self.path.iterdir())
        if kind is None:
            shutil.rmtree(self.path)
        else:
            print(f"logs and data: {self.path}", file=sys.stderr)

    def minio(self):
        """Starts MinIO; the environment of its clients becomes ours, and so that of servers started from now on."""
        os.environ.update(exports(run(TESTS / "s3/start-minio", self.path / "minio")))

    def server(self, kind, *arguments):
        return Server(kind, self.path / kind, arguments)


class Server:
    def __init__(self, kind, folder, arguments):
        self.kind, self.folder, self.arguments = kind, folder, arguments
        self.start()

    def start(self):
        began = time.monotonic()
        printed = run(TESTS / f"conformance/start-{self.kind}", self.folder, *self.arguments)
        self.bootstrap = exports(printed)["BOOTSTRAP"]
        self.started_in_s = time.monotonic() - began

    def stop(self):
        run(TESTS / "stop", self.folder)

    def kill(self):
        """SIGKILL now; returns when the process is gone."""
        os.kill(int((self.folder / "server.pid").read_text()), signal.SIGKILL)
        run(TESTS / "stop", "--kill", self.folder)
