"""The keyword options of a call, and the plan that they become.

Model: `ChatOptions` names every option once; `chat`, `stream`, `estimate.chat` and `with_options`
of both twins take exactly these. A gateway holds the `Plan` of its own defaults; options of a call
are laid over it by `Plan.with_options`, which checks each value. An option that is None counts as
not given. A call without options uses the gateway's plan as it is.

Errors: `InvalidType` and `InvalidRequest`, naming the option. Plans are immutable once made: any
thread.

    plan = Plan.of_config(config, variants)
    plan.with_options({"timeout_s": 5, "temperature": 0}, variants)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypedDict

from sluiceway.errors import InvalidRequest, InvalidType, kind_of
from sluiceway.money import nanousd_of
from sluiceway.providers.dialects.encoding import words

if TYPE_CHECKING:
    from sluiceway import _core
    from sluiceway.config import Config

Money = str | int | Decimal
CACHE_TTL_S = 3600.0
PRIORITIES = {"low": 0, "normal": 1, "high": 2}


class Cache:
    """Keep answers for `ttl_s` seconds and join identical calls in flight."""

    __slots__ = ("ttl_s",)

    def __init__(self, ttl_s: float = CACHE_TTL_S) -> None:
        self.ttl_s = _seconds(ttl_s, "ttl_s", 0.001)

    def __repr__(self) -> str:
        return f"Cache(ttl_s={self.ttl_s:g})"


class Retry:
    """At most `attempts` tries, the first included.

    Full jitter: the n-th wait is drawn from 0 to base * 2**(n - 1) seconds, at most `cap_s`, where
    the base is `base_s`, or `throttle_base_s` after a 429 or another throttle. A call also waits as
    long as the provider asks it to. Of calls only what was never sent or was refused is tried
    again, and what may be sent twice (free ones, keys that the provider knows); `on` is for
    `guarded`, which tries again after these exceptions and has no throttle. InvalidType,
    InvalidRequest.
    """

    __slots__ = ("attempts", "base_s", "cap_s", "on", "throttle_base_s")

    def __init__(
        self,
        attempts: int = 3,
        *,
        base_s: float = 0.5,
        throttle_base_s: float = 1.0,
        cap_s: float = 20.0,
        on: type[BaseException] | tuple[type[BaseException], ...] = Exception,
    ) -> None:
        self.attempts = whole(attempts, "attempts", 1, 100)
        self.base_s = _seconds(base_s, "base_s", 0)
        self.throttle_base_s = _seconds(throttle_base_s, "throttle_base_s", 0)
        self.cap_s = _seconds(cap_s, "cap_s", 0)
        self.on = on

    @property
    def key(self) -> tuple[int, float, float, float]:
        """What tells two policies apart for the engine."""
        return self.attempts, self.base_s, self.throttle_base_s, self.cap_s

    def __repr__(self) -> str:
        return f"Retry(attempts={self.attempts}, base_s={self.base_s:g}, cap_s={self.cap_s:g})"


class ChatOptions(TypedDict, total=False):
    """Every option of a chat call."""

    system: str | Sequence[Mapping[str, Any]] | None  # the system prompt
    max_output_tokens: int | None  # default: [defaults] max_output_tokens, 4,096
    temperature: float | None
    top_p: float | None
    stop: str | Sequence[str] | None
    tools: Sequence[Mapping[str, Any]] | None  # declarations in OpenAI's or Anthropic's form
    response_format: Mapping[str, Any] | None
    seed: int | None
    extra: Mapping[str, Any] | None  # more fields of the body, in the provider's own words
    fallbacks: Sequence[str] | None  # "provider/model", tried in order
    fallback_in_doubt: bool | None  # also after a hop that may have been billed
    timeout_s: float | None  # all hops and attempts together
    pool_timeout_s: float | None  # the longest wait for a connection that is free; 0: timeout_s
    connect_timeout_s: float | None
    read_timeout_s: float | None  # the longest silence; 0: only timeout_s
    write_timeout_s: float | None  # the longest time in which no byte of the request is taken
    cache: float | Cache | bool | None  # a TTL in seconds, Cache(...), or False
    tenant: str | None
    account: str | None  # a name from [accounts.<provider>.<name>]
    idempotency_key: str | None  # unique per tenant in the ledger
    count_tokens: bool | None  # bound the prompt by the model's tokenizer where that is proven
    max_cost_usd: Money | None  # refuse above it; needed where no ceiling can be told
    priority: int | str | None  # "low", "normal", "high"
    retry: Retry | None


def whole(value: object, name: str, low: int, high: int) -> int:
    """A whole number within bounds."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidType(f"{name} is {kind_of(value)}, not an int")
    if not low <= value <= high:
        raise InvalidRequest(f"{name}={value} is not a whole number from {low} to {high}")
    return value


