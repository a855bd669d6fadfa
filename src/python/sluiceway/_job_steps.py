"""The steps of an async job: start it, look at it, end its hold. Both twins drive them.

Model. A job is started by one paid call that reserves the ceiling of everything the job may do.
When the provider has taken it, the hold stays: it is the job's from the moment that the row with
the provider's id is durable, which is before the first look. Any process that has the same key may
look; the one that finds the job ended settles what it really cost, in the same commit that marks
the row. Looks are free and may be repeated.

What a crash leaves: before the row is written, the dead engine's hold becomes in doubt, as that of
any call; afterwards the row and the hold wait for the next look, however late.

A job belongs to the key that made it: a look with another key is refused before anything is sent.
Time: a look is one or two requests. Source: docs/internals/call.md, "Identity" and "Money".
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Generator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sluiceway._failures import Writing, dollars, error_of, unbounded
from sluiceway._frames import current_frame
from sluiceway._raw_steps import Ask, raw_steps
from sluiceway._steps import free_by_cap, price
from sluiceway._told import PART, WHOLE, reading_of, tier_in
from sluiceway._urls import join_url
from sluiceway.errors import (
    InvalidRequest,
    InvalidResponse,
    InvalidType,
    SluicewayError,
    UnknownJob,
    WrongKey,
)
from sluiceway.money import usd_of
from sluiceway.providers.dialects import anthropic_batches
from sluiceway.types import Usage

if TYPE_CHECKING:
    from sluiceway import _core
    from sluiceway._hub import Hub
    from sluiceway._target import Target
    from sluiceway.options import Plan

# Which wire format of chat has which wire format of batches.
BATCHES = {"anthropic_messages": anthropic_batches}
RUNNING, ENDED = "running", "ended"
Row = dict[str, Any]


class BatchItem:
    """What became of one prompt. `kind`: succeeded, errored, canceled or expired."""

    __slots__ = ("cost", "error", "index", "kind", "text", "usage")

    def __init__(
        self, index: int, kind: str, text: str, usage: Usage, cost: Decimal, error: str
    ) -> None:
        self.index = index
        self.kind = kind
        self.text = text
        self.usage = usage
        self.cost = cost
        self.error = error

    @property
    def ok(self) -> bool:
        """Whether there is an answer."""
        return self.kind == "succeeded"

    def __repr__(self) -> str:
        return f"BatchItem({self.index}, {self.kind}, ${self.cost:f})"


def key_id_of(hub: Hub, provider_id: str, account: str | None) -> str:
    """What tells keys apart without being one: the start of its SHA-256."""
    key = hub.key_of(hub.registry[provider_id], account)
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def batch_steps(hub: Hub, plan: Plan, model: str, prompts: object) -> Generator[Any, Any, Row]:
    """Starts a batch; returns its row once that is durable."""
    if isinstance(prompts, str | bytes) or not isinstance(prompts, Sequence):
        raise InvalidType("prompts is a list: of texts, or of lists of messages")
    target = hub.target(model, plan)
    wire = BATCHES.get(target.provider.dialect.encoder)
    if wire is None:
        raise InvalidRequest(
            f"{target.provider.id} has no batches that we speak; ask for the prompts one by one",
            provider=target.provider.id,
            model=target.facts.model,
        )
    if not 1 <= len(prompts) <= wire.ITEMS_MAX:
        raise InvalidRequest(f"a batch has 1 to {wire.ITEMS_MAX:,} prompts, not {len(prompts):,}")
    bodies, ceilings, manners = _items(hub, plan, target, prompts, wire)
    call = _submit(hub, plan, target, wire.encode(bodies), sum(ceilings), wire)
    yield call
    hub.ended()
    if not call.ok:
        raise error_of(call, target.name, ())
    try:
        look = wire.read_look(call.body)
    except ValueError as error:
        raise InvalidResponse(
            f"{target.provider.id} took the batch, but {error}; its money stays held",
            outcome="in_doubt",
            provider=target.provider.id,
            model=target.facts.model,
            call_id=call.call_id,
            held=usd_of(sum(ceilings)),
        ) from None
    request = {
        "kind": wire.TIER,
        "model": target.name,
        "ceilings_nanousd": ceilings,
        "started_s": time.time(),
    }
    if any(manners):
        request["manners"] = manners
    hub.engine.job_create(
        call.call_id,
        provider=target.provider.id,
        account=plan.account or "",
        tenant=plan.submit.get("tenant", "default"),
        key_id=key_id_of(hub, target.provider.id, plan.account),
        provider_job_id=look.id,
        request=json.dumps(request, separators=(",", ":")),
        state=RUNNING,
    )
    return row_of(hub, call.call_id)


def _items(
    hub: Hub, plan: Plan, target: Target, prompts: Sequence[Any], wire: Any
) -> tuple[list[dict[str, Any]], list[int], list[str]]:
    """Body and ceiling of each prompt, and how its answer is to be read; before anything is sent.

    A cap is for all prompts together, and is what `checked` of a single call makes of it: a promise
    to keep where every prompt has a price and a bound, else what is held, in equal shares.
    """
    cap = plan.max_cost_nanousd
    if cap is None:
        target.check_price(wire.TIER)
    bodies, ceilings, manners = [], [], []
    true = target.has_price(wire.TIER)  # whether the ceilings are
    for prompt in prompts:
        encoded = target.encode(target.facts, prompt, plan.body, False)
        if encoded.unbounded and cap is None:
            raise unbounded(encoded.unbounded, target.provider.id, target.facts.model)
        if encoded.service_tier:
            raise InvalidRequest("a batch has a service tier of its own; leave service_tier away")
        true = true and not encoded.unbounded
        bodies.append(encoded.body)
        reading = reading_of(target.provider, target.provider.dialect, encoded.body)
        # No row multiplies a batch's price with another tier's.
        manners.append(PART if reading.tier else reading.manner)
        if true:
            priced = encoded._replace(service_tier=wire.TIER)
            quote = price(hub, plan, target, priced, within_s=wire.LASTS_S)
            ceilings.append(quote["ceiling"])
    if true:
        if cap is not None and sum(ceilings) > cap:
            raise InvalidRequest(
                f"this batch may cost up to {dollars(usd_of(sum(ceilings)))}, more than"
                f" max_cost_usd={dollars(usd_of(cap))}; lower max_output_tokens, or shorten or"
                " split it",
                provider=target.provider.id,
                model=target.facts.model,
            )
        return bodies, ceilings, [WHOLE] * len(bodies)
    if not cap:
        raise free_by_cap(f"what a batch of {target.name} costs here", target.provider.id)
    share, rest = divmod(cap, len(bodies))
    return bodies, [share + (index < rest) for index in range(len(bodies))], manners


def _route(hub: Hub, plan: Plan, target: Target, wire: Any) -> _core.Route:
    table = hub.price_table()
    retry = plan.retry.key if plan.retry else None
    key = ("job", target.name, plan.account, retry, table)
    if key in hub.raw_routes:
        return hub.raw_routes[key]
    provider = target.provider
    spec = hub.route_spec(provider, plan, target.facts.model, wire.TIER)
    base = hub.base_url(provider, plan.account) or provider.base_url
    spec["url"] = join_url(base, wire.CREATE_PATH)
    spec["sheet"] = table.of(provider.id).get(target.facts.model)
    spec["service_tier"] = tier_in(target.region, wire.TIER)
    spec["lenient"] = True
    spec["job"] = True
    return hub.raw_route(key, spec)


def _submit(
    hub: Hub, plan: Plan, target: Target, body: dict[str, Any], ceiling: int, wire: Any
) -> _core.Call:
    frame = current_frame(hub)
    options = {name: value for name, value in plan.submit.items() if name != "cache_ttl_s"}
    with Writing(target.provider.id, target.facts.model):
        return hub.engine.submit(
            _route(hub, plan, target, wire),
            body,
            scopes=frame.scopes,
            on_exceed=frame.wait,
            cap_nanousd=ceiling,
            **options,
        )


def row_of(hub: Hub, job_id: str) -> Row:
    """The job's row; UnknownJob."""
    row: Row | None = hub.engine.job_get(job_id)
    if row is None:
        raise UnknownJob(
            f"there is no job {job_id!r} in this ledger; `gw.jobs()` lists those that are"
        )
    return row


