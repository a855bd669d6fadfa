"""Dates, durations and Retry-After in every form."""

from __future__ import annotations

import pytest

from sluiceway.simulator import rate_headers

RFC_9110_EXAMPLE = 784_111_777  # Sun, 06 Nov 1994 08:49:37 GMT, the RFC's own example


def test_the_three_date_forms_of_rfc_9110() -> None:
    date = rate_headers.http_date
    assert date(RFC_9110_EXAMPLE) == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert date(RFC_9110_EXAMPLE, "rfc850") == "Sunday, 06-Nov-94 08:49:37 GMT"
    assert date(RFC_9110_EXAMPLE, "asctime") == "Sun Nov  6 08:49:37 1994"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.012, "12ms"),
        (0.0069, "6ms"),
        (0.006, "6ms"),
        (1, "1s"),
        (26.604, "26.604s"),
        (8.64, "8.64s"),
        (60, "1m0s"),
        (360, "6m0s"),
        (90.5, "1m30.5s"),
        (3603, "1h0m3s"),
        (86_400, "24h0m0s"),
    ],
)
def test_durations_as_openai_writes_them(seconds: float, text: str) -> None:
    assert rate_headers.duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "form", "headers"),
    [
        (20, "seconds", [("retry-after", "20")]),
        (0.5, "seconds", [("retry-after", "0.5")]),
        (1_000_000, "seconds", [("retry-after", "1000000")]),
        (0.25, "ms", [("retry-after-ms", "250")]),
        (37, "date", [("retry-after", "Sun, 06 Nov 1994 08:50:14 GMT")]),
        (37, "rfc850", [("retry-after", "Sunday, 06-Nov-94 08:50:14 GMT")]),
        (37, "asctime", [("retry-after", "Sun Nov  6 08:50:14 1994")]),
        (37, "none", []),
    ],
)
def test_retry_after_forms(seconds: float, form: str, headers: list[tuple[str, str]]) -> None:
    assert rate_headers.retry_after(seconds, form, RFC_9110_EXAMPLE) == headers


def test_rfc_3339_rounds_up() -> None:
    assert rate_headers.rfc3339(RFC_9110_EXAMPLE) == "1994-11-06T08:49:37Z"
    assert rate_headers.rfc3339(RFC_9110_EXAMPLE + 0.1) == "1994-11-06T08:49:38Z"


def test_openai_headers_agree_with_a_recording() -> None:
    # Recorded 2026-08-19: 5000 and 2000000, remaining 1999770, resets 12ms and 6ms (230 tokens).
    headers = dict(rate_headers.openai_limits(230, None, None))
    assert headers == {
        "x-ratelimit-limit-requests": "5000",
        "x-ratelimit-limit-tokens": "2000000",
        "x-ratelimit-remaining-requests": "4999",
        "x-ratelimit-remaining-tokens": "1999770",
        "x-ratelimit-reset-requests": "12ms",
        "x-ratelimit-reset-tokens": "6ms",
    }
