"""Dry runs: what a call would cost at least, probably and at most. Nothing is sent.

Model: `chat` encodes the request as the call itself does, and its ceiling is the amount that the
call would reserve. `embeddings` and `job` (many requests in one batch, at the batch price) price
the same bounds over the price rows alone, so that they need no key. Speech, transcription, images
and video: _estimate_media.py.

Probably rests on stated guesses, which can be given instead: the prompt by the model's own
tokenizer where its vocabulary is at hand (tokenizers.py), else a token for each four bytes of the
body; the output a quarter of its maximum. Low takes the same counts at the cheapest hour and cache.

Time: microseconds; with a tokenizer some 5 MB/s. Any thread.

    gw.estimate.chat("openai/gpt-6-luna", "A long prompt").ceiling
    gw.estimate.job("openai/gpt-6-luna", prompts).expected
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sluiceway import _core
from sluiceway._estimate_media import MediaEstimator, quote_rows, sheet_of, utf8_bytes
from sluiceway._failures import Writing, unbounded
from sluiceway._steps import price
from sluiceway.errors import InvalidRequest, InvalidType
from sluiceway.money import usd_of
from sluiceway.options import whole
from sluiceway.tokenizers import count_request, count_text, vocabulary_of
from sluiceway.types import Estimate

if TYPE_CHECKING:
    from typing import Unpack

    from sluiceway._target import Target
    from sluiceway.options import ChatOptions
    from sluiceway.providers.dialects.encoding import Encoded, Prompt

BYTES_PER_TOKEN = 4
BATCH_WITHIN_S = 86_400.0  # OpenAI and Anthropic answer batches within 24 hours
BATCH_TIER = "batch"
PER_INPUT = 8  # tokens that an embedding model may add around each text; recorded: 0 to 2


class Estimator(MediaEstimator):
    """`gw.estimate`: the same verbs and options as the gateway, without sending."""

    __slots__ = ()

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
        cap = plan.max_cost_nanousd
        if encoded.unbounded and cap is None:
            raise unbounded(encoded.unbounded, target.provider.id, target.facts.model)
        target.check_price(encoded.service_tier)
        expected_prompt, basis = _expected_prompt(target, encoded)
        expected_output = _expected_output(expected_output_tokens, encoded.max_output_tokens)
        quote = price(
            hub,
            plan,
            target,
            encoded,
            expected_prompt_tokens=expected_prompt,
            expected_output_tokens=expected_output,
        )
        # Without a bound the stated cap is what would be reserved.
        ceiling = quote["ceiling"] if cap is None or not encoded.unbounded else cap
        return Estimate(
            model=target.name,
            low=usd_of(min(quote["low"], ceiling)),
            expected=usd_of(min(quote["expected"], ceiling)),
            ceiling=usd_of(ceiling),
            price_version=quote["price_version"],
            prompt_tokens_max=quote["prompt_tokens_max"],
            max_output_tokens=encoded.max_output_tokens,
            expected_prompt_tokens=expected_prompt,
            expected_output_tokens=expected_output,
            units={},
            basis=basis,
        )

    def job(
        self,
        model: str,
        prompts: Sequence[Prompt],
        *,
        expected_output_tokens: int | None = None,
        within_s: float = BATCH_WITHIN_S,
        **options: Unpack[ChatOptions],
    ) -> Estimate:
        """Prices many chat requests as one batch job, by the rows of the provider's batch tier.

        `expected_output_tokens` is of one request; the counts of the result are of all together.
        Every price of the next `within_s` seconds counts. UnpricedOperation where the model is not
        sold in batches.
        """
        _check_list(prompts, "prompts is a list with at least one prompt")
        hub = self._hub
        plan = self._plan.with_options(options, hub.variants) if options else self._plan
        target = hub.target(model, plan)
        target.check_price(BATCH_TIER)
        totals = dict.fromkeys(("low", "expected", "ceiling"), 0)
        counts = dict.fromkeys(("bound", "maximum", "prompt", "output"), 0)
        quote: dict[str, Any] = {}
        basis = "bytes"
        for prompt in prompts:
            encoded = target.encode(target.facts, prompt, plan.body, False)
            if encoded.unbounded:
                raise unbounded(encoded.unbounded, target.provider.id, target.facts.model)
            if encoded.service_tier:
                raise InvalidRequest("a batch has a price of its own; leave out the service tier")
            prompt_tokens, basis = _expected_prompt(target, encoded)
            output_tokens = _expected_output(expected_output_tokens, encoded.max_output_tokens)
            bound = _bytes_of(target, encoded) + encoded.prompt_allowance
            quote = quote_rows(
                hub,
                plan,
                sheet_of(hub, model),
                prompt_tokens_max=bound,
                output_tokens_max=encoded.max_output_tokens,
                reachable_buckets=encoded.reachable_buckets or _TEXT_BUCKETS,
                service_tier=BATCH_TIER,
                expected_prompt_tokens=prompt_tokens,
                expected_output_tokens=output_tokens,
                timeout_s=within_s,
            )
            for name in totals:
                totals[name] += quote[name]
            counts["bound"] += bound
            counts["maximum"] += encoded.max_output_tokens
            counts["prompt"] += prompt_tokens
            counts["output"] += output_tokens
        return Estimate(
            model=target.name,
            **{name: usd_of(amount) for name, amount in totals.items()},
            price_version=quote["price_version"],
            prompt_tokens_max=counts["bound"],
            max_output_tokens=counts["maximum"],
            expected_prompt_tokens=counts["prompt"],
            expected_output_tokens=counts["output"],
            units={},
            basis=basis,
        )

    def embeddings(
        self, model: str, texts: str | Sequence[str], **options: Unpack[ChatOptions]
    ) -> Estimate:
        """Prices embeddings of texts: at most their UTF-8 bytes, and 8 tokens around each."""
        several = [texts] if isinstance(texts, str) else texts
        _check_list(several, "texts is a str or a list with at least one")
        plan = self._plan.with_options(options, self._hub.variants) if options else self._plan
        sheet = sheet_of(self._hub, model)
        expected = bound = 0
        basis = "bytes"
        for text in several:
            size = utf8_bytes(text, "a text")
            bound += size + PER_INPUT
            count = count_text(sheet["provider"], sheet["model"], text)
            expected += -(-size // BYTES_PER_TOKEN) if count is None else count
            basis = (
                "bytes" if count is None else vocabulary_of(sheet["provider"], sheet["model"])[0]
            )
        quote = quote_rows(
            self._hub,
            plan,
            sheet,
            prompt_tokens_max=bound,
            reachable_buckets=("input",),
            expected_prompt_tokens=expected,
        )
        return Estimate(
            model=model,
            low=usd_of(quote["low"]),
            expected=usd_of(quote["expected"]),
            ceiling=usd_of(quote["ceiling"]),
            price_version=quote["price_version"],
            prompt_tokens_max=bound,
            max_output_tokens=0,
            expected_prompt_tokens=expected,
            expected_output_tokens=0,
            units={},
            basis=basis,
        )


# What a text call reaches where its encoder says nothing else: cost::kTextBuckets of the core.
_TEXT_BUCKETS = ("input", "cache_read", "cache_write_5m", "output", "reasoning")


def _bytes_of(target: Target, encoded: Encoded) -> int:
    with Writing(target.provider.id, target.facts.model):
        return len(_core.json_bytes(encoded.body))


def _expected_prompt(target: Target, encoded: Encoded) -> tuple[int, str]:
    """The likely prompt tokens, and how they were counted."""
    provider, model = target.provider.id, target.facts.model
    size = _bytes_of(target, encoded)  # also the error for what cannot be written
    count = count_request(provider, model, encoded.body)
    if count is None:
        return -(-size // BYTES_PER_TOKEN), "bytes"
    return count, vocabulary_of(provider, model)[0]


def _expected_output(stated: int | None, maximum: int) -> int:
    if stated is None:
        return -(-maximum // 4)
    return whole(stated, "expected_output_tokens", 0, 2**31 - 1)


def _check_list(value: object, wanted: str) -> None:
    if isinstance(value, str | bytes) or not isinstance(value, Sequence) or not value:
        raise InvalidType(wanted)
