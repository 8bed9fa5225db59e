# SPDX-License-Identifier: BSD-3-Clause
"""Test runs without their start: a process that has imported what each of them imports.

Most runs of a proof take less time than importing torch and pytest does. This process imports them
once and forks for each run, so that every run still starts without anything of the project.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path

# None of these starts a thread, imports the project or is a plugin of pytest, which rewrites those.
MODULES = ("numpy", "torch", "torch.testing", "pytest", "_pytest.junitxml")
_STEP = 0.02


class Runner:
    """Runs pytest in forks of one process, one at a time.

    Args:
        folder: where the runs take place.
        environment: theirs.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._log = folder / "proof-run.log"
        self._server = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve())],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, arguments: list[str], limit: float) -> tuple[int, str]:
        """(exit status, what was printed); ``TimeoutExpired`` after ``limit`` seconds."""
        request = {"arguments": arguments, "log": str(self._log), "limit": limit}
        print(json.dumps(request), file=self._server.stdin, flush=True)
        answer = self._server.stdout.readline()
        if not answer:
            raise ChildProcessError("the process that runs the tests has ended")
        status = json.loads(answer)
        if status is None:
            raise subprocess.TimeoutExpired(["pytest", *arguments], limit)
        return status, self._log.read_text(errors="replace")

    def close(self) -> None:
        """End the process."""
        self._server.communicate()


def _wait(pid: int, limit: float) -> int | None:
    """The exit status of a child, which is killed with its children after ``limit`` seconds."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(_STEP)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def _child(arguments: list[str], log: str) -> None:
    os.setpgid(0, 0)
    to = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for stream in (1, 2):
        os.dup2(to, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    status = 70
    try:
        status = int(importlib.import_module("pytest").main(arguments))
    except BaseException:  # what ends the child is to be read in its log
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Nothing of the parent's is to be cleaned up here.
        os._exit(status)


def serve() -> None:
    """Answer one line of JSON, a run, with another, its status or null, until there is no more."""
    # As `python -m pytest` does; this file's own folder is not the tests'.
    sys.path[0] = str(Path.cwd())
    for name in MODULES:
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            _child(request["arguments"], request["log"])
        print(json.dumps(_wait(pid, request["limit"])), flush=True)


if __name__ == "__main__":
    serve()
