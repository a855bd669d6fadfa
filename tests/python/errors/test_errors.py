"""The exception tree: as drawn, complete, picklable, without secrets, and honest about retrying."""

from __future__ import annotations

import inspect
import pickle
import re
from decimal import Decimal
from pathlib import Path

import pytest

from sluiceway import errors
from sluiceway.errors import Balance, BudgetExceeded, InDoubt, RateLimited, SluicewayError
from sluiceway.types import Attempt

_STATUS_CC = Path(__file__).parents[3] / "src" / "cpp" / "base" / "status.cc"


def _classes() -> list[type[SluicewayError]]:
    return [
        cls
        for _, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, SluicewayError)
    ]


def test_the_tree_at_the_top_of_the_file_is_the_tree() -> None:
    drawn: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines()[2:]:
        if line.startswith("Every one carries"):
            break
        match = re.match(r"( +)([A-Z]\w+(?:, [A-Z]\w+)*)", line)
        if match is None:
            continue
        depth, names = len(match[1]), match[2].split(", ")
        path = [entry for entry in path if entry[0] < depth]
        for name in names:
            drawn[name] = path[-1][1] if path else ""
        path.append((depth, names[0]))
    assert set(drawn) == {cls.__name__ for cls in _classes()}
    for name, parent in drawn.items():
        cls = getattr(errors, name)
        if parent:
            assert getattr(errors, parent) in cls.__mro__[1:], f"{name} is not below {parent}"
        else:
            assert cls is SluicewayError


def test_every_kind_of_the_core_has_a_class() -> None:
    kinds = re.findall(r'case ErrorKind::\w+:\s+return "(\w+)"', _STATUS_CC.read_text())
    assert len(kinds) >= 20
    assert set(errors.CLASS_OF_KIND) == set(kinds) - {"none"}


@pytest.mark.parametrize("cls", _classes())
def test_pickling_keeps_class_and_fields(cls: type[SluicewayError]) -> None:
    error = cls(
        "it failed",
        outcome="in_doubt",
        provider="openai",
        model="gpt-x",
        status_code=502,
        intent_id="i-1",
        call_id="c-1",
        provider_request_id="req_1",
        attempts=[Attempt("openai/gpt-x", {"number": 1, "status_code": 502})],
        held=Decimal("0.25"),
        retry_after_s=2.5,
        text="half a",
    )
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert str(copy) == str(error)
    assert copy.__dict__.keys() == error.__dict__.keys()
    assert copy.held == Decimal("0.25")
    assert (copy.attempts[0].model, copy.attempts[0].status_code) == ("openai/gpt-x", 502)
    assert copy.retryable is False  # nothing in doubt is ever retryable
    assert copy.args == error.args


@pytest.mark.parametrize("cls", _classes())
def test_every_class_can_be_made_from_a_message_alone(cls: type[SluicewayError]) -> None:
    error = cls("it failed")  # as the compiled core makes them
    assert str(error) == "it failed"
    assert error.outcome == "never_sent"
    assert error.held == 0


def test_retryable_needs_proof() -> None:
    assert RateLimited("x", outcome="refused").retryable
    assert not RateLimited("x", outcome="done").retryable
    assert not errors.BadRequest("x", outcome="refused").retryable
    assert errors.DeadlineExceeded("x", outcome="never_sent").retryable
    assert not errors.TimedOutInDoubt("x", outcome="in_doubt").retryable
    assert not InDoubt("x", outcome="in_doubt").retryable


def test_a_deadline_after_sending_is_both() -> None:
    cls = errors.error_class("deadline_exceeded", "in_doubt")
    assert issubclass(cls, InDoubt)
    assert issubclass(cls, errors.DeadlineExceeded)
    assert issubclass(cls, TimeoutError)
    assert errors.error_class("deadline_exceeded", "never_sent") is errors.DeadlineExceeded


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcdef0123456789",
        "sk-ant-api03-obviously-fake",
        "Bearer obviously-fake-key",
        "AIzaObviouslyFake0123",
        "gsk_obviouslyfake0123",
    ],
)
def test_messages_blank_what_looks_like_a_key(secret: str) -> None:
    key = secret.removeprefix("Bearer ")
    error = SluicewayError(f"Incorrect API key provided: {secret}. Find yours at https://x.test")
    for shown in (str(error), repr(error), error.message, pickle.dumps(error).decode("latin-1")):
        assert key not in shown
    assert "Find yours at https://x.test" in str(error)


def test_str_names_the_call() -> None:
    error = RateLimited(
        "slow down", provider="openai", model="m", status_code=429, intent_id="i", call_id="c"
    )
    assert str(error) == "slow down [openai/m, status 429, intent i]"


def test_a_balance_adds_up() -> None:
    balance = Balance(Decimal("3.00"), Decimal("1.20"), Decimal("0.30"), Decimal("0.50"), False)
    assert balance.left == Decimal("1.00")
    error = BudgetExceeded("no", scope="video:42", balance=balance, would_cost=Decimal("1.01"))
    assert (error.limit, error.spent, error.in_doubt) == (
        Decimal("3.00"),
        Decimal("1.20"),
        Decimal("0.50"),
    )
    assert error.balance.held == Decimal("0.30")
    assert error.held == 0  # this call itself holds nothing
    assert Balance(None, Decimal(1), Decimal(0), Decimal(0), False).left is None
