"""Servers that fork their workers: Celery's prefork pool, gunicorn --preload.

Both make the gateway before the fork and use it there, as an application that is loaded first and
a task that warms up at import do.
"""

from __future__ import annotations

from collections import Counter

import pytest

from sluiceway.simulator import Simulator
from tests.python.hosts.conftest import COST_NANOUSD, HEAD, Scripts, need

# Broker and results are folders: no server, and the worker is the real one with its prefork pool.
_CELERY = """
import celery, pathlib, tempfile
folder = pathlib.Path(os.environ["SLUICEWAY_LEDGER"]).parent / "broker"
folder.mkdir(exist_ok=True)
app = celery.Celery(
    "tasks",
    broker="filesystem://",
    backend=f"file://{folder}",
)
app.conf.update(
    broker_transport_options={
        "data_folder_in": str(folder), "data_folder_out": str(folder),
        "control_folder": str(folder / "control"),
    },
    worker_prefetch_multiplier=1,
    task_serializer="json",
    worker_hijack_root_logger=False,
)

@app.task(name="ask")
def ask(number):
    with gw.budget("job:1", usd="1.00"):
        result = gw.chat(MODEL, PROMPT, idempotency_key=f"task-{number}")
    return [os.getpid(), result.cost.nanousd]
"""

_CELERY_MAIN = """
if __name__ == "__main__":
    gw.chat(MODEL, PROMPT)  # the parent's engine runs when the pool is forked
    from celery.contrib.testing.worker import start_worker
    import logging
    logging.disable()
    with start_worker(app, pool="prefork", concurrency=3, perform_ping_check=False, loglevel=None):
        waits = [ask.delay(number) for number in range(30)]
        told = [wait.get(timeout=60) for wait in waits]
    workers = {pid for pid, _ in told}
    assert os.getpid() not in workers and 1 <= len(workers) <= 3, workers
    assert {cost for _, cost in told} == {10_350}
    gw.chat(MODEL, PROMPT)
    print(len(told))
"""


def test_celerys_prefork_pool(scripts: Scripts, sim: Simulator) -> None:
    need("celery", "billiard")
    process = scripts.start(HEAD + _CELERY + _CELERY_MAIN)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert out.strip().endswith("30")
    assert sim.executions()["total"] == 32
    ends, holds = scripts.books()
    assert Counter(end["kind"] for end in ends)["settle"] == 32
    assert holds == []
    assert sum(end["scopes"] == ["job:1"] for end in ends) == 30


_POOL = """
import billiard, multiprocessing

def work(number):
    return gw.chat(MODEL, PROMPT).cost.nanousd

if __name__ == "__main__":
    gw.chat(MODEL, PROMPT)
    pools = {"billiard": billiard, "fork": multiprocessing.get_context("fork"),
             "spawn": multiprocessing.get_context("spawn")}
    with pools[KIND].Pool(3, maxtasksperchild=4) as pool:  # children end and are forked anew
        assert pool.map(work, range(24)) == [10_350] * 24
        gw.chat(MODEL, PROMPT)
        pool.close()
        pool.join()
"""


@pytest.mark.parametrize("kind", ["billiard", "fork", "spawn"])
def test_a_pool_whose_children_close_nothing(scripts: Scripts, sim: Simulator, kind: str) -> None:
    """They leave by os._exit after their finalizers, and with everything written."""
    need("billiard")
    scripts.run(f"KIND = {kind!r}\n" + HEAD + _POOL)
    assert sim.executions()["total"] == 26
    ends, holds = scripts.books()
    assert len(ends) == 26
    if kind == "billiard":  # Celery has a signal; a bare pool ends its workers without a word
        assert len(holds) <= 6
        return
    assert [end["amount_nanousd"] for end in ends] == [COST_NANOUSD] * 26
    assert holds == []


_WSGI = """
import os
import sluiceway as sw

gw = sw.Gateway.from_env()
gw.chat("openai/gpt-4o-mini", "abcdefgh")  # at load: the master's engine is running at the fork

def application(environ, start_response):
    result = gw.chat("openai/gpt-4o-mini", "abcdefgh")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {result.cost.nanousd}".encode()]
"""

_GUNICORN = """
import json, os, signal, subprocess, sys, threading, time, urllib.request

folder = os.path.dirname(os.environ["SLUICEWAY_LEDGER"])
with open(os.path.join(folder, "served.py"), "w") as file:
    file.write(WSGI)
# Port 0, and the log says which one it became.
server = subprocess.Popen(
    [sys.executable, "-m", "gunicorn", "--preload", "--workers", "3", "--bind", "127.0.0.1:0",
     "--no-control-socket", "--graceful-timeout", "3", "--worker-class", KIND,
     "served:application"],
    cwd=folder, stderr=subprocess.PIPE, text=True,
)
port = None
log = []
for line in server.stderr:
    log.append(line)
    if "Listening at: http://127.0.0.1:" in line:
        port = int(line.partition("http://127.0.0.1:")[2].split()[0])
        break
else:
    raise SystemExit("".join(log))
threading.Thread(target=lambda: log.extend(server.stderr), daemon=True).start()

answers = []
def ask():
    for _ in range(6):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
            answers.append(answer.read().decode().split())
threads = [threading.Thread(target=ask) for _ in range(5)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
server.send_signal(signal.SIGTERM)
assert server.wait(30) == 0, "".join(log)
assert len(answers) == 30, "".join(log)
assert {cost for _, cost in answers} == {"10350"}
assert str(server.pid) not in {pid for pid, _ in answers}
"""


def _gunicorn(scripts: Scripts, sim: Simulator, kind: str) -> None:
    need("gunicorn")
    scripts.run(f"WSGI, KIND = {_WSGI!r}, {kind!r}\n" + _GUNICORN, timeout_s=90)
    assert sim.executions()["total"] == 31
    ends, holds = scripts.books()
    assert Counter(end["kind"] for end in ends) == {"settle": 31}
    assert holds == []


def test_gunicorn_preload(scripts: Scripts, sim: Simulator) -> None:
    """The master loads the application and makes a call; three workers are forked from it."""
    _gunicorn(scripts, sim, "sync")


def test_gunicorn_preload_with_threads(scripts: Scripts, sim: Simulator) -> None:
    _gunicorn(scripts, sim, "gthread")


def test_gunicorn_preload_with_gevent(scripts: Scripts, sim: Simulator) -> None:
    need("gevent")
    _gunicorn(scripts, sim, "gevent")


_TERMINATED = """
if __name__ == "__main__":
    import multiprocessing
    def work():
        gw.chat(MODEL, SLOW)
    context = multiprocessing.get_context("fork")
    gw.chat(MODEL, PROMPT)
    child = context.Process(target=work)
    child.start()
    wait_executed(2)
    child.terminate()
    child.join()
    assert child.exitcode == -signal.SIGTERM
    assert gw.chat(MODEL, PROMPT).cost.nanousd == 10_350
"""


def test_a_worker_that_is_terminated(scripts: Scripts) -> None:
    """Its open call is found in doubt by whoever looks at the ledger next."""
    scripts.run(HEAD + _TERMINATED)
    ends, holds = scripts.books()
    assert Counter(end["kind"] for end in ends) == {"settle": 2, "in_doubt": 1}
    assert [hold["in_doubt"] for hold in holds] == [True]
