"""What the encoders of all chat dialects share: their facts, their answer, and the checks.

Model: an encoder is a pure function `encode_chat(facts, prompt, options, stream) -> Encoded`. It
checks what it is given, builds the body as one dict, and states how large the call can become: the
maximum of output tokens, the allowance for prompt tokens that are not in the body, the usage
buckets that its options reach, and the first thing that has no bound, if there is one. Whether that
refuses the call is decided by the caller, who knows of a stated cap.

Of a prompt that is a str of ASCII, an answer depends in one place only: the text stands in the
body, once. So what is encoded for one serves all others (`Ready`, _steps.py). Other texts may add
to the allowance.

What is bounded is a list of what we know; everything else counts as unbounded. `options` holds only
options that were given. Errors are `InvalidRequest`; values of the user's never appear in messages.

Time: linear in messages and parts; text is not copied. No state, any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sluiceway.errors import InvalidRequest, InvalidType, kind_of

Body = dict[str, Any]
Options = Mapping[str, Any]
Prompt = str | Sequence[Mapping[str, Any]]
COUNT_MAX = 2**31 - 1


class ChatFacts:
    """What an encoder knows of its model: names, the default maximum, the stated allowances."""

    __slots__ = (
        "allowances",
        "base_allowance",
        "max_output_default",
        "max_output_field",
        "model",
        "per_message",
        "pinned_tier",
        "provider",
        "service_tiers",
    )

    def __init__(
        self,
        provider: str,
        model: str,
        max_output_field: str,
        max_output_default: int,
        allowances: Mapping[str, int],
        service_tiers: Mapping[str, str],
    ) -> None:
        self.provider = provider
        self.model = model
        self.max_output_field = max_output_field
        self.max_output_default = max_output_default
        self.allowances = allowances
        self.base_allowance = allowances["fixed"]
        self.per_message = allowances["per_message"]
        self.service_tiers = service_tiers
        # Sent where the provider would else follow a setting that no one here can see.
        self.pinned_tier = "default" if "default" in service_tiers else ""


class Encoded(NamedTuple):
    """A request ready to be written, and its bounds."""

    body: Body
    max_output_tokens: int  # of all choices together
    prompt_allowance: int  # LLM tokens beyond the bytes of the body
    reachable_buckets: tuple[str, ...]  # (): the core's default for text
    service_tier: str  # the tier of the price rows, "" for the standard one
    unbounded: str  # what has no bound, "" when all is bounded


EncodeChat = Callable[[ChatFacts, Prompt, Options, bool], Encoded]


class Bounds:
    """What an encoder gathers while it reads: additions to the allowance, and the unbounded."""

    __slots__ = ("allowance", "per_image", "unbounded", "writes_1h", "writes_5m")

    def __init__(self, allowance: int, per_image: int = 0) -> None:
        self.allowance = allowance
        self.per_image = per_image  # the most that one image may cost; 0: not stated
        self.unbounded = ""
        self.writes_5m = False
        self.writes_1h = False

    def no_bound(self, what: str) -> None:
        """Remembers the first thing without a bound."""
        if not self.unbounded:
            self.unbounded = what


def words(text: str) -> frozenset[str]:
    """The set of the words of a text."""
    return frozenset(text.split())


def wrong_prompt(prompt: object) -> InvalidRequest:
    """The error for a prompt that is neither text nor messages."""
    if isinstance(prompt, str):
        return InvalidRequest("the prompt is empty; give a text or a list of messages")
    if isinstance(prompt, bytes | bytearray):
        return InvalidType("the prompt is bytes; decode it to a str first, as in data.decode()")
    if isinstance(prompt, Mapping):
        return InvalidType("the prompt is one message; put it into a list, [message]")
    if isinstance(prompt, Sequence):
        return InvalidRequest("the list of messages is empty")
    return InvalidType(
        f"the prompt is {kind_of(prompt)}; give a str, or a list of messages such as"
        ' [{"role": "user", "content": "Hello"}]'
    )


def message_list(prompt: object, roles: frozenset[str]) -> list[Mapping[str, Any]]:
    """The messages of a prompt that is not a str, checked for their roles and shapes."""
    if (
        not isinstance(prompt, Sequence)
        or isinstance(prompt, str | bytes | bytearray)
        or not prompt
    ):
        raise wrong_prompt(prompt)
    for index, message in enumerate(prompt):
        if not isinstance(message, Mapping):
            raise InvalidType(
                f"message {index} is {kind_of(message)}, not a dict with a role and a content"
            )
        role = message.get("role")
        if not isinstance(role, str) or role not in roles:
            known = ", ".join(sorted(roles))
            raise InvalidRequest(f"message {index} has the role {short(role)}; known: {known}")
    return list(prompt)


def text_of(value: object, what: str) -> str:
    """A text that is not empty."""
    if not isinstance(value, str):
        raise InvalidType(f"{what} is {kind_of(value)}, not a str")
    if not value:
        raise InvalidRequest(f"{what} is empty")
    return value


def number_of(value: object, name: str, low: float, high: float) -> float:
    """A number within bounds; NaN is not one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidType(f"{name} is {kind_of(value)}, not a number")
    if not low <= value <= high:
        raise InvalidRequest(f"{name}={value} is not between {low:g} and {high:g}")
    return value


