"""What calls return: frozen, slotted objects that read the core's record of a call when asked.

Model: a `ChatResult` holds the finished `_core.Call` and nothing else; every attribute is read from
it on access, so that making a result costs one allocation. Pickling copies the fields into a
`CallRecord`, a plain twin of the Call. Amounts are `Decimal` dollars, counts are ints, and a count
that the provider did not report is None: absent is not zero.

    r = gw.chat("openai/gpt-6-luna", "Name three rivers")
    r.text, r.usage.output_tokens, r.cost.usd, r.served_by

Reprs are one line and never show a prompt, an answer or a key. Immutable: any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from sluiceway.money import usd_of

if TYPE_CHECKING:
    from sluiceway._core import Call

# Which disjoint buckets of base/usage.h make up the two sides that people ask for.
_INPUT_BUCKETS = (
    "input",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "audio_input",
    "image_input",
)
_OUTPUT_BUCKETS = ("output", "reasoning", "audio_output", "image_output")


class Frozen:
    """Refuses assignment; slots are filled with `_set` by the constructors below."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is read-only")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is read-only")


class Record(Frozen):
    """Equal to another of its class with the same fields."""

    __slots__ = ()

    def _fields(self) -> tuple[object, ...]:
        names: Sequence[str] = type(self).__slots__
        return tuple(getattr(self, name) for name in names)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and other._fields() == self._fields()

    def __hash__(self) -> int:
        return hash(self._fields())


_set = object.__setattr__


class Delta(Protocol):
    """One piece of a stream, made by the core. `str(delta)` is its text."""

    @property
    def text(self) -> str:
        """The piece of text."""

    @property
    def kind(self) -> str:
        """ "text" or "reasoning"."""


class Usage(Frozen):
    """What a call used. `buckets` are disjoint and hold only what the provider reported."""

    __slots__ = ("buckets",)
    buckets: Mapping[str, int]

    def __init__(self, buckets: Mapping[str, int]) -> None:
        _set(self, "buckets", buckets)

    def _sum(self, names: Sequence[str]) -> int | None:
        found = [self.buckets[name] for name in names if name in self.buckets]
        return sum(found) if found else None

    @property
    def input_tokens(self) -> int | None:
        """All input tokens: fresh, read from and written to the provider's cache."""
        return self._sum(_INPUT_BUCKETS)

    @property
    def output_tokens(self) -> int | None:
        """All output tokens, reasoning included."""
        return self._sum(_OUTPUT_BUCKETS)

    @property
    def cached_tokens(self) -> int | None:
        """Input tokens that the provider read from its prompt cache."""
        return self.buckets.get("cache_read")

    @property
    def cache_write_tokens(self) -> int | None:
        """Input tokens that the provider wrote to its prompt cache."""
        return self._sum(("cache_write_5m", "cache_write_1h"))

    @property
    def reasoning_tokens(self) -> int | None:
        """Hidden reasoning tokens, where the provider tells them apart."""
        return self.buckets.get("reasoning")

    @property
    def total_tokens(self) -> int | None:
        """Input and output together."""
        return self._sum(_INPUT_BUCKETS + _OUTPUT_BUCKETS)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Usage) and dict(self.buckets) == dict(other.buckets)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type[Usage], tuple[dict[str, int]]]:
        return Usage, (dict(self.buckets),)

    def __repr__(self) -> str:
        return f"Usage({', '.join(f'{name}={n}' for name, n in self.buckets.items())})"


class Cost(Record):
    """What a call cost. `source` is "provider", "table", "estimated" or "none".

    `nanousd` and `usd` are None while the cost is not settled; `ceiling` is what was reserved
    before the call was sent, `held` what is still held because its end is in doubt.
    """

    __slots__ = ("ceiling", "held", "nanousd", "price_version", "source", "usd")
    nanousd: int | None
    usd: Decimal | None
    source: str
    price_version: str
    ceiling: Decimal
    held: Decimal

    def __init__(
        self, nanousd: int | None, source: str, price_version: str, ceiling: Decimal, held: Decimal
    ) -> None:
        _set(self, "nanousd", nanousd)
        _set(self, "usd", None if nanousd is None else usd_of(nanousd))
        _set(self, "source", source)
        _set(self, "price_version", price_version)
        _set(self, "ceiling", ceiling)
        _set(self, "held", held)

    def __reduce__(self) -> tuple[type[Cost], tuple[object, ...]]:
        return Cost, (self.nanousd, self.source, self.price_version, self.ceiling, self.held)

    def __repr__(self) -> str:
        amount = "not settled" if self.usd is None else f"${self.usd:f}"
        return f"Cost({amount}, {self.source})"


