"""What the demo will call: every call planned before the first one is made.

Model: rows of a trace become calls. More calls than rows: the trace is repeated, shifted by its own
span; fewer: a random sample, which keeps the shape in time. Arrivals are compressed into
`duration_s`. A call gets a model by its share, a job, and by chance: a stream, fallbacks, a place
in a group of identical prompts that use the cache. A prompt has as many bytes of text as give the
trace's ContextTokens at the simulator (four bytes a token and three tokens a message), and begins
with a directive that asks it for GeneratedTokens; max_output_tokens lies a little above.

Deterministic by seed: plans are equal, byte for byte. Memory: about 300 bytes a call; the prompt's
text is made when its call is due. Pure, any thread, no clock.

    plan = plan_calls(trace, calls=6000, seed=1)
    plan.calls[0].at_s, plan.prompt(plan.calls[0])
"""

from __future__ import annotations

import itertools
import random
from bisect import bisect_right
from dataclasses import dataclass, replace

from sluiceway.demo.trace import Trace

# Shares of the calls, in percent. Two models of two providers each, one of the third.
MODELS: dict[str, int] = {
    "openai/gpt-6-luna": 28,
    "openai/gpt-4o-mini": 14,
    "deepseek/deepseek-flash": 24,
    "anthropic/claude-haiku-5-5": 22,
    "anthropic/claude-haiku-4-5": 12,
}
FALLBACKS: dict[str, tuple[str, ...]] = {
    "openai/gpt-6-luna": ("anthropic/claude-haiku-5-5",),
    "openai/gpt-4o-mini": ("openai/gpt-6-luna",),
    "deepseek/deepseek-flash": ("openai/gpt-6-luna", "anthropic/claude-haiku-5-5"),
    "anthropic/claude-haiku-5-5": ("deepseek/deepseek-flash",),
    "anthropic/claude-haiku-4-5": ("anthropic/claude-haiku-5-5", "openai/gpt-6-luna"),
}
STREAM_SHARE = 0.25
FALLBACK_SHARE = 0.5
CACHE_SHARE = 0.15
SAME_PROMPT_CALLS = 6  # about how many calls share one cached prompt
JOBS_MAX = 60
CALLS_PER_JOB = 25  # fewer jobs where there are fewer calls
# Longer rows are sent as long as this, so that any trace ends in about a minute.
CONTEXT_TOKENS_MAX = 16_000
OUTPUT_TOKENS_MAX = 2_000
CALLS_PER_S = 240
DURATION_MIN_S = 4.0
ARRIVALS_PER_S_MAX = 800  # a trace whose calls come all at once is drawn out to this

_BYTES_PER_TOKEN = 4
_TOKENS_PER_MESSAGE = 3
_EVENTS_MAX = 12  # of a stream, about: the directive bundles tokens
_TEXT_BYTES = 1 << 17
_WORDS = """
    river bridge stone paper lamp engine garden window silver market harbour winter signal letter
    mountain copper school village thread wheel carbon island number valley mirror
"""


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One call. `at_s` counts from the start; `text_at` is where its prompt's text begins."""

    number: int
    at_s: float
    model: str
    job: int
    context_tokens: int
    output_tokens: int
    stream: bool
    fallbacks: tuple[str, ...]
    cache_group: int | None
    text_at: int

    @property
    def max_output_tokens(self) -> int:
        """A bound a quarter above what will come, so that a ceiling is near the cost."""
        return self.output_tokens + self.output_tokens // 4 + 4


@dataclass(frozen=True, slots=True)
class Plan:
    """All calls in order of arrival."""

    trace_name: str
    seed: int
    calls: tuple[PlannedCall, ...]
    jobs: int
    duration_s: float
    span_s: float  # of the trace, before it was compressed
    clamped: int  # rows that were longer than the bounds above
    text: str

    def prompt(self, call: PlannedCall) -> str:
        """The prompt's text: directive, then filler up to the wanted length."""
        group = call.cache_group
        mark = f"call {call.number}" if group is None else f"question {group}"
        head = f"[[simulator: output_tokens={call.output_tokens}"
        if call.stream and call.output_tokens > _EVENTS_MAX:
            head += f" tokens_per_event={-(-call.output_tokens // _EVENTS_MAX)}"
        head += f"]] {mark} of seed {self.seed}: "
        wanted = (call.context_tokens - _TOKENS_PER_MESSAGE) * _BYTES_PER_TOKEN
        return head + self.text[call.text_at : call.text_at + max(wanted - len(head), 0)]