def _seconds(value: object, name: str, low: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidType(f"{name} is {kind_of(value)}, not a number of seconds")
    if not low <= value <= 1e9:  # also false for NaN
        raise InvalidRequest(f"{name}={value} is not a number of seconds from {low:g} to 1e9")
    return float(value)


def _timeout(name: str, low: float) -> Callable[[object], float]:
    return lambda value: _seconds(value, name, low)


def _name(option: str, length_max: int) -> Callable[[object], str]:
    def read(value: object) -> str:
        if not isinstance(value, str):
            raise InvalidType(f"{option} is {kind_of(value)}, not a str")
        if not value or len(value) > length_max:
            raise InvalidRequest(f"{option} must have 1 to {length_max} characters")
        if any("\ud800" <= char < "\ue000" for char in value):
            raise InvalidRequest(f"{option} has half a character (a lone surrogate): no UTF-8")
        return value

    return read


def _cache_ttl_s(value: object) -> float:
    if value is False:
        return 0.0
    if value is True:
        return CACHE_TTL_S
    if isinstance(value, Cache):
        return value.ttl_s
    return _seconds(value, "cache", 0.001)


def _priority(value: object) -> int:
    found = PRIORITIES.get(value) if isinstance(value, str) else value
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found <= 2:
        raise InvalidRequest('priority is "low", "normal" or "high" (or 0, 1, 2)')
    return found


# Options that go to Engine.submit under the name on the right.
_SUBMIT: dict[str, tuple[str, Callable[[object], object]]] = {
    "timeout_s": ("timeout_s", _timeout("timeout_s", 0.001)),
    "pool_timeout_s": ("pool_timeout_s", _timeout("pool_timeout_s", 0)),
    "connect_timeout_s": ("connect_timeout_s", _timeout("connect_timeout_s", 0.001)),
    "read_timeout_s": ("read_timeout_s", _timeout("read_timeout_s", 0)),
    "write_timeout_s": ("write_timeout_s", _timeout("write_timeout_s", 0)),
    "cache": ("cache_ttl_s", _cache_ttl_s),
    "tenant": ("tenant", _name("tenant", 200)),
    "idempotency_key": ("idempotency_key", _name("idempotency_key", 500)),
    "priority": ("priority", _priority),
}
# Options that shape the body; the dialect's encoder checks them.
_BODY = words("system max_output_tokens temperature top_p stop tools response_format seed extra")
_ALL = frozenset(ChatOptions.__annotations__)
# What callers of the providers' own packages write: what stands in its place is told.
_KEY_WORDS = words("api_key key")
_BODY_WORDS = words(
    "reasoning_effort service_tier user metadata logprobs top_logprobs logit_bias n"
    " presence_penalty frequency_penalty tool_choice parallel_tool_calls verbosity top_k thinking"
    " store modalities"
)

ReadyFor = tuple[Any, "_core.Ready | None"]  # the target that it was made for, and the request
Targets = dict[str, Any]  # "provider/model" to its resolved route
Variants = dict[object, Targets]  # (account, retry) to the routes made for them


class Plan:
    """Checked options. `targets` are the routes of this plan's account and retry policy."""

    __slots__ = (
        "account",
        "body",
        "count_tokens",
        "fallbacks",
        "follow_in_doubt",
        "max_cost_nanousd",
        "prepared",
        "ready",
        "retry",
        "submit",
        "targets",
    )

    def __init__(self, submit: dict[str, Any], targets: Targets) -> None:
        self.submit = submit
        self.prepared: _core.Prepared | None = None  # `submit` as the core takes it, once asked
        # Requests that lack only a prompt, by model: of calls, and of streams; see _steps.py.
        self.ready: tuple[dict[str, ReadyFor], dict[str, ReadyFor]] = ({}, {})
        self.body: dict[str, Any] = {}
        self.fallbacks: tuple[str, ...] = ()
        self.follow_in_doubt = False
        self.count_tokens = False
        self.max_cost_nanousd: int | None = None
        self.account: str | None = None
        self.retry: Retry | None = None
        self.targets = targets

    @classmethod
    def of_config(cls, config: Config, variants: Variants) -> Plan:
        """The defaults of a configuration."""
        defaults = config.defaults
        submit: dict[str, Any] = {
            "timeout_s": defaults.get("timeout_s", 30.0),
            "connect_timeout_s": defaults.get("connect_timeout_s", 10.0),
            "tenant": defaults.get("tenant", "default"),
        }
        for name in ("pool_timeout_s", "read_timeout_s", "write_timeout_s"):
            if defaults.get(name):
                submit[name] = defaults[name]
        ttl_s = config.cache.get("chat", {}).get("ttl_s")
        if ttl_s:
            submit["cache_ttl_s"] = ttl_s
        return cls(submit, variants.setdefault((None, None), {}))

    def with_options(self, options: Mapping[str, Any], variants: Variants) -> Plan:
        """This plan with `options` laid over it. InvalidType for an option that does not exist."""
        plan = Plan(self.submit.copy(), self.targets)
        plan.body = self.body.copy()
        plan.fallbacks = self.fallbacks
        plan.follow_in_doubt = self.follow_in_doubt
        plan.count_tokens = self.count_tokens
        plan.max_cost_nanousd = self.max_cost_nanousd
        plan.account = self.account
        plan.retry = self.retry
        for name, value in options.items():
            if value is None and name in _ALL:
                continue
            if name in _BODY:
                plan.body[name] = value
            elif name in _SUBMIT:
                target, read = _SUBMIT[name]
                plan.submit[target] = read(value)
            else:
                plan._take(name, value)
        if plan.account is not self.account or plan.retry is not self.retry:
            key = (plan.account, plan.retry.key if plan.retry else None)
            plan.targets = variants.setdefault(key, {})
        return plan

    def _take(self, name: str, value: Any) -> None:
        if name == "fallbacks":
            if isinstance(value, str) or not isinstance(value, Sequence):
                raise InvalidType('fallbacks is a list of "provider/model" strings')
            self.fallbacks = tuple(value)
        elif name == "fallback_in_doubt":
            if not isinstance(value, bool):
                raise InvalidType("fallback_in_doubt is True or False")
            self.follow_in_doubt = value
        elif name == "count_tokens":
            if not isinstance(value, bool):
                raise InvalidType("count_tokens is True or False")
            self.count_tokens = value
        elif name == "max_cost_usd":
            self.max_cost_nanousd = nanousd_of(value, "max_cost_usd")
        elif name == "account":
            self.account = _name("account", 200)(value)
        elif name == "retry":
            if not isinstance(value, Retry):
                raise InvalidType("retry is a sluiceway.Retry(...)")
            self.retry = value
        else:
            from sluiceway.config import nearest

            if name in _KEY_WORDS:
                hint = "; keys come from the environment, such as OPENAI_API_KEY"
            elif name in _BODY_WORDS:
                hint = f'; a field of the body goes into extra={{"{name}": ...}}'
            else:
                hint = nearest(name, _ALL)
            raise InvalidType(f"there is no option {name!r}{hint}")
