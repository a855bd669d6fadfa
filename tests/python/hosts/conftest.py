"""Hosts: programs that run calls in their own way, each as a script in a process of its own."""

from __future__ import annotations

import importlib.util

import pytest

from tests.fixtures import clean_environment as clean_environment
from tests.fixtures import sim as sim
from tests.python.crash.conftest import Scripts as Scripts
from tests.python.crash.conftest import running_simulator as running_simulator
from tests.python.crash.conftest import scripts as scripts

COST_NANOUSD = 10_350  # of HEAD's prompt: see crash/test_fork.py
HEAD = """
import asyncio, json, os, signal, sys, threading, time, urllib.request
import sluiceway as sw

MODEL = "openai/gpt-4o-mini"
PROMPT = "abcdefgh"
SLOW = PROMPT + " [[simulator: latency_ms=60000]]"
SHORT = PROMPT + " [[simulator: latency_ms=300]]"
STREAM = PROMPT + " [[simulator: output_tokens=40 token_ms=1]]"
SLOW_STREAM = PROMPT + " [[simulator: output_tokens=100 token_ms=60000]]"
EMBEDDING = {"model": "text-embedding-3-small", "input": "abcdefgh"}
gw = sw.Gateway.from_env()

def executed():
    url = os.environ["SLUICEWAY_SIMULATOR_URL"] + "/_simulator/executions"
    return json.load(urllib.request.urlopen(url))["total"]

def wait_executed(count):
    while executed() < count:
        time.sleep(0.005)
"""


def need(*modules: str) -> None:
    """Skips the test where a host is not installed."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed (the dev group has it)")