def checked_row(hub: Hub, plan: Plan, row: Row) -> Plan:
    """The plan of the account that made the job; WrongKey for another key."""
    if row["account"]:
        plan = plan.with_options({"account": row["account"]}, hub.variants)
    if key_id_of(hub, row["provider"], plan.account) != row["key_id"]:
        raise WrongKey(
            f"the job {row['call_id']} was made with another key of {row['provider']}; a job"
            " belongs to the key that made it",
            provider=row["provider"],
        )
    return plan


def look_steps(hub: Hub, plan: Plan, row: Row) -> Generator[Any, Any, tuple[Row, int, int]]:
    """One look; settles a job that has ended. The row as it is now, items done, items."""
    request = json.loads(row["request"])
    total = len(request["ceilings_nanousd"])
    if row["state"] == ENDED:
        return row, total, total
    wire = _wire(hub, row)
    plan = checked_row(hub, plan, row)
    answer = yield from _get(hub, plan, row, wire.look_path(row["provider_job_id"]))
    look = _read(wire.read_look, answer, row)
    if not look.ended:
        return row, look.done, total
    lines = yield from _lines(hub, plan, row, wire)
    ended_s = min(time.time(), request["started_s"] + wire.LASTS_S)
    items, settled, usage, version, notes = _price(hub, plan, request, lines, wire, ended_s)
    result = {
        "nanousd": settled,
        "items": [[item.kind, str(item.cost)] for item in items],
        "ended_s": ended_s,
    }
    try:
        hub.engine.job_update(
            row["call_id"],
            state=ENDED,
            result=json.dumps(result, separators=(",", ":")),
            settle=settled,
            usage=usage,
            evidence=notes,
            price_version=version,
        )
    except SluicewayError:
        now = row_of(hub, row["call_id"])
        if now["state"] != ENDED:  # else another process was first
            raise
    return row_of(hub, row["call_id"]), total, total