def count_of(value: object, name: str) -> int:
    """A whole number from 1 to COUNT_MAX."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidType(f"{name} is {kind_of(value)}, not an int")
    if value < 1:
        raise InvalidRequest(f"{name}={value} is not at least 1")
    if value > COUNT_MAX:
        raise InvalidRequest(f"{name} is not at most {COUNT_MAX}")
    return value


def stop_list(value: object) -> list[str]:
    """Stop sequences from a str or a list of them."""
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, Sequence) or not stops:
        raise InvalidType("stop is a str or a list of them")
    return [text_of(one, "a stop sequence") for one in stops]


def tool_list(value: object) -> list[Mapping[str, Any]]:
    """Tools as dicts."""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise InvalidType(f"tools is {kind_of(value)}, not a list of tool declarations")
    for index, tool in enumerate(value):
        if not isinstance(tool, Mapping):
            raise InvalidType(f"tool {index} is {kind_of(tool)}, not a dict")
    return list(value)


def extra_of(options: Options, managed: Mapping[str, str]) -> Mapping[str, Any]:
    """The `extra=` dict; fields that an argument stands for are refused."""
    extra = options.get("extra")
    if extra is None:
        return {}
    if not isinstance(extra, Mapping) or not all(isinstance(key, str) for key in extra):
        raise InvalidType("extra is a dict of body fields")
    for key in extra:
        if key in managed:
            raise InvalidRequest(f"extra has {key!r}; {managed[key]}")
    return extra


def tier_of(facts: ChatFacts, wanted: object) -> tuple[str, str]:
    """The price tier of a `service_tier` field, and what is unbounded about it (or "")."""
    if isinstance(wanted, str) and wanted in facts.service_tiers:
        return facts.service_tiers[wanted], ""
    return "", f"the service tier {short(wanted)}"


def max_output_of(options: Options, extra: Mapping[str, Any], names: Sequence[str]) -> int | None:
    """The caller's maximum, from the option or from one of the wire's own names in extra."""
    found = [(name, extra[name]) for name in names if extra.get(name) is not None]
    if options.get("max_output_tokens") is not None:
        found.append(("max_output_tokens", options["max_output_tokens"]))
    if len(found) > 1:
        raise InvalidRequest(f"{found[0][0]} and {found[1][0]} both set the maximum; give one")
    return count_of(found[0][1], found[0][0]) if found else None


def short(value: object) -> str:
    """A value for a message: short, and only if it is a short word."""
    if isinstance(value, str) and len(value) <= 40:
        return repr(value)
    return kind_of(value)
