"""Real usage bodies and costs, read by our dialects, against what others extracted from them.

Three sets under the shared folder (SLUICEWAY_SHARED, or ../shared), each record a body through the
real core:

- usage_oracle.json: usage bodies with the counts that pydantic/genai-prices extracts from them. For
  our dialects every bucket must be equal, or `_explained` gives the reason.
- provider_reported_costs.jsonl: what the provider itself said that a call cost. Each must be found
  and taken, exact to a nano-dollar.
- cassettes: whole recorded answers; the buckets must be those that Python's json reads out of them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pytest

from tests.python.providers.kit import NOT_HERE, SHARED, Wire, chat, events, messages

ORACLE = SHARED / "data/prices/usage_oracle.json"
COSTS = SHARED / "data/prices/provider_reported_costs.jsonl"
CASSETTES = SHARED / "data/cassettes"

# Extractor of the oracle to our dialect. The oracle runs every flavour that fits over each body, so
# a body of another provider in the same format is one more body for ours.
DIALECTS = {
    ("openai", "chat"): "openai_chat",
    ("openai", "responses"): "openai_responses",
    ("openai", "embeddings"): "openai_embeddings",
    ("anthropic", "default"): "anthropic_messages",
    ("deepseek", "chat"): "deepseek_chat",
    ("openrouter", "chat"): "openai_compatible",
}


def _body(dialect: str, usage: dict[str, Any]) -> dict[str, Any]:
    if dialect.endswith("responses"):
        content = [{"type": "output_text", "text": "x"}]
        output = [{"type": "message", "content": content}]
        return {"status": "completed", "output": output, "usage": usage}
    if dialect == "anthropic_messages":
        return messages(usage)
    return chat(usage)


def _theirs(usage: dict[str, int]) -> dict[str, int]:
    """The oracle's counts as our disjoint buckets; zeros left out."""
    read = usage.get("cache_read_tokens", 0)
    one_hour = usage.get("cache_write_1h_tokens", 0)
    write = usage.get("cache_write_tokens", 0) or usage.get("cache_write_5m_tokens", 0) + one_hour
    reasoning = usage.get("output_reasoning_tokens", 0)
    audio = usage.get("input_audio_tokens", 0)
    known = {
        "input": usage.get("input_tokens", 0) - read - write - audio,
        "cache_read": read,
        "cache_write_5m": write - one_hour,
        "cache_write_1h": one_hour,
        "audio_input": audio,
        "output": usage.get("output_tokens", 0) - reasoning,
        "reasoning": reasoning,
        "searches": usage.get("web_searches", 0),
    }
    return {bucket: count for bucket, count in known.items() if count}


def _foreign(dialect: str, usage: dict[str, Any]) -> str:
    """Why a record is no body of this dialect, or ""."""
    if dialect == "anthropic_messages" and "input_tokens_details" in usage:
        return "a body of OpenAI's responses: the oracle tries every flavour that finds its fields"
    if dialect == "openai_responses" and "input_tokens_details" not in usage:
        return "a body of Anthropic's messages"
    if dialect == "deepseek_chat" and "prompt_cache_miss_tokens" not in usage:
        return "not DeepSeek's: its answers tell hits from misses, and no others are read"
    if dialect == "openai_embeddings" and usage.get("completion_tokens"):
        return "a chat body: embeddings have no output"
    chat_like = dialect != "openai_embeddings" and "prompt_tokens" in usage
    if chat_like and "completion_tokens" not in usage:
        return "an embeddings body: without output it is no chat"
    return ""


def _explained(usage: dict[str, Any]) -> str:
    """Why our buckets may differ from the oracle's, or ""."""
    kinds = {one["type"] for one in usage.get("iterations") or ()}
    if "compaction" in kinds:
        return "compactions are billed beside the totals; the oracle leaves them out"
    for whole, details, part in (
        ("prompt_tokens", "prompt_tokens_details", "cached_tokens"),
        ("completion_tokens", "completion_tokens_details", "reasoning_tokens"),
    ):
        if ((usage.get(details) or {}).get(part) or 0) > (usage.get(whole) or 0):
            return "a part larger than its whole lies beside it; the oracle has no such rule"
    return ""