def results_steps(hub: Hub, plan: Plan, row: Row) -> Generator[Any, Any, list[BatchItem]]:
    """The results of a job that has ended, read again from the provider."""
    wire = _wire(hub, row)
    plan = checked_row(hub, plan, row)
    lines = yield from _lines(hub, plan, row, wire)
    request, result = json.loads(row["request"]), json.loads(row["result"])
    ended_s = result.get("ended_s", request["started_s"])  # jobs of earlier versions have none
    return _price(hub, plan, request, lines, wire, ended_s)[0]


def cancel_steps(hub: Hub, plan: Plan, row: Row) -> Generator[Any, Any, None]:
    """Asks the provider to stop. What has been done until then is billed."""
    wire = _wire(hub, row)
    plan = checked_row(hub, plan, row)
    path = wire.cancel_path(row["provider_job_id"])
    yield from raw_steps(hub, plan, Ask("POST", row["provider"], path, {}, free=True))


def _wire(hub: Hub, row: Row) -> Any:
    return BATCHES[hub.registry[row["provider"]].dialect.encoder]


def _get(hub: Hub, plan: Plan, row: Row, path: str) -> Generator[Any, Any, bytes]:
    ask = Ask("GET", row["provider"], path, free=True)
    result = yield from raw_steps(hub, plan, ask)
    return result.raw


def _lines(hub: Hub, plan: Plan, row: Row, wire: Any) -> Generator[Any, Any, list[Any]]:
    body = yield from _get(hub, plan, row, wire.results_path(row["provider_job_id"]))
    return _read(wire.read_results, body, row)  # type: ignore[no-any-return]


def _read(read: Any, body: bytes, row: Row) -> Any:
    try:
        return read(body)
    except ValueError as error:
        raise InvalidResponse(
            f"{row['provider']}'s answer about the job {row['call_id']} cannot be read ({error});"
            " its money stays held",
            outcome="done",
            provider=row["provider"],
            call_id=row["call_id"],
        ) from None


def _price(
    hub: Hub, plan: Plan, request: dict[str, Any], lines: list[Any], wire: Any, ended_s: float
) -> tuple[list[BatchItem], int, dict[str, int], str, str]:
    """Items, their cost together (nano-dollars), their usage, the price rows that priced them, and
    what of it is not by the table.

    An answer whose cost cannot be told is settled at its ceiling; an item without a line is taken
    for billed in the same way: what is not proven free counts. Of prices that changed between start
    and end the dearest holds.
    """
    from sluiceway import _core

    target = hub.target(request["model"], plan)
    manners = request.get("manners", ())
    ceilings = request["ceilings_nanousd"]
    found = {line.number: line for line in lines if 0 <= line.number < len(ceilings)}
    items, usage, at_ceiling, versions = [], dict[str, int](), 0, set()
    total = 0
    for index, ceiling in enumerate(ceilings):
        line = found.get(index)
        kind = "missing" if line is None else line.kind
        priced: dict[str, Any] = {"nanousd": 0}
        if line is None:
            priced = {"nanousd": None}
        elif line.message:
            manner = manners[index] if manners else WHOLE
            route = target.route_for(wire.TIER, hub.engine, manner)
            priced = _core.price_body(route, line.message, request["started_s"], ended_s)
        versions.add(priced.get("price_version", ""))
        text, counts = priced.get("text", ""), priced.get("usage", {})
        known = priced["nanousd"]
        at_ceiling += known is None
        cost = ceiling if known is None else known
        total += cost
        for bucket, units in counts.items():
            usage[bucket] = usage.get(bucket, 0) + units
        error = "no result came for this prompt" if line is None else line.error
        items.append(BatchItem(index, kind, text, Usage(counts), usd_of(cost), error))
    notes = ""
    if at_ceiling:
        notes = f"{at_ceiling} items at their ceilings, since their cost is not known"
    return items, total, usage, ",".join(sorted(versions - {""})), notes
