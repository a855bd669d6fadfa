"""Estimates of speech, transcription, images and video: what is known before sending, times a row.

Model: each verb turns its arguments into units of the model's price rows (characters, images,
megapixels, seconds, or tokens where the model is sold by tokens) and asks the core for the three
figures over those rows. Nothing is encoded and no key is needed, so these work for every model that
has a price, also where the gateway has no verb for the operation yet. A model whose rows have none
of an operation's units is an `UnpricedOperation` that says what it is sold by; where nothing bounds
the units, an `UnboundedOperation` says which argument would.

Counting rules, stated because providers' pages differ:
- Characters: expected are Unicode code points, as OpenAI and Google state theirs (spaces, line ends
  and markup included; a combining mark is one of its own). The ceiling counts UTF-8 bytes: nobody
  is known to count more, and several providers do not say what a character is.
- Seconds: the ceiling takes the next whole second, since some providers round up.
- Spoken audio: 25 audio tokens a second at most (OpenAI documents one for 50 ms of output and one
  for 100 ms of input; read 2026-11-22).
- Images sold by tokens: OpenAI's table for gpt-image-1 and its kin (guide "Image generation"); for
  newer ones no table was found, so `max_output_tokens` must be given.

Time: tens of microseconds. Any thread.

    gw.estimate.speech("openai/tts-1", "A long script").ceiling
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sluiceway import _core
from sluiceway._told import region_of, tier_in, tiers_of
from sluiceway._values import text as checked_text
from sluiceway.config import nearest
from sluiceway.errors import (
    InvalidRequest,
    InvalidType,
    UnboundedOperation,
    UnknownModel,
    UnpricedModel,
    UnpricedOperation,
    kind_of,
)
from sluiceway.money import usd_of
from sluiceway.options import whole
from sluiceway.types import Estimate

if TYPE_CHECKING:
    from sluiceway._hub import Hub
    from sluiceway.options import Plan

Number = int | float | Decimal
AUDIO_TOKENS_PER_S = 25
PROMPT_ALLOWANCE = 64  # tokens around a text prompt that the price rows count as input
COUNT_MAX = 1_000_000_000
# OpenAI, guide "Image generation": output tokens by quality of square, portrait, landscape images.
_IMAGE_TOKENS = {
    "low": (272, 408, 400),
    "medium": (1056, 1584, 1568),
    "high": (4160, 6240, 6208),
}
_IMAGE_SIZES = ("1024x1024", "1024x1536", "1536x1024")
_IMAGE_TABLE_MODELS = ("gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5")
_THOUSANDTHS = ("seconds", "megapixels", "credits")


def sheet_of(hub: Hub, name: str) -> dict[str, Any]:
    """The price sheet of "provider/model". UnknownModel, UnpricedModel with the nearest name."""
    if not isinstance(name, str):
        raise InvalidType(f'the model is {kind_of(name)}, not a "provider/model" str')
    provider, slash, model = name.partition("/")
    if not slash or not model:
        raise UnknownModel(f'{name!r} is not of the form "provider/model"')
    known = hub.price_table().of(provider)
    sheet: dict[str, Any] | None = known.get(model)
    if sheet is None:
        raise UnpricedModel(
            f"no price is known for {name!r}{nearest(model, known)}", provider=provider, model=model
        )
    return sheet


def utf8_bytes(text: object, what: str) -> int:
    """How many bytes a text has in UTF-8; a lone surrogate counts three."""
    if not isinstance(text, str):
        raise InvalidType(f"{what} is {kind_of(text)}, not a str")
    return len(text.encode("utf-8", "surrogatepass"))


def _check_text(*values: object) -> None:
    for one in values:
        checked_text(one, "size and quality")


def quote_rows(hub: Hub, plan: Plan, sheet: dict[str, Any], **bounds: Any) -> dict[str, Any]:
    """The core's three figures over the rows of one model, on the plan of the caller's account."""
    settings = hub.config.accounts.get((sheet["provider"], plan.account or "default"), {})
    provider = hub.registry.get(sheet["provider"])
    if provider is not None:
        tiers = tiers_of(sheet, settings.get("plan", ""))
        region = region_of(provider, hub.base_url(provider, plan.account), tiers)
        bounds["service_tier"] = tier_in(region, bounds.get("service_tier", ""))
    timeout_s = bounds.pop("timeout_s", None)
    return _core.quote_sheet(
        sheet,
        plan=settings.get("plan", ""),
        timeout_s=plan.submit["timeout_s"] if timeout_s is None else timeout_s,
        **bounds,
    )


class MediaEstimator:
    """The verbs that work over price rows alone."""

    __slots__ = ("_hub", "_plan")

    def __init__(self, hub: Hub, plan: Plan) -> None:
        self._hub = hub
        self._plan = plan

    def speech(
        self,
        model: str,
        text: str,
        *,
        expected_s: Number | None = None,
        seconds_max: Number | None = None,
        account: str | None = None,
    ) -> Estimate:
        """Prices a text to speak: by its characters, or by its tokens and the audio that comes.

        For a model sold by audio tokens `seconds_max` bounds how long the audio may be.
        """
        size = utf8_bytes(text, "the text")
        sheet = sheet_of(self._hub, model)
        sold = _sold(sheet)
        if "characters" in sold:
            return self._units(sheet, account, {"characters": len(text)}, {"characters": size})
        if "audio_output" in sold:
            most = _seconds(seconds_max, "seconds_max", model, "audio")
            likely = most if expected_s is None else _thousandths(expected_s, "expected_s")
            return self._tokens(
                sheet,
                account,
                prompt=(-(-size // 4), size + PROMPT_ALLOWANCE),
                output=(_audio(min(likely, most)), _audio(most)),
                buckets=("input", "audio_output"),
            )
        raise _not_sold(sheet, "speech", ("characters", "audio_output"))

    def transcription(
        self,
        model: str,
        *,
        seconds: Number,
        max_output_tokens: int | None = None,
        account: str | None = None,
    ) -> Estimate:
        """Prices audio of a known length: by its seconds, or by its and the text's tokens."""
        sheet = sheet_of(self._hub, model)
        sold = _sold(sheet)
        length = _thousandths(seconds, "seconds")
        if "seconds" in sold:
            return self._units(sheet, account, {"seconds": length}, {"seconds": _next_s(length)})
        if "audio_input" in sold:
            if max_output_tokens is None:
                raise _no_bound(sheet, "the length of the text", "max_output_tokens")
            most = whole(max_output_tokens, "max_output_tokens", 1, COUNT_MAX)
            audio = _audio(_next_s(length))
            return self._tokens(
                sheet,
                account,
                prompt=(-(-length // 100), audio + PROMPT_ALLOWANCE),
                output=(-(-most // 4), most),
                buckets=("input", "audio_input", "output"),
            )
        raise _not_sold(sheet, "transcription", ("seconds", "audio_input"))

    def image(
        self,
        model: str,
        prompt: str = "",
        *,
        n: int = 1,
        size: str = "",
        quality: str = "",
        max_output_tokens: int | None = None,
        account: str | None = None,
    ) -> Estimate:
        """Prices `n` images of a size ("1024x1024") and a quality; what is left open may be any.

        Input images are not in it. `max_output_tokens` is of all images together.
        """
        bytes_in = utf8_bytes(prompt, "the prompt")
        _check_text(size, quality)
        count = whole(n, "n", 1, 10_000)
        sheet = sheet_of(self._hub, model)
        sold = _sold(sheet)
        selectors = {"size": size, "quality": quality}
        if "images" in sold:
            _check_sold(sheet, selectors)
            return self._units(sheet, account, {"images": count}, {"images": count}, **selectors)
        if "megapixels" in sold:
            pixels = count * _pixels(size, sheet)
            units = {"megapixels": -(-pixels // 1000)}
            return self._units(sheet, account, units, units, **selectors)
        if "image_output" in sold:
            if max_output_tokens is not None:
                low = most = whole(max_output_tokens, "max_output_tokens", 1, COUNT_MAX)
            else:
                low, most = (count * one for one in _image_tokens(sheet, size, quality))
            return self._tokens(
                sheet,
                account,
                prompt=(-(-bytes_in // 4), bytes_in + PROMPT_ALLOWANCE),
                output=(low, most),
                buckets=("input", "image_output"),
            )
        raise _not_sold(sheet, "images", ("images", "megapixels", "image_output"))

    def video(
        self,
        model: str,
        *,
        seconds: Number,
        size: str = "",
        quality: str = "",
        n: int = 1,
        account: str | None = None,
    ) -> Estimate:
        """Prices `n` videos of a length, a size ("1280x720") and a quality."""
        _check_text(size, quality)
        count = whole(n, "n", 1, 10_000)
        length = _thousandths(seconds, "seconds")
        sheet = sheet_of(self._hub, model)
        if "seconds" not in _sold(sheet):
            raise _not_sold(sheet, "video", ("seconds",))
        selectors = {"size": size, "quality": quality}
        _check_sold(sheet, selectors)
        expected, most = {"seconds": count * length}, {"seconds": count * _next_s(length)}
        return self._units(sheet, account, expected, most, **selectors)

    def _units(
        self,
        sheet: dict[str, Any],
        account: str | None,
        expected: Mapping[str, int],
        most: Mapping[str, int],
        **selectors: str,
    ) -> Estimate:
        """By what is counted before sending: two quotes, of what is likely and of the most."""
        plan = self._plan if account is None else self._plan_for(account)
        high = quote_rows(self._hub, plan, sheet, other_units=dict(most), **selectors)
        likely = high
        if expected != most:
            likely = quote_rows(self._hub, plan, sheet, other_units=dict(expected), **selectors)
        return _estimate(sheet, likely, high, dict(most))

    def _tokens(
        self,
        sheet: dict[str, Any],
        account: str | None,
        *,
        prompt: tuple[int, int],
        output: tuple[int, int],
        buckets: Sequence[str],
    ) -> Estimate:
        """By tokens: (likely, most) of either side."""
        plan = self._plan if account is None else self._plan_for(account)
        quote = quote_rows(
            self._hub,
            plan,
            sheet,
            prompt_tokens_max=prompt[1],
            output_tokens_max=output[1],
            reachable_buckets=tuple(one for one in buckets if one in _sold(sheet)),
            expected_prompt_tokens=prompt[0],
            expected_output_tokens=output[0],
        )
        return _estimate(sheet, quote, quote, {}, prompt, output)

    def _plan_for(self, account: str) -> Plan:
        return self._plan.with_options({"account": account}, self._hub.variants)


def _estimate(
    sheet: dict[str, Any],
    likely: dict[str, Any],
    high: dict[str, Any],
    units: dict[str, int],
    prompt: tuple[int, int] = (0, 0),
    output: tuple[int, int] = (0, 0),
) -> Estimate:
    shown = {
        name: Decimal(count) / 1000 if name in _THOUSANDTHS else count
        for name, count in units.items()
    }
    return Estimate(
        model=f"{sheet['provider']}/{sheet['model']}",
        low=usd_of(likely["low"]),
        expected=usd_of(likely["expected"]),
        ceiling=usd_of(high["ceiling"]),
        price_version=high["price_version"],
        prompt_tokens_max=prompt[1],
        max_output_tokens=output[1],
        expected_prompt_tokens=prompt[0],
        expected_output_tokens=output[0],
        units=shown,
        basis="bytes",
    )


def _sold(sheet: dict[str, Any]) -> set[str]:
    return {bucket for row in sheet["rows"] for bucket in row["rates"]}


def _not_sold(sheet: dict[str, Any], what: str, wanted: Sequence[str]) -> UnpricedOperation:
    name = f"{sheet['provider']}/{sheet['model']}"
    return UnpricedOperation(
        f"{name} is sold by {', '.join(sorted(_sold(sheet)))}: no row has a price by"
        f" {' or '.join(wanted)}, so there is none for {what}",
        provider=sheet["provider"],
        model=sheet["model"],
    )


def _no_bound(sheet: dict[str, Any], what: str, argument: str) -> UnboundedOperation:
    return UnboundedOperation(
        f"nothing bounds {what} that {sheet['provider']}/{sheet['model']} may answer with; give"
        f" {argument}",
        provider=sheet["provider"],
        model=sheet["model"],
    )


def _check_sold(sheet: dict[str, Any], selectors: Mapping[str, str]) -> None:
    """UnpricedOperation for a size or a quality that no row is for, naming those that are."""
    for key, wanted in selectors.items():
        known = {row[key] for row in sheet["rows"]}
        if wanted in ("", "auto") or wanted in known or "" in known:
            continue
        raise UnpricedOperation(
            f"{sheet['provider']}/{sheet['model']} has no price for {key} {wanted!r}; it has:"
            f" {', '.join(sorted(known))}",
            provider=sheet["provider"],
            model=sheet["model"],
        )


def _thousandths(value: object, name: str) -> int:
    """Seconds as thousandths, rounded up; floats by the digits that they show."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise InvalidType(f"{name} is {kind_of(value)}, not a number of seconds")
    exact = Decimal(str(value))
    if not exact.is_finite() or not 0 < exact <= 10_000_000:
        raise InvalidRequest(f"{name}={value} is not a number of seconds above 0, up to 10,000,000")
    return -int(-exact * 1000 // 1)


def _seconds(value: Number | None, name: str, model: str, what: str) -> int:
    if value is None:
        raise UnboundedOperation(
            f"nothing bounds how long the {what} of {model} may become; give {name}",
            provider=model.partition("/")[0],
            model=model.partition("/")[2],
        )
    return _thousandths(value, name)


def _next_s(thousandths: int) -> int:
    return -(-thousandths // 1000) * 1000


def _audio(thousandths: int) -> int:
    return -(-thousandths * AUDIO_TOKENS_PER_S // 1000)


def _pixels(size: str, sheet: dict[str, Any]) -> int:
    width, _, height = size.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise _no_bound(sheet, "how large the image is", 'size="1024x1024"')
    return int(width) * int(height)


def _image_tokens(sheet: dict[str, Any], size: str, quality: str) -> tuple[int, int]:
    """Output tokens of one image: (likely, most) over what is left open."""
    if sheet["model"] not in _IMAGE_TABLE_MODELS:
        raise _no_bound(sheet, "how many tokens an image has", "max_output_tokens")
    rows = [_IMAGE_TOKENS[quality]] if quality in _IMAGE_TOKENS else list(_IMAGE_TOKENS.values())
    columns = [_IMAGE_SIZES.index(size)] if size in _IMAGE_SIZES else [0, 1, 2]
    if quality not in (*_IMAGE_TOKENS, "", "auto") or size not in (*_IMAGE_SIZES, "", "auto"):
        raise InvalidRequest(
            f"{sheet['model']} has the sizes {', '.join(_IMAGE_SIZES)} and the qualities"
            f" {', '.join(_IMAGE_TOKENS)}"
        )
    found = [row[column] for row in rows for column in columns]
    return min(found), max(found)
