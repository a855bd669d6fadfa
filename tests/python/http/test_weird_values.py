"""Every argument of the HTTP face with every kind of value: a typed error, or a call that ends.

Nothing answers at the URL; what is accepted ends as a ConnectionFailed.
"""

from __future__ import annotations

import decimal
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sluiceway import Gateway, Retry, SluicewayError
from sluiceway.providers.dialects.encoding import words
from tests.python.http.conftest import MakeGateway

NOWHERE = "http://127.0.0.1:9/v1"


def values() -> list[Any]:
    """Fresh ones: some can be read once."""
    return [
        *(None, True, False, 0, -1, 1, 3.5, 2**70, math.nan, math.inf, -math.inf),
        *("", "x", "a\nb", "\0", "\ud800", "ü", "1e400"),
        *(b"x", b"\xff", bytearray(b"z"), memoryview(b"abcd")[::2], object(), int),
        *([], [1], [("a", "b")], (), {1, 2}, iter([("a", b"x")]), decimal.Decimal("NaN")),
        *({}, {"a": 1}, {"a": b"x"}, {b"a": "b"}, {"a": ("n", None)}, {"f": Path("/tmp")}),
        *(io.BytesIO(b"x"), io.StringIO("x"), Path("/no/such/file")),
    ]


QUICK: dict[str, Any] = {"timeout_s": 5, "retry": Retry(1)}
OPTIONS = words(
    "json content data files headers free timeout_s pool_timeout_s connect_timeout_s"
    " read_timeout_s write_timeout_s tenant account idempotency_key priority retry nonsense"
)
DOWNLOAD = words(
    "url path provider headers resumes on_progress max_cost_usd timeout_s account tenant"
)
ACCOUNT = words(
    "base_url headers proxy no_proxy ca_file ca_dir client_cert client_key verify http_version"
    " unix_socket idle_reuse_s key_env plan"
)


def tried(run: Callable[[Any], object]) -> None:
    """Runs it with each value; what is no error of ours fails the test by itself."""
    for value in values():
        try:
            run(value)
        except SluicewayError as error:
            if error.outcome != "never_sent":
                pytest.fail(f"{value!r}: {error}")
        except Exception as error:
            error.add_note(f"the value was {value!r}")
            raise


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_options_of_a_call(name: str, reach_url: MakeGateway) -> None:
    gw: Any = reach_url(NOWHERE)
    tried(lambda value: gw.raw.post("openai", "/x", **{**QUICK, "free": True, name: value}))


def test_the_cap_of_a_call(reach_url: MakeGateway) -> None:
    gw: Any = reach_url(NOWHERE)
    tried(lambda value: gw.raw.post("openai", "/x", **{**QUICK, "max_cost_usd": value}))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_asked_for(place: int, reach_url: MakeGateway) -> None:
    gw: Any = reach_url(NOWHERE)
    asked = ["GET", "openai", "/x"]

    def run(value: Any) -> None:
        gw.raw.request(*asked[:place], value, *asked[place + 1 :], free=True, **QUICK)

    tried(run)


@pytest.mark.parametrize("name", sorted(DOWNLOAD))
def test_options_of_a_download(
    name: str, reach_url: MakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # some of the values are names of files
    gw: Any = reach_url(NOWHERE)
    given = {"url": NOWHERE, "path": tmp_path / "v", "resumes": 0, **QUICK}
    tried(lambda value: gw.raw.download(**{**given, name: value}))


@pytest.mark.parametrize("name", sorted(ACCOUNT))
def test_settings_of_an_account(name: str) -> None:
    def run(value: Any) -> None:
        account = {"base_url": NOWHERE, name: value}
        with Gateway({"ledger": {"durability": "memory"}, "accounts": {"openai": account}}) as gw:
            gw.raw.get("openai", "/x", free=True, **QUICK)

    tried(run)