class Attempt(Record):
    """One try on the wire. `model` is "provider/model"; times are milliseconds."""

    __slots__ = (
        "duration_ms",
        "error_kind",
        "model",
        "number",
        "outcome",
        "provider_request_id",
        "status_code",
        "wait_ms",
    )
    model: str
    number: int
    status_code: int
    error_kind: str
    outcome: str
    wait_ms: float
    duration_ms: float
    provider_request_id: str

    def __init__(self, model: str, fields: Mapping[str, Any]) -> None:
        _set(self, "model", model)
        for name in Attempt.__slots__:
            if name != "model":
                _set(self, name, fields.get(name))

    def __reduce__(self) -> tuple[type[Attempt], tuple[str, dict[str, Any]]]:
        return Attempt, (self.model, {name: getattr(self, name) for name in Attempt.__slots__})

    def __repr__(self) -> str:
        return f"Attempt({self.model} #{self.number}, {self.status_code}, {self.error_kind})"


class Hop(Record):
    """One provider's part in a call: the answer, or why the next one was asked."""

    __slots__ = ("call_id", "error_kind", "held", "message", "model", "outcome")
    model: str
    call_id: str
    error_kind: str
    outcome: str
    message: str
    held: Decimal

    def __init__(
        self, model: str, call_id: str, error_kind: str, outcome: str, message: str, held: Decimal
    ) -> None:
        _set(self, "model", model)
        _set(self, "call_id", call_id)
        _set(self, "error_kind", error_kind)
        _set(self, "outcome", outcome)
        _set(self, "message", message)
        _set(self, "held", held)

    def __reduce__(self) -> tuple[type[Hop], tuple[object, ...]]:
        parts = (self.model, self.call_id, self.error_kind, self.outcome, self.message, self.held)
        return Hop, parts

    def __repr__(self) -> str:
        return f"Hop({self.model}, {self.error_kind}, {self.outcome})"


class CallRecord:
    """A picklable copy of a finished `_core.Call`, with the same attribute names."""

    __slots__ = (
        "attempts",
        "body",
        "cache",
        "call_id",
        "ceiling_nanousd",
        "cost_nanousd",
        "cost_source",
        "cut_by_max_output",
        "error_kind",
        "finish_reason",
        "headers",
        "held_nanousd",
        "intent_id",
        "latency_ms",
        "message",
        "outcome",
        "price_version",
        "provider_request_id",
        "queue_ms",
        "reasoning_text",
        "served_model",
        "status_code",
        "text",
        "usage",
    )

    def __init__(self, fields: Mapping[str, Any]) -> None:
        for name in CallRecord.__slots__:
            setattr(self, name, fields[name])

    def __reduce__(self) -> tuple[type[CallRecord], tuple[dict[str, Any]]]:
        return CallRecord, ({name: getattr(self, name) for name in CallRecord.__slots__},)


def record_of(call: Any) -> CallRecord:
    """Copies a finished call (or a record)."""
    return CallRecord({name: getattr(call, name) for name in CallRecord.__slots__})


def hop_of(model: str, call: Any) -> Hop:
    """A hop's summary, for results and errors."""
    return Hop(
        model, call.call_id, call.error_kind, call.outcome, call.message, usd_of(call.held_nanousd)
    )