@pytest.mark.skipif(not ORACLE.is_file(), reason=NOT_HERE)
def test_the_oracles_extraction(wire: Wire) -> None:
    equal: Counter[str] = Counter()
    foreign: Counter[str] = Counter()
    different: list[Any] = []
    for record in json.loads(ORACLE.read_text(encoding="utf-8")):
        usage = record["body"].get("usage")
        for extracted in record["extracted"]:
            for extractor in extracted["extractors"]:
                dialect = DIALECTS.get((extractor["provider_id"], extractor["api_flavor"]))
                if dialect is None:
                    continue
                if _foreign(dialect, usage):
                    foreign[dialect] += 1
                    continue
                call = wire.ask(dialect, _body(dialect, usage), lenient=True)
                ours = {bucket: count for bucket, count in call.usage.items() if count}
                if ours == _theirs(extracted["usage"]):
                    equal[dialect] += 1
                elif not _explained(usage):
                    different.append((dialect, record["body"]["file"], ours, extracted["usage"]))
    print("equal", dict(equal), "foreign", dict(foreign))
    assert different == []
    assert equal.total() >= 300
    assert len(equal) >= 4


def _cost_nanousd(usage_text: str) -> int:
    """The cost in a record's own digits, by Decimal, half to even."""
    usage = json.loads(usage_text, parse_float=Decimal)
    cost = usage.get("cost")
    if isinstance(cost, dict):
        cost = cost["total_cost"]
    if cost is None:
        cost = Decimal(usage["cost_in_usd_ticks"]).scaleb(-10)
    return int(Decimal(cost).scaleb(9).to_integral_value(ROUND_HALF_EVEN))


