"""A callback that wants out (SystemExit, Ctrl-C) leaves `close()`; the gateway is closed all the
same, and so is every other one when the process ends."""

from __future__ import annotations

import weakref

import pytest

from sluiceway import GatewayClosed, _hub
from sluiceway._thresholds import Watcher
from tests.python.gateway.conftest import MakeGateway

MODEL = "openai/gpt-4o-mini"


def _leave(self: Watcher) -> None:
    raise SystemExit(3)  # as a callback of the user's does, which this calls


def test_close(make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gw = make_gateway()
    with gw.budget("video:1", usd="1.00") as budget:
        budget.on_threshold(lambda event: None)
        gw.chat(MODEL, "hi")
    with monkeypatch.context() as patched:
        patched.setattr(Watcher, "look_at_all", _leave)
        with pytest.raises(SystemExit):
            gw.close()
    with pytest.raises(GatewayClosed):
        gw.chat(MODEL, "hi")


def test_the_end_of_the_process(make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateways = [make_gateway() for _ in range(3)]
    for gw in gateways:
        gw.budget("video:1", usd="1.00").on_threshold(lambda event: None)
        gw.chat(MODEL, "hi")
    with monkeypatch.context() as patched:
        patched.setattr(_hub, "_open_hubs", weakref.WeakSet(gw._hub for gw in gateways))
        patched.setattr(Watcher, "look_at_all", _leave)
        with pytest.raises(SystemExit):
            _hub._close_all()
    for gw in gateways:
        with pytest.raises(GatewayClosed):
            gw.chat(MODEL, "hi")
