"""What the picture shows, as plain numbers: both painters (picture.py, svg.py) draw the same.

Model: time is cut into bins of equal width. `ended` counts calls by the word that they ended with,
`latency` has the median and the 99th percentile of completed calls in wider bins, `open_spans` are
the times in which a breaker was open (or half-open), `phases` those of the simulator's rules.

Pure; linear in the calls.
"""

from __future__ import annotations

from dataclasses import dataclass

from sluiceway.demo.replay import COMPLETED, WORDS, Replay, is_closing, is_opening
from sluiceway.demo.summary import percentile

_BINS = 80
_LATENCY_BINS = 32


@dataclass(frozen=True, slots=True)
class Series:
    """See the top. Times in seconds from the start of the replay."""

    end_s: float
    bin_s: float
    ended: dict[str, list[int]]  # by word, a count each bin; words without calls are left out
    latency: list[tuple[float, float, float]]  # middle of the bin, p50 and p99 in ms
    open_spans: list[tuple[str, float, float]]  # "provider/model"
    phases: list[tuple[str, float, float]]
    cache_hits: int


def series_of(replay: Replay) -> Series:
    """The numbers of a finished replay."""
    end_s = max([replay.replay_s, *(one.ended_s for one in replay.outcomes)], default=1.0) or 1.0
    bin_s = end_s / _BINS
    ended = {word: [0] * _BINS for word in WORDS}
    waits: list[list[float]] = [[] for _ in range(_LATENCY_BINS)]
    for one in replay.outcomes:
        share = min(max(one.ended_s / end_s, 0.0), 1.0)
        ended[one.word][min(int(share * _BINS), _BINS - 1)] += 1
        if one.word == COMPLETED:
            waits[min(int(share * _LATENCY_BINS), _LATENCY_BINS - 1)].append(one.latency_ms)
    width_s = end_s / _LATENCY_BINS
    latency = [
        ((place + 0.5) * width_s, percentile(some, 0.50), percentile(some, 0.99))
        for place, some in enumerate(waits)
        if some
    ]
    return Series(
        end_s,
        bin_s,
        {word: counts for word, counts in ended.items() if any(counts)},
        latency,
        _open_spans(replay, end_s),
        _phases(replay, end_s),
        sum(one.cache == "hit" for one in replay.outcomes),
    )


def _open_spans(replay: Replay, end_s: float) -> list[tuple[str, float, float]]:
    since: dict[str, float] = {}
    spans = []
    for event in sorted(replay.events, key=lambda event: event.at_s):
        name = f"{event.provider}/{event.model}"
        if is_opening(event):
            since.setdefault(name, event.at_s)
        elif is_closing(event) and name in since:
            spans.append((name, since.pop(name), event.at_s))
    spans += [(name, at_s, end_s) for name, at_s in since.items()]
    return spans


def _phases(replay: Replay, end_s: float) -> list[tuple[str, float, float]]:
    begun = replay.phases_begun
    ends = [at_s for _, at_s in begun[1:]] + [end_s]
    return [(name, at_s, until_s) for (name, at_s), until_s in zip(begun, ends, strict=True)]
