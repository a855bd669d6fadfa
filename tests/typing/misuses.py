"""Mistakes that a type checker must see; each is marked with the error that mypy gives it.

`warn_unused_ignores` (part of --strict) makes a mark without an error an error itself.
"""

from __future__ import annotations

import sluiceway as sw


def mistakes(gw: sw.Gateway, r: sw.ChatResult) -> None:
    """Never run."""
    gw.chat("openai/gpt-x", "hi", temperture=0.1)  # type: ignore[call-arg]
    gw.chat("openai/gpt-x", "hi", timeout_s="5")  # type: ignore[arg-type]
    gw.chat("openai/gpt-x", b"hi")  # type: ignore[arg-type]
    gw.chat("openai/gpt-x")  # type: ignore[call-arg]
    gw.budget("video:1", usd=3.0)  # type: ignore[arg-type]
    gw.with_options(retry=3)  # type: ignore[arg-type]
    r.txt  # type: ignore[attr-defined] # noqa: B018
    sw.TokenBucket("100", 10)  # type: ignore[arg-type]
