"""Where Anthropic's message batches are. What happens there: simulator/batches.py.

Source: Anthropic's OpenAPI document (2026-05-06).
"""

from __future__ import annotations

PATH = "/v1/messages/batches"


def operation_of(method: str, path: str) -> str | None:
    """ "batch", "batch/<id>", "batch/<id>/results" or "batch/<id>/cancel"; None for other paths."""
    if not path.startswith(PATH):
        return None
    rest = path.removeprefix(PATH)
    if not rest:
        return "batch" if method == "POST" else None
    words = rest.removeprefix("/").split("/")
    if len(words) == 1 and method == "GET":
        return "batch/" + words[0]
    if len(words) == 2 and (method, words[1]) in (("GET", "results"), ("POST", "cancel")):
        return f"batch/{words[0]}/{words[1]}"
    return None
