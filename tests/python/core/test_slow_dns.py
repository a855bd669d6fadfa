"""A name server that does not answer: its calls can be cancelled, and hinder nobody else.

The resolver's function is replaced in a process of its own (LD_PRELOAD) by one that does not come
back for the name "slow.test" until the process ends or a file is there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sluiceway
from tests.python.core.kit import WAIT_S, Bench, chat, spec

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static volatile int asked;
int slow_lookups(void) { return asked; }
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **result) {
  typedef int (*resolver)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
  if (node != NULL && strcmp(node, "slow.test") == 0) {
    __sync_fetch_and_add(&asked, 1);
    while (access(getenv("DNS_ANSWERS"), F_OK) != 0) usleep(2000);
    node = "127.0.0.1";
  }
  resolver next = (resolver)dlsym(RTLD_NEXT, "getaddrinfo");
  return next(node, service, hints, result);
}
"""

SCRIPT = """
import asyncio, ctypes, json, os, pathlib, sys, time
from sluiceway import _core
shim = ctypes.CDLL(os.environ["LD_PRELOAD"])
spec, slow, body = json.loads(sys.stdin.read())
for one in (spec, slow):
    one["sheet"]["rows"][0]["factor"] = tuple(one["sheet"]["rows"][0]["factor"])
engine = _core.Engine({"durability": "memory"})
near, far = engine.add_route(spec), engine.add_route(slow)
def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)
def run(route, **options):
    call = engine.submit(route, body, max_output_tokens=64, **options)
    call.wait()
    return call

calls = [engine.submit(far, body, max_output_tokens=64, timeout_s=60) for _ in range(3)]
until(lambda: shim.slow_lookups() > 0)
begun = time.monotonic()
for _ in range(50):
    assert run(near).ok
calls[0].cancel()
calls[0].wait()
assert (calls[0].error_kind, calls[0].outcome) == ("cancelled", "never_sent"), calls[0].message
async def cancel():
    task = asyncio.ensure_future(calls[1])
    await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
asyncio.run(cancel())
calls[1].wait()
for _ in range(50):
    assert run(near).ok
late = run(far, timeout_s=0.2)
assert (late.error_kind, late.outcome) == ("deadline_exceeded", "never_sent"), late.message
late = run(far, connect_timeout_s=0.2, attempts=1)
assert not late.ok and late.outcome == "never_sent"
assert time.monotonic() - begun < 15
if sys.argv[1] == "answer":
    pathlib.Path(os.environ["DNS_ANSWERS"]).touch()
    calls[2].wait()
    assert calls[2].ok, calls[2].message
    assert run(far).ok
print("fine", flush=True)
engine.close(0.2)
print("closed", flush=True)
"""


@pytest.mark.parametrize("how", ["answer", "leave"])
def test_a_cancel_during_a_lookup_does_not_block_the_engine(
    how: str, bench: Bench, tmp_path: Path
) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler (cc or gcc) for the slow resolver")
    source, shim = tmp_path / "resolver.c", tmp_path / "resolver.so"
    source.write_text(SHIM)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(shim), str(source), "-ldl"], check=True)
    fast = spec(bench.simulator)
    slow = fast | {"url": fast["url"].replace("127.0.0.1", "slow.test"), "retry": {"attempts": 1}}
    environment = os.environ | {
        "PYTHONPATH": os.path.dirname(os.path.dirname(sluiceway.__file__)),
        "LD_PRELOAD": str(shim),
        "DNS_ANSWERS": str(tmp_path / "answers"),
    }
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        try:
            given = json.dumps([fast, slow, chat()])
            out, errors = process.communicate(given, timeout=2 * WAIT_S)
        finally:
            process.kill()
    assert (process.returncode, out, errors) == (0, "fine\nclosed\n", "")
