"""Every fault of the fault server against the whole engine, through the public gateway.

One case is a fault, a protocol, and a whole answer or a stream. What it must come to stands in the
core's table (`fault_rows` names a class, `outcome_rows` says what the class means for the money,
for re-sending and for the caller); what was executed and charged stands in the server's counters.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from sluiceway import Gateway, SluicewayError, _core
from sluiceway.errors import error_class
from sluiceway.simulator.faults import FAULTS, PROTOCOLS, Fault, FaultServer
from sluiceway.simulator.faults.table import STANDING
from tests.fixtures import QUICK_RETRY, empty_environment

OUTCOMES: dict[str, dict[str, Any]] = {row["failure"]: row for row in _core.outcome_rows()}
COMES_TO: dict[str, dict[str, str]] = {row["fault"]: row for row in _core.fault_rows()}
MODEL = "openai/gpt-6-luna"
SILENCE_S = 0.4
CASES = [
    pytest.param(fault, protocol, stream, id=f"{fault.name}-{protocol}{'-stream' * stream}")
    for fault in FAULTS.values()
    for protocol in fault.over
    for stream in (False, True)
]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No keys, no base URLs and no ledger of whoever runs the tests."""
    empty_environment(monkeypatch)
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, FaultServer]]:
    """One server a protocol: making certificates takes longer than most cases."""
    with ExitStack() as stack:
        yield {
            protocol: stack.enter_context(FaultServer(tls=protocol.endswith("tls")))
            for protocol in PROTOCOLS
        }


def gateway(server: FaultServer, protocol: str) -> Gateway:
    account = {
        "base_url": server.base_url("openai"),
        "http_version": "2" if protocol.startswith("h2") else "1.1",
    }
    if server.ca_file:
        account["ca_file"] = server.ca_file
    return Gateway(
        {
            "ledger": {"path": ":memory:", "durability": "memory"},
            "accounts": {"openai": {"default": account}},
            "retries": {"openai": QUICK_RETRY},
            "breakers": {"openai": {"enabled": False}},
        }
    )


def ask(gw: Gateway, fault: Fault, stream: bool) -> SluicewayError | None:
    """One call; its error, or None."""
    options: dict[str, Any] = {"timeout_s": 20.0, "max_output_tokens": 64}
    if fault.name in ("connect_hang", "tls_stall"):
        options["connect_timeout_s"] = 0.2
    if fault.name.startswith("stall"):
        options["read_timeout_s"] = SILENCE_S
    try:
        if stream:
            with gw.stream(MODEL, "hello", **options) as answer:
                for _ in answer:
                    pass
                answer.result()
        else:
            gw.chat(MODEL, "hello", **options)
    except SluicewayError as error:
        return error
    return None


@pytest.mark.parametrize(("fault", "protocol", "stream"), CASES)
def test_outcome(
    fault: Fault, protocol: str, stream: bool, servers: dict[str, FaultServer]
) -> None:
    with ExitStack() as stack:
        server = servers[protocol]
        if fault.name in STANDING:
            server = stack.enter_context(FaultServer(fault.name, tls=protocol.endswith("tls")))
        else:
            server.set(fault.name)
        seen, billed = len(server.seen), server.billed_nanousd
        gw = stack.enter_context(gateway(server, protocol))
        error = ask(gw, fault, stream)
        requests = server.seen[seen:]
        check_error(error, fault, stream)
        check_executions(requests, fault, error)
        check_money(gw, server.billed_nanousd - billed, row_of(fault, stream))


def row_of(fault: Fault, stream: bool) -> dict[str, Any]:
    return OUTCOMES[COMES_TO[fault.name]["streamed" if stream else "whole"]]


def check_error(error: SluicewayError | None, fault: Fault, stream: bool) -> None:
    """The exception and its outcome are the table's; what may be sent again is sent three times."""
    row = row_of(fault, stream)
    if row["failure"] == "none":
        assert error is None, error
        return
    assert error is not None
    assert type(error) is error_class(row["error_kind"], row["outcome"]), error
    assert error.outcome == row["outcome"], error
    assert len(error.attempts) == (3 if row["resend"] else 1), error.attempts
    assert {attempt.outcome for attempt in error.attempts} == {row["outcome"]}
    assert error.retryable == (row["outcome"] in ("never_sent", "refused") and error.may_pass)


def check_executions(requests: list[Any], fault: Fault, error: SluicewayError | None) -> None:
    """At most one request and one execution an attempt, and none that the fault rules out."""
    attempts = [request.attempt for request in requests]
    assert len(set(attempts)) == len(attempts)
    assert "" not in attempts
    executions = sum(request.executed for request in requests)
    assert executions == int(fault.executed)
    if error is not None and error.outcome in ("never_sent", "refused"):
        assert executions == 0


def check_money(gw: Gateway, billed_nanousd: int, row: dict[str, Any]) -> None:
    """Settled at what was charged, given back, or held at the ceiling, which is above it."""
    assert gw.flush()
    kinds = [entry["kind"] for entry in gw.ledger.entries()]
    held = sum(hold["amount_nanousd"] for hold in gw.ledger.holds())
    assert kinds == ["reserve", row["books"]]
    if row["books"] == "settle":
        settled = [e["amount_nanousd"] for e in gw.ledger.entries() if e["kind"] == "settle"]
        assert (settled, held) == ([billed_nanousd], 0)
    elif row["books"] == "void":
        assert (billed_nanousd, held) == (0, 0)
    else:
        assert held >= max(billed_nanousd, 1)


def test_the_table_says_what_the_faults_are() -> None:
    """Nothing that may have been executed is given back, and nothing sent again."""
    for fault in FAULTS.values():
        for column in ("whole", "streamed"):
            row = OUTCOMES[COMES_TO[fault.name][column]]
            if fault.executed:
                assert row["outcome"] in ("in_doubt", "done"), fault
                assert row["books"] != "void", fault
                assert not row["resend"], fault