class CallResult(Frozen):
    """What every finished call has, whatever the operation."""

    __slots__ = ("_before", "_call", "model")
    # "provider/model" that was asked and answered.
    model: str
    _call: Call
    _before: tuple[tuple[str, Any], ...]

    def __init__(self, call: Call, model: str, before: tuple[tuple[str, Any], ...] = ()) -> None:
        _set_call(self, call)
        _set_model(self, model)
        _set_before(self, before)

    @property
    def usage(self) -> Usage:
        """Counts in disjoint buckets."""
        return Usage(self._call.usage)

    @property
    def cost(self) -> Cost:
        """What it cost, and how that is known."""
        call = self._call
        return Cost(
            call.cost_nanousd,
            call.cost_source,
            call.price_version,
            usd_of(call.ceiling_nanousd),
            usd_of(call.held_nanousd),
        )

    @property
    def served_by(self) -> str:
        """Who answered: "provider/model" with the model's name as the provider gave it."""
        served = self._call.served_model
        return f"{self.model.partition('/')[0]}/{served}" if served else self.model

    @property
    def hops(self) -> tuple[Hop, ...]:
        """Every provider that was asked, in order; the last one answered."""
        before = tuple(hop_of(model, call) for model, call in self._before)
        return (*before, hop_of(self.model, self._call))

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Every try on the wire, of all hops, in order."""
        calls = (*self._before, (self.model, self._call))
        return tuple(Attempt(model, one) for model, call in calls for one in call.attempts)

    @property
    def cache(self) -> str:
        """Our own cache: "off", "miss", "hit" or "joined" (another identical call's answer)."""
        return self._call.cache

    @property
    def latency_ms(self) -> float:
        """From submission to the end."""
        return self._call.latency_ms

    @property
    def queue_ms(self) -> float:
        """The part of it that was spent waiting for limits and for the ledger."""
        return self._call.queue_ms

    @property
    def intent_id(self) -> str:
        """The id of this call of yours; the same over all its hops."""
        return self._call.intent_id

    @property
    def call_id(self) -> str:
        """The id of the hop that answered, as the ledger has it."""
        return self._call.call_id

    @property
    def provider_request_id(self) -> str:
        """The provider's own id of the request."""
        return self._call.provider_request_id

    @property
    def status_code(self) -> int:
        """The HTTP status."""
        return self._call.status_code

    @property
    def raw(self) -> bytes:
        """The body as it came; empty for streams."""
        return self._call.body

    def json(self) -> Any:
        """The body, parsed."""
        import json

        return json.loads(self._call.body)

    def __reduce__(self) -> tuple[type[CallResult], tuple[object, ...]]:
        before = tuple((model, record_of(call)) for model, call in self._before)
        return type(self), (record_of(self._call), self.model, before)

    def __repr__(self) -> str:
        call = self._call
        cost = "" if call.cost_nanousd is None else f" ${usd_of(call.cost_nanousd).normalize():f}"
        return (
            f"{type(self).__name__}({self.served_by}{cost} {call.latency_ms:.0f} ms"
            f" {call.provider_request_id or call.call_id})"
        )


# The slots' own setters: half the price of object.__setattr__ on the hot path.
_slots: Any = CallResult.__dict__
_set_call = _slots["_call"].__set__
_set_model = _slots["model"].__set__
_set_before = _slots["_before"].__set__


class ChatResult(CallResult):
    """The answer of a chat call."""

    __slots__ = ()

    @property
    def text(self) -> str:
        """The answer; of a stream, all its deltas."""
        return self._call.text

    @property
    def reasoning_text(self) -> str:
        """What the model showed of its reasoning."""
        return self._call.reasoning_text

    @property
    def finish_reason(self) -> str:
        """Why the model stopped, in the provider's words."""
        return self._call.finish_reason

    @property
    def cut_by_max_output(self) -> bool:
        """Whether the maximum of output tokens cut the answer off."""
        return self._call.cut_by_max_output

    @property
    def cut_by_budget(self) -> bool:
        """Whether a budget lowered the maximum of output tokens before the call was sent."""
        return any(
            model == self.model and call.error_kind == "budget_exceeded"
            for model, call in self._before
        )


class RawResult(CallResult):
    """The answer of `gw.raw`."""

    __slots__ = ()

    @property
    def headers(self) -> dict[str, str]:
        """Response headers by lower-case name; the last one wins where a name repeats."""
        return {name.lower(): value for name, value in self._call.headers}


class DownloadResult(RawResult):
    """What `gw.raw.download` has written; the rest is of its last call."""

    __slots__ = ("path", "resumes", "size")
    path: str  # as it was given
    size: int  # bytes
    resumes: int  # how often the rest, or all of it, was asked for again

    def __init__(self, call: Call, model: str, path: str, size: int, resumes: int) -> None:
        super().__init__(call, model)
        _set(self, "path", path)
        _set(self, "size", size)
        _set(self, "resumes", resumes)

    def __reduce__(self) -> tuple[type[DownloadResult], tuple[object, ...]]:
        fields = (record_of(self._call), self.model, self.path, self.size, self.resumes)
        return type(self), fields


class Estimate(Record):
    """What a call would cost, in USD. Nothing was sent.

    `ceiling` is true: no settlement of this call can pass it. `expected` and `low` rest on the
    stated guesses `expected_prompt_tokens` and `expected_output_tokens`. `units` are what it is
    priced by beside tokens, at most, in the ordinary measure ("seconds": 12.5). `basis` says how
    the prompt was counted: "bytes", or the name of a tokenizer's vocabulary.
    """

    __slots__ = (
        "basis",
        "ceiling",
        "expected",
        "expected_output_tokens",
        "expected_prompt_tokens",
        "low",
        "max_output_tokens",
        "model",
        "price_version",
        "prompt_tokens_max",
        "units",
    )
    basis: str
    units: Mapping[str, int | Decimal]
    model: str
    low: Decimal
    expected: Decimal
    ceiling: Decimal
    price_version: str
    prompt_tokens_max: int
    max_output_tokens: int
    expected_prompt_tokens: int
    expected_output_tokens: int

    def __init__(self, **fields: object) -> None:
        for name in Estimate.__slots__:
            _set(self, name, fields[name])

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Callable[..., Estimate], tuple[dict[str, object]]]:
        fields = {name: getattr(self, name) for name in Estimate.__slots__}
        return _estimate_of, ({**fields, "units": dict(self.units)},)

    def __repr__(self) -> str:
        return (
            f"Estimate({self.model} low ${self.low:f} expected ${self.expected:f} "
            f"ceiling ${self.ceiling:f})"
        )


def _estimate_of(fields: dict[str, object]) -> Estimate:
    return Estimate(**fields)
