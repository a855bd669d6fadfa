"""Draws the calls of the simulations' workers from a seed, and says which seeds are to be run.

SLUICEWAY_SEED sets the seed (it is printed), SLUICEWAY_PROOF=1 asks for the long runs. Both are
read when this file is imported, before any fixture empties the environment.

A call is [n, model, prompt, max_output_tokens, stream]; the prompt tells the simulator how many
tokens to answer with, and sometimes which fault to play. `NEED_NANOUSD` is about what a call costs,
from the simulator's tariff: 100 tokens out on average, at 600 (OpenAI, DeepSeek) and 500
(Anthropic) nano-dollars each, and 20 to 60 tokens in.
"""

from __future__ import annotations

import os
import random
from typing import Any

SEED = int(os.environ.get("SLUICEWAY_SEED", "20261122"))
PROOF = os.environ.get("SLUICEWAY_PROOF", "") not in ("", "0")
MODELS = {
    "openai": "openai/gpt-4o-mini",
    "deepseek": "deepseek/deepseek-chat",
    "anthropic": "anthropic/claude-haiku-5-5",
}
MAX_OUTPUT_TOKENS = 200
NEED_NANOUSD = {"openai": 66_000, "deepseek": 66_000, "anthropic": 54_000}
_FAULTS = (
    "fault=status status=429 on_attempt=1 retry_after_form=ms retry_after_s=0.005",
    "fault=status status=503 on_attempt=1 retry_after_form=none",
    "fault=drop_before",
    "fault=drop_after",
    "fault=status status=500",
    "fault=cut_body",
)


def seeds(count_in_proof: int) -> list[int]:
    """The seed, and in a proof the next ones too."""
    return [SEED + step for step in range(count_in_proof if PROOF else 1)]


def usd(nanousd: int) -> str:
    """An amount as the gateway takes it."""
    return f"{nanousd // 10**9}.{nanousd % 10**9:09}"


def draw_calls(rng: random.Random, count: int, fault_share: float = 0.06) -> list[list[Any]]:
    """`count` calls over the three providers, a fifth of them streamed."""
    calls = []
    for n in range(count):
        provider = rng.choice(list(MODELS))
        words = [f"output_tokens={rng.randint(1, MAX_OUTPUT_TOKENS)}"]
        words.append(f"latency_ms=uniform:1:{rng.randint(2, 30)}")
        if rng.random() < fault_share:
            words.append(rng.choice(_FAULTS))
        text = "rivers " * rng.randint(1, 8)
        prompt = f"{text}[[simulator: {' '.join(words)}]]"
        calls.append([n, MODELS[provider], prompt, MAX_OUTPUT_TOKENS, rng.random() < 0.2])
    return calls


def need_nanousd(calls: list[list[Any]], provider: str) -> int:
    """About what the calls to one provider will cost."""
    wanted = MODELS[provider]
    return sum(NEED_NANOUSD[provider] for call in calls if call[1] == wanted)