def plan_calls(trace: Trace, calls: int, seed: int) -> Plan:
    """`calls` calls (at least 1) out of a trace; the same arguments give the same plan."""
    rng = random.Random(f"sluiceway demo workload {seed}")
    rows, arrivals_ns = _pick_rows(trace, calls, rng)
    span_ns = arrivals_ns[-1]
    duration_s = max(calls / CALLS_PER_S, DURATION_MIN_S)
    jobs = max(1, min(JOBS_MAX, calls // CALLS_PER_JOB))
    job_upto = list(itertools.accumulate(rng.randint(4, 16) for _ in range(jobs)))
    models = list(MODELS)
    model_upto = list(itertools.accumulate(MODELS.values()))
    groups = max(1, round(calls * CACHE_SHARE / SAME_PROMPT_CALLS))
    shared: dict[int, PlannedCall] = {}
    planned = []
    clamped = 0
    at_s = 0.0
    for number, (row, at_ns) in enumerate(zip(rows, arrivals_ns, strict=True)):
        # Without any span (one row, or all at once) the calls are spread evenly.
        share = at_ns / span_ns if span_ns else number / calls
        at_s = max(share * duration_s, at_s + 1 / ARRIVALS_PER_S_MAX)
        context, output = trace.context_tokens[row], trace.generated_tokens[row]
        clamped += context > CONTEXT_TOKENS_MAX or output > OUTPUT_TOKENS_MAX
        model = models[bisect_right(model_upto, rng.randrange(model_upto[-1]))]
        call = PlannedCall(
            number=number,
            at_s=at_s,
            model=model,
            job=bisect_right(job_upto, rng.randrange(job_upto[-1])),
            context_tokens=min(context, CONTEXT_TOKENS_MAX),
            output_tokens=min(max(output, 1), OUTPUT_TOKENS_MAX),
            stream=rng.random() < STREAM_SHARE,
            fallbacks=FALLBACKS[model] if rng.random() < FALLBACK_SHARE else (),
            cache_group=None,
            text_at=rng.randrange(_TEXT_BYTES // 2),
        )
        if rng.random() < CACHE_SHARE and not call.stream:
            call = _share_prompt(call, rng.randrange(groups), shared)
        planned.append(call)
    text = _filler(rng)
    return Plan(
        trace.name, seed, tuple(planned), jobs, max(duration_s, at_s), span_ns / 1e9, clamped, text
    )


def _pick_rows(trace: Trace, calls: int, rng: random.Random) -> tuple[list[int], list[int]]:
    """Row numbers and arrivals (ns, from 0), in order."""
    size = len(trace)
    if calls <= size:
        rows = sorted(rng.sample(range(size), calls))
        start = trace.arrivals_ns[rows[0]]
        return rows, [trace.arrivals_ns[row] - start for row in rows]
    # One mean gap lies between the last row and the first of the next round.
    span = trace.arrivals_ns[-1]
    period = span + (span // (size - 1) if size > 1 else 1_000_000_000)
    rows = [number % size for number in range(calls)]
    return rows, [
        trace.arrivals_ns[row] + number // size * period for number, row in enumerate(rows)
    ]


def _share_prompt(call: PlannedCall, group: int, shared: dict[int, PlannedCall]) -> PlannedCall:
    """The call, asking what the first call of its group asked."""
    call = replace(call, cache_group=group, fallbacks=())
    first = shared.setdefault(group, call)
    return replace(first, number=call.number, at_s=call.at_s, job=call.job)


def _filler(rng: random.Random) -> str:
    """ASCII text that prompts are cut from: long enough for the longest one from any start."""
    choices = _WORDS.split()
    size = 0
    words = []
    while size < _TEXT_BYTES:
        word = rng.choice(choices)
        words.append(word)
        size += len(word) + 1
    return " ".join(words)