@pytest.mark.skipif(not COSTS.is_file(), reason=NOT_HERE)
@pytest.mark.parametrize("streamed", [False, True])
def test_every_reported_cost_is_found_and_taken(wire: Wire, streamed: bool) -> None:
    taken: Counter[str] = Counter()
    for line in COSTS.read_text(encoding="utf-8").splitlines():
        # The usage with the digits of the file: json would round them through a double.
        start = line.index('"usage":') + len('"usage":')
        decoded, length = json.JSONDecoder().raw_decode(line[start:])
        usage = line[start : start + length]
        record = json.loads(line)
        assert decoded == record["usage"]
        flavour = "responses" if record["url"].endswith("/responses") else "chat"
        dialect = "openai_compatible" + ("_responses" if flavour == "responses" else "")
        body: str
        if streamed and flavour == "chat":
            last = events({"choices": [], "usage": "USAGE"})
            body = events(
                {"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]}, end=""
            )
            body += last
        elif streamed:
            response = {"type": "response.completed", "response": {"usage": "USAGE"}}
            body = f"event: response.completed\ndata: {json.dumps(response)}\n\n"
        else:
            body = json.dumps(_body(dialect, {"x": 1})).replace('{"x": 1}', '"USAGE"')
        call = wire.ask(dialect, body.replace('"USAGE"', usage), stream=streamed)
        assert call.cost_source == "provider", line
        assert call.cost_nanousd == _cost_nanousd(usage), line
        assert call.held_nanousd == 0
        taken[record["provider"]] += 1
    print("taken", dict(taken))
    assert taken.total() >= 40


# ------------------------------------------------------------------------------ recorded answers


def _recordings() -> Iterator[tuple[str, str, bool, bytes]]:
    """Name, dialect, whether it is a stream, and the body of every recorded answer that we read."""
    for path in sorted(CASSETTES.glob("*/*.json")):
        for number, entry in enumerate(
            json.loads(path.read_text(encoding="utf-8"))["interactions"]
        ):
            url = entry["request"]["url"].partition("?")[0].partition("#")[0]
            body = entry["response"].get("body", {}).get("text")
            kind = entry["response"]["headers"].get("content-type", "")
            readable = "json" in kind or kind.startswith("text/event-stream")
            if body is None or entry["response"]["status"] != 200 or not readable:
                continue
            if url.endswith("/chat/completions"):
                named = {"api.openai.com": "openai_chat", "api.deepseek.com": "deepseek_chat"}
                dialect = named.get(url.split("/")[2], "openai_compatible")
            elif url.endswith("/responses"):
                dialect = "openai_compatible_responses"
            elif url.endswith("api.anthropic.com/v1/messages"):
                dialect = "anthropic_messages"
            else:
                continue
            name = f"{path.parent.name}/{path.stem[:50]}-{number}"
            yield name, dialect, kind.startswith("text/event-stream"), body.encode()


def _final_usage(body: bytes, streamed: bool) -> dict[str, Any]:
    """The provider's own counts: in a stream, the last value of each field."""
    if not streamed:
        return json.loads(body).get("usage") or {}
    lines = [line[5:].strip() for line in body.decode().splitlines() if line.startswith("data:")]
    found: dict[str, Any] = {}
    for line in lines:
        event = json.loads(line) if line and line != "[DONE]" else {}
        for holder in (event, event.get("message"), event.get("response")):
            if isinstance(holder, dict):
                found.update(holder.get("usage") or {})
    return found


def _expected(dialect: str, usage: dict[str, Any]) -> dict[str, int]:
    """The buckets, written down apart from the registry; zeros left out."""

    def at(*path: str) -> int:
        value: Any = usage
        for key in path:
            value = (value or {}).get(key)
        return value or 0

    if dialect == "anthropic_messages":
        one_hour = at("cache_creation", "ephemeral_1h_input_tokens")
        thinking = at("output_tokens_details", "thinking_tokens")
        counts = {
            "input": at("input_tokens"),
            "cache_read": at("cache_read_input_tokens"),
            "cache_write_5m": at("cache_creation_input_tokens") - one_hour,
            "cache_write_1h": one_hour,
            "output": at("output_tokens") - thinking,
            "reasoning": thinking,
            "searches": at("server_tool_use", "web_search_requests"),
        }
        return {bucket: count for bucket, count in counts.items() if count}
    side = ("input", "output") if "responses" in dialect else ("prompt", "completion")
    whole_in, whole_out = at(f"{side[0]}_tokens"), at(f"{side[1]}_tokens")
    read = at(f"{side[0]}_tokens_details", "cached_tokens")
    if dialect == "deepseek_chat":
        read = at("prompt_cache_hit_tokens")
    write = at(f"{side[0]}_tokens_details", "cache_write_tokens")
    reasoning = at(f"{side[1]}_tokens_details", "reasoning_tokens")
    counts = {
        # A part larger than the whole lies beside it; parts that overlap never go below zero.
        "input": max(0, whole_in - (read if read <= whole_in else 0) - write),
        "cache_read": read,
        "cache_write_5m": write,
        "output": whole_out - (reasoning if reasoning <= whole_out else 0),
        "reasoning": reasoning,
    }
    return {bucket: count for bucket, count in counts.items() if count}


@pytest.mark.skipif(not CASSETTES.is_dir(), reason=NOT_HERE)
def test_the_usage_of_recorded_answers(wire: Wire) -> None:
    equal: Counter[str] = Counter()
    for name, dialect, streamed, body in _recordings():
        usage = _final_usage(body, streamed)
        call = wire.ask(dialect, body, stream=streamed, lenient=True)
        if b'"error":{' in body and not call.ok:
            continue
        # Perplexity ends a stream without a terminator; its money is known all the same.
        assert call.ok or (call.error_kind, call.held_nanousd) == ("stream_broken", 0), name
        ours = {bucket: count for bucket, count in call.usage.items() if count}
        if "responses" in dialect:
            listed = json.loads(body).get("output", []) if not streamed else []
            calls = sum(item["type"] == "web_search_call" for item in listed)
            assert ours.pop("searches", 0) == calls or streamed
        assert ours == _expected(dialect, usage), name
        if "cost" in usage or "cost_in_usd_ticks" in usage:
            assert call.cost_source == "provider", name
        equal[dialect] += 1
    print("recorded", dict(equal))
    assert equal.total() >= 50
