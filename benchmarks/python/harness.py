"""Starts the server and the clients of the engine's rows, interleaved, each on its core.

Model: `Bench.server()` is our C++ server on the last core of this process's set; `Bench.run()`
starts one client process on the first core and reads its line. `Bench.rounds()` runs several
subjects in turn, round after round, so that what drifts on the machine hits all of them; the result
of a subject is its list of rounds. `ratio` is the median over the rounds of a quotient of two runs
of the same round. With one core everything shares it and `one_core` is true: such figures compare
with nothing.

SLUICEWAY_BENCH_CPP is the folder of the compiled programs (else build/bench-cpp),
SLUICEWAY_BENCH_ROUNDS the number of rounds (else 5), SLUICEWAY_BENCH_CALLS a factor on the number
of calls a run. SLUICEWAY_BENCH_LITELLM is a Python that has litellm, which pins an old openai: in
one environment that old one would be measured as well. Files go below build/bench, on the disk of
the checkout, and are removed: /tmp is memory on many machines, and a ledger there proves nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from benchmarks.python.clients.common import ABSENT, POST_BYTES, TEXT, post_bytes

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "build" / "bench"
RUN_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Result:
    """One run of one client: microseconds of CPU time a call, calls a second, latencies."""

    cpu_us: float
    calls_per_s: float
    p50_us: float
    p99_us: float
    version: str
    calls: int
    stats: Mapping[str, Any] = field(default_factory=dict)
    threads_us: Mapping[str, float] = field(default_factory=dict)

    @property
    def core_percent(self) -> float:
        """CPU time in percent of the wall time: how much of a core was busy."""
        return self.cpu_us * self.calls_per_s / 1e4


@dataclass(frozen=True)
class Subject:
    """A client and its load. `client` is a module below clients/, or "floor" for libcurl.

    `post_bytes` is the size of the request, `text_bytes` about that of the answer's text, which the
    server has to be told as well; `options` are arguments of the client. `ledger` is a file that
    exists already and stays; else a durable run begins with an empty one.
    """

    client: str
    name: str
    calls: int
    in_flight: int = 64
    durable: bool = False
    options: tuple[str, ...] = ()
    post_bytes: int = POST_BYTES
    text_bytes: int = len(TEXT)
    ledger: Path | None = None


Rounds = dict[str, list[Result]]


class Absent(Exception):
    """A client's library cannot be imported; str() is the import's own words."""


class Bench:
    """The machine, the compiled programs, the scratch folder. One for a run of pytest."""

    def __init__(self, rounds: int, factor: float) -> None:
        self.cpp = Path(os.environ.get("SLUICEWAY_BENCH_CPP", ROOT / "build" / "bench-cpp"))
        self.round_count = rounds
        self.factor = factor
        self.cores = sorted(os.sched_getaffinity(0))
        self.one_core = len(self.cores) == 1
        OUT.mkdir(parents=True, exist_ok=True)
        self.scratch = Path(tempfile.mkdtemp(prefix="run-", dir=OUT))
        self.versions: dict[str, str] = {}
        self.absent: dict[str, str] = {}  # subjects without rows, and why

    def close(self) -> None:
        """Removes what the runs wrote."""
        shutil.rmtree(self.scratch, ignore_errors=True)

    def program(self, name: str) -> Path | None:
        """A compiled program, or None where `make bench` has not built it."""
        for folder in (self.cpp, self.cpp / "benchmarks" / "cpp"):
            if (folder / name).is_file():
                return folder / name
        return None

    def calls(self, count: int) -> int:
        """`count` calls scaled by the factor of this run, at least 64."""
        return max(64, int(count * self.factor))

    @contextlib.contextmanager
    def server(self, *options: str) -> Iterator[str]:
        """The benchmark server on the last core; gives its origin."""
        with self._server(options) as out:
            yield f"http://127.0.0.1:{int(out.readline())}"

    @contextlib.contextmanager
    def tls_server(self, *options: str) -> Iterator[tuple[str, str]]:
        """The same over TLS; its origin and the path of the certificate to trust."""
        with self._server(("--tls", *options)) as out:
            yield f"https://127.0.0.1:{int(out.readline())}", out.readline().strip()

    @contextlib.contextmanager
    def _server(self, options: tuple[str, ...]) -> Iterator[IO[str]]:
        program = self.program("bench_server")
        if program is None:
            raise FileNotFoundError(
                f"bench_server is not in {self.cpp}; build it with `make bench`"
            )
        with self._pinned(self.cores[-1]):
            process = subprocess.Popen(
                [program, *options],
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "TMPDIR": str(self.scratch)},
            )
        try:
            assert process.stdout is not None
            yield process.stdout
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    @contextlib.contextmanager
    def _pinned(self, core: int) -> Iterator[None]:
        """Children started here run on `core`: they inherit it, and it is put back."""
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {core})
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)

    def run(self, subject: Subject, base_url: str) -> Result:
        """One run in a process of its own on the first core. AssertionError for a wrong answer."""
        calls = max(self.calls(subject.calls), subject.in_flight)
        warm = max(subject.in_flight * 4, 64)
        folder = Path(tempfile.mkdtemp(dir=self.scratch))
        if subject.client == "floor":
            program = self.program("curl_floor")
            assert program is not None, "curl_floor is not built"
            command = [str(program), f"{base_url}/chat/completions", str(calls)]
            post = folder / "post.json"
            post.write_bytes(post_bytes(subject.post_bytes))
            command += [str(subject.in_flight), str(post), str(warm), *subject.options]
        else:
            python = sys.executable
            if subject.name == "litellm":
                python = os.environ.get("SLUICEWAY_BENCH_LITELLM", python)
            command = [python, "-m", f"benchmarks.python.clients.{subject.client}"]
            command += [subject.name, "--url", base_url, "--calls", str(calls)]
            command += ["--in-flight", str(subject.in_flight), "--warm", str(warm)]
            command += ["--post-bytes", str(subject.post_bytes)]
            command += ["--text-bytes", str(subject.text_bytes)]
            command += subject.options
            if subject.durable:
                command += ["--ledger", str(subject.ledger or folder / "ledger.db")]
        with self._pinned(self.cores[0]):
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                cwd=ROOT,
                timeout=RUN_TIMEOUT_S,
                check=False,
            )
        shutil.rmtree(folder, ignore_errors=True)
        if done.returncode == ABSENT:
            raise Absent(done.stderr.strip().splitlines()[-1])
        assert done.returncode == 0, f"{command[:4]}: {done.stderr[-2000:]}"
        line = json.loads(done.stdout.splitlines()[-1])
        assert line.pop("bad") == 0, f"{subject.name}: wrong answers"
        result = Result(**line)
        name, _, version = result.version.partition(" ")
        self.versions[name] = version
        return result

    def rounds(self, subjects: Mapping[str, Subject], base_url: str) -> Rounds:
        """Every subject once a round, in turn. A subject whose library is absent is left out."""
        results: Rounds = {name: [] for name in subjects}
        for _ in range(self.round_count):
            for name in list(results):
                try:
                    results[name].append(self.run(subjects[name], base_url))
                except Absent as why:
                    self.absent[name] = str(why)
                    del results[name]
        return results


def median(results: list[Result], of: Callable[[Result], float]) -> float:
    """The median over the rounds."""
    return statistics.median(of(one) for one in results)


def ratio(above: list[Result], below: list[Result], of: Callable[[Result], float]) -> float:
    """The median over the rounds of one subject's figure divided by another's."""
    pairs = zip(above, below, strict=True)
    return statistics.median(of(one) / of(other) for one, other in pairs)


def difference(above: list[Result], below: list[Result], of: Callable[[Result], float]) -> float:
    """The median over the rounds of one subject's figure less another's."""
    pairs = zip(above, below, strict=True)
    return statistics.median(of(one) - of(other) for one, other in pairs)
