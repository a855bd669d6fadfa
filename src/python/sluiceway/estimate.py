"""Dry runs: what a call would cost at least, probably and at most. Nothing is sent.

The ceiling is the amount that the call itself would reserve. Probably rests on two stated guesses:
a token for each four bytes of the body, and a quarter of the maximum of output tokens; both can be
given instead. Time: microseconds. Any thread.

    gw.estimate.chat("openai/gpt-6-luna", "A long prompt").ceiling
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluiceway import _core
from sluiceway._failures import unbounded, unwritable
from sluiceway._steps import price
from sluiceway.errors import InvalidRequest
from sluiceway.money import usd_of
from sluiceway.types import Estimate

if TYPE_CHECKING:
    from typing import Unpack

    from sluiceway._hub import Hub
    from sluiceway.options import ChatOptions, Plan
    from sluiceway.providers.dialects.encoding import Prompt

BYTES_PER_TOKEN = 4


class Estimator:
    """`gw.estimate`: the same verbs and options as the gateway, without sending."""

    __slots__ = ("_hub", "_plan")

    def __init__(self, hub: Hub, plan: Plan) -> None:
        self._hub = hub
        self._plan = plan

    def chat(
        self,
        model: str,
        prompt: Prompt,
        *,
        expected_output_tokens: int | None = None,
        **options: Unpack[ChatOptions],
    ) -> Estimate:
        """Prices a chat call; the same errors as the call itself for what cannot be priced."""
        hub = self._hub
        plan = self._plan.with_options(options, hub.variants) if options else self._plan
        target = hub.target(model, plan)
        encoded = target.encode(target.facts, prompt, plan.body, False)
        if encoded.unbounded:
            raise unbounded(encoded.unbounded, target.provider.id, target.facts.model)
        target.check_price(encoded.service_tier)
        try:
            expected_prompt = -(-len(_core.json_bytes(encoded.body)) // BYTES_PER_TOKEN)
        except (ValueError, TypeError, OverflowError) as error:
            raise unwritable(error, target.provider.id, target.facts.model) from None
        expected_output = expected_output_tokens
        if expected_output is None:
            expected_output = -(-encoded.max_output_tokens // 4)
        if expected_output < 0:
            raise InvalidRequest(f"expected_output_tokens={expected_output} is below zero")
        quote = price(
            hub,
            plan,
            target,
            encoded,
            expected_prompt_tokens=expected_prompt,
            expected_output_tokens=expected_output,
        )
        return Estimate(
            model=target.name,
            low=usd_of(quote["low"]),
            expected=usd_of(quote["expected"]),
            ceiling=usd_of(quote["ceiling"]),
            price_version=quote["price_version"],
            prompt_tokens_max=quote["prompt_tokens_max"],
            max_output_tokens=encoded.max_output_tokens,
            expected_prompt_tokens=expected_prompt,
            expected_output_tokens=expected_output,
        )
