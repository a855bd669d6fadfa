"""What an answer's usage tells of the bill, where only a stated cap let the call through.

Model: a call without a bound is reserved at its cap and settled by its usage. That is right where
the bill is all in the usage (a picture's tokens, searches that are counted) and wrong where it is
not (a code container's time, a search that is not counted): absent is not zero. `reading_of` looks
at the request's body and says by which tier of the price rows it is billed, and how its answer is
to be read: as ever, with cache writes at the long rate, or as an answer that never tells the whole
price. Of the last kind the call stays in doubt at its cap, as with `usage_beyond` of a dialect,
and an amount that the provider itself states is believed.

A tier is how a request is queued or where it is processed. At an endpoint of a region, which the
base URL's host tells, a model may have rows of that region; `tier_in` names them.

Known to be told is a list; every other field or tool counts as not told. What only the answer can
tell (items of OpenAI's responses) stands in registry.toml, `usage_beyond`.

    route = route_of(target, encoded, hub.engine)

Sources: OpenAI's pricing page (searches, containers, two prices of cache writes), Anthropic's pages
"Tool use" and "Code execution tool" (container time; web fetch and tool search cost tokens only),
read 2026-11-22. Time: a look at each field of the body. Routes are remembered, a few a model.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from sluiceway.providers.dialects import anthropic_messages, openai_chat
from sluiceway.providers.dialects.encoding import words

if TYPE_CHECKING:
    from sluiceway import _core
    from sluiceway._target import Target
    from sluiceway.providers.dialects.encoding import Encoded
    from sluiceway.providers.registry import Dialect, Provider

WHOLE, LONG_WRITES, PART = "", "long_writes", "part"  # how an answer is read
STANDARD = ("", "default", "standard")  # names of the standard tier, as in cost/price_book.h
UNLISTED = "unlisted"  # a tier without rows: no price unless the answer names another tier

_OPENAI_CHAT = openai_chat.BOUNDED | words(
    "model messages stream max_output_tokens audio modalities prediction prompt_cache_retention"
)
_OPENAI_TOOLS = (None, "function", "custom")
_ANTHROPIC = anthropic_messages.BOUNDED | words(
    "model messages system stream context_management mcp_servers output_format speed"
)
# By the beginning of their type: what the caller runs, what costs tokens only, what is counted
# (searches), and what the answer tells of (an advisor).
_ANTHROPIC_TOOLS = (
    *("custom", "bash_", "text_editor_", "memory_", "computer_", "mcp_toolset"),
    *("web_search_", "web_fetch_", "tool_search_", "advisor_"),
)
_SHORT_RETENTION = ("in_memory", "in-memory")
_LONG_RETENTION = ("12h", "24h")


class Reading(NamedTuple):
    """The tier of the price rows that was asked for ("" for the standard one), and the manner."""

    tier: str
    manner: str


def reading_of(provider: Provider, dialect: Dialect | None, body: Mapping[str, Any]) -> Reading:
    """How the answer to this body is to be priced; `dialect` is the operation's, None: unknown."""
    tier = _tier(provider, body)
    anthropic = provider.dialect.encoder == "anthropic_messages"
    if anthropic and body.get("speed") not in (None, "standard"):
        # No row multiplies two tiers; which of them the answer names first would decide.
        if body["speed"] != "fast" or tier:
            return Reading(tier, PART)
        tier = "fast"
    manner = _of_retention(body.get("prompt_cache_retention"))
    told = True
    if dialect is provider.dialect:  # chat; a response lists in its items what it used
        known, is_told = (
            (_ANTHROPIC, _anthropic_tool) if anthropic else (_OPENAI_CHAT, _openai_tool)
        )
        told = body.keys() <= known and _tools_told(body.get("tools"), is_told)
    return Reading(tier, manner if told else PART)


def route_of(target: Target, encoded: Encoded, engine: _core.Engine) -> _core.Route:
    """The route of a call that is held at its cap, made on its first use."""
    tier, manner = reading_of(target.provider, target.provider.dialect, encoded.body)
    return target.route_for(tier, engine, manner)


def tiers_of(sheet: Mapping[str, Any] | None, plan: str) -> set[str]:
    """The tiers that a model has rows of, on a plan."""
    rows = sheet["rows"] if sheet else ()
    return {row["service_tier"] for row in rows if row["plan"] == plan}


def region_of(provider: Provider, base_url: str | None, tiers: Container[str]) -> str:
    """The tier of an endpoint of a region, if the model has rows of it: `tiers` are the model's.

    A model without such rows costs there what it costs everywhere.
    """
    region = provider.tier_at(base_url)
    return region if region in tiers else ""


def tier_in(region: str, tier: str) -> str:
    """The tier of the rows that price a service tier at an endpoint of a region ("": of none)."""
    if not region:
        return tier
    return region if tier in STANDARD else f"{region}_{tier}"


def read_as(core: dict[str, Any], manner: str, region: str = "") -> dict[str, Any]:
    """A dialect, read in that manner. Answers tell how a call was queued, never in which region."""
    if region:
        served = [
            {**rule, "tiers": {word: tier_in(region, tier) for word, tier in rule["tiers"].items()}}
            for rule in core.get("served_tier", ())
        ]
        core = {**core, "served_tier": served}
    if manner == PART:
        return {**core, "usage_beyond": [*core.get("usage_beyond", ()), "/usage"]}
    if manner == LONG_WRITES:
        usage = dict(core["usage"])
        if "cache_write_5m" in usage:
            usage["cache_write_1h"] = usage.pop("cache_write_5m")
        return {**core, "usage": usage}
    return core


def _tier(provider: Provider, body: Mapping[str, Any]) -> str:
    tier = ""
    wanted = body.get("service_tier")
    if wanted is not None:
        tier = provider.service_tiers.get(wanted, UNLISTED) if isinstance(wanted, str) else UNLISTED
    geo = body.get("inference_geo")
    if geo is not None:
        known = isinstance(geo, str) and geo in anthropic_messages.GEO_TIERS
        tier = (anthropic_messages.GEO_TIERS[geo] if known else UNLISTED) or tier
    return tier


def _of_retention(wanted: object) -> str:
    if wanted is None or wanted in _SHORT_RETENTION:
        return WHOLE
    return LONG_WRITES if wanted in _LONG_RETENTION else PART


def _tools_told(tools: object, is_told: Callable[[object], bool]) -> bool:
    return not tools or (
        isinstance(tools, list | tuple)
        and all(isinstance(tool, Mapping) and is_told(tool.get("type")) for tool in tools)
    )


def _openai_tool(kind: object) -> bool:
    return kind in _OPENAI_TOOLS


def _anthropic_tool(kind: object) -> bool:
    return kind is None or (isinstance(kind, str) and kind.startswith(_ANTHROPIC_TOOLS))
