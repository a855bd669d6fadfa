"""A server's thread: what its start raises is raised where it was asked for."""

from __future__ import annotations

import threading

import pytest

from sluiceway.simulator.errors import StartError
from sluiceway.simulator.loop_thread import LoopThread

NAME = "sluiceway-test-loop"


def running() -> bool:
    return any(thread.name == NAME for thread in threading.enumerate())


async def nothing() -> None:
    pass


def test_it_starts_and_stops_in_one_thread() -> None:
    names: list[str] = []

    async def step() -> None:
        names.append(threading.current_thread().name)

    thread = LoopThread(NAME, "server", step, step)
    assert (names, running()) == ([NAME], True)
    thread.close()
    thread.close()
    assert (names, running()) == ([NAME, NAME], False)


@pytest.mark.parametrize("error", [OSError("taken"), StartError("cannot listen")])
def test_a_failure_is_handed_over(error: Exception) -> None:
    async def fail() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        LoopThread(NAME, "server", fail, nothing)
    assert raised.value is error
    assert not running()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_is_no_server() -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(StartError, match="the server's thread ended before it listened"):
        LoopThread(NAME, "server", fail, nothing)
    assert not running()
