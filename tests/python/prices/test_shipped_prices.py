"""The shipped price files: what the providers publish, worked out by hand, and the files' form.

Dollar amounts are (units x published dollars per million), written as fractions of a million.
"""

from __future__ import annotations

import datetime
from fractions import Fraction
from typing import Any

import pytest

from sluiceway.prices.load import KINDS, load_prices, price_table_version, shipped_files
from sluiceway.prices.schema import INT64_MAX, INT64_MIN
from tests.python.prices.pricing import rows_at, sheet_of, unix_ns, usd

TODAY = "2026-11-22T12:00:00"  # a Sunday


def million(dollars: str) -> Fraction:
    """Dollars for a millionth: "2_800" is 2,800 millionths of a dollar."""
    return Fraction(dollars) / 1_000_000


@pytest.mark.parametrize(
    ("provider", "model", "per_million"),
    [
        # in, read, write 5 m, write 1 h, out: the published table, one line a model.
        ("openai", "gpt-6.2-sol", "2 0.10 2.50 5 10"),
        ("openai", "gpt-6.2-astra", "8 0.40 10 16 40"),
        ("openai", "gpt-6.1-sol", "2 0.10 2.50 4 10"),
        ("openai", "gpt-6.1-terra", "1 0.05 1.25 2.50 5"),
        ("openai", "gpt-6-luna", "0.10 0.01 0.125 0.20 0.50"),
        ("openai", "gpt-6-sol", "2 0.20 2.50 - 10"),
        ("openai", "gpt-6-astra", "10 1 12.50 20 50"),
        ("openai", "gpt-5.6-sol", "5 0.50 6.25 - 30"),
        ("openai", "gpt-5.6-terra", "2 0.20 2.50 - 12"),
        ("openai", "gpt-5.6-luna", "0.20 0.02 0.25 - 1.20"),
        ("openai", "gpt-5.5", "5 0.50 - - 30"),
        ("openai", "gpt-4o", "2.50 1.25 - - 10"),
        ("openai", "gpt-4o-mini", "0.15 0.075 - - 0.60"),
        ("openai", "gpt-4.1", "2 0.50 - - 8"),
        ("openai", "gpt-4.1-mini", "0.40 0.10 - - 1.60"),
        ("anthropic", "claude-fable-5-2", "8 0.20 10 16 40"),
        ("anthropic", "claude-fable-5-1", "10 0.25 12.50 20 50"),
        ("anthropic", "claude-opus-5-5", "4 0.20 5 8 20"),
        ("anthropic", "claude-opus-5", "5 0.50 6.25 10 25"),
        ("anthropic", "claude-opus-4-5", "5 0.50 6.25 10 25"),
        ("anthropic", "claude-sonnet-5-5", "2 0.10 2.50 4 10"),
        ("anthropic", "claude-sonnet-5", "2 0.20 2.50 4 10"),
        ("anthropic", "claude-haiku-5-5", "0.10 0.01 0.125 0.20 0.50"),
        ("anthropic", "claude-haiku-4-5", "1 0.10 1.25 2 5"),
        ("deepseek", "deepseek-flash", "0.15 0.003 - - 0.60"),
        ("deepseek", "deepseek-v4-pro", "0.66 0.022 - - 1.98"),
    ],
)
def test_published_prices_today(provider: str, model: str, per_million: str) -> None:
    """Every rate is the published one, and a dash is no rate at all."""
    sheet = sheet_of(provider, model)
    assert sheet is not None
    (row,) = rows_at(sheet, TODAY)
    buckets = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output")
    expected = {
        bucket: int(Fraction(price) * 10**9)
        for bucket, price in zip(buckets, per_million.split(), strict=True)
        if price != "-"
    }
    tokens = {bucket: rate for bucket, rate in row["rates"].items() if bucket != "searches"}
    assert tokens == expected


def test_openai_long_prompts_price_the_whole_request() -> None:
    """gpt-6.2-sol: at 272,000 tokens $2 and $10, one more token $4 and $15."""
    at = usd("openai", "gpt-6.2-sol", TODAY, input=272_000, output=1000)
    assert at == million(str(272_000 * 2 + 1000 * 10))
    above = usd("openai", "gpt-6.2-sol", TODAY, input=272_001, output=1000)
    assert above == million(str(272_001 * 4 + 1000 * 15))
    # Cached tokens count for the bound and double too: 0.10 -> 0.20, 2.50 -> 5.
    mixed = usd("openai", "gpt-6.2-sol", TODAY, input=1, cache_read=200_000, cache_write_5m=72_000)
    assert mixed == million("4") + 200_000 * million("0.20") + 72_000 * million("5")


def test_haiku_55_tariff_changes_above_100k() -> None:
    """Whole request: up to 100,000 tokens $0.10 / $0.50, above $0.50 / $2.50."""
    at = usd("anthropic", "claude-haiku-5-5", TODAY, input=100_000, output=10)
    assert at == 100_000 * million("0.10") + 10 * million("0.50")
    above = usd("anthropic", "claude-haiku-5-5", TODAY, input=50_001, cache_read=50_000, output=10)
    assert above == 50_001 * million("0.50") + 50_000 * million("0.05") + 10 * million("2.50")


def test_gpt_4o_mini_batch_read_is_375_tenths_of_a_nano_dollar() -> None:
    """$0.075 per million at half price: 37.5 nano-dollars a token."""
    one = usd("openai", "gpt-4o-mini", TODAY, "batch", cache_read=1)
    assert one == Fraction(375, 10) / 10**9


@pytest.mark.parametrize(
    ("when", "peak"),
    [
        ("2026-11-16T00:59:59", False),  # Monday
        ("2026-11-16T01:00:00", True),
        ("2026-11-16T03:59:59", True),
        ("2026-11-16T04:00:00", False),
        ("2026-11-16T05:59:59", False),
        ("2026-11-16T06:00:00", True),
        ("2026-11-16T09:59:59", True),
        ("2026-11-16T10:00:00", False),
        ("2026-11-20T09:59:59", True),  # Friday
        ("2026-11-21T02:00:00", False),  # Saturday
        ("2026-11-22T02:00:00", False),  # Sunday
        ("2026-09-25T02:00:00", False),  # Friday, a holiday
        ("2026-09-28T02:00:00", True),  # Monday after it
        ("2026-10-01T02:00:00", False),  # Thursday
        ("2026-10-07T09:59:59", False),  # Wednesday, the last holiday
        ("2026-10-08T01:00:00", True),
        ("2026-10-10T02:00:00", False),  # Saturday, a make-up workday: off-peak all the same
    ],
)
def test_deepseek_hours(when: str, peak: bool) -> None:
    """Peak is twice the off-peak price, by the second (prices since 2026-09-10)."""
    cost = usd("deepseek", "deepseek-flash", when, input=1_000_000)
    assert cost == (Fraction("0.30") if peak else Fraction("0.15"))
    pro = usd("deepseek", "deepseek-v4-pro", when, output=1_000_000)
    assert pro == (Fraction("3.96") if peak else Fraction("1.98"))


@pytest.mark.parametrize(
    ("when", "flash", "pro"),
    [
        # Flat until 2026-08-16T16:00Z; a million fresh input tokens.
        ("2026-08-16T15:59:59", "0.14", "0.435"),
        ("2026-08-16T16:00:00", "0.22", "0.66"),  # Sunday, off-peak
        ("2026-08-17T01:00:00", "0.44", "1.32"),
        ("2026-08-22T02:00:00", "0.44", "1.32"),  # the one Saturday with a peak
        ("2026-08-29T02:00:00", "0.22", "0.66"),
        ("2026-09-10T03:59:59", "0.44", "1.32"),  # Thursday
        ("2026-09-10T04:00:00", "0.15", "0.66"),  # Flash became cheaper, and 12:00 is off-peak
        ("2026-09-10T06:00:00", "0.30", "1.32"),
    ],
)
def test_deepseek_history(when: str, flash: str, pro: str) -> None:
    """Each change at its own instant."""
    assert usd("deepseek", "deepseek-flash", when, input=1_000_000) == Fraction(flash)
    assert usd("deepseek", "deepseek-v4-pro", when, input=1_000_000) == Fraction(pro)


def test_prices_that_changed() -> None:
    """Each change falls on its own midnight (UTC)."""

    def rate(model: str, when: str, bucket: str, provider: str = "openai") -> int:
        sheet = sheet_of(provider, model)
        assert sheet is not None
        (row,) = rows_at(sheet, when)
        return int(row["rates"][bucket])

    sonnet = ("claude-sonnet-5-5", "cache_read", "anthropic")
    assert rate(sonnet[0], "2026-10-06T23:59:59", *sonnet[1:]) == 200_000_000
    assert rate(sonnet[0], "2026-10-07T00:00:00", *sonnet[1:]) == 100_000_000
    assert rate("gpt-5.6-luna", "2026-07-29T23:59:59", "input") == 1_000_000_000
    assert rate("gpt-5.6-luna", "2026-07-30T00:00:00", "input") == 200_000_000
    # The promotion is certain to 2026-11-21; after it the list price, which is the dearer.
    assert rate("gpt-5.6-sol", "2026-11-21T23:59:59", "output") == 20_000_000_000
    assert rate("gpt-5.6-sol", "2026-11-22T00:00:00", "output") == 30_000_000_000
    assert rate("claude-sonnet-5", "2026-09-02T00:00:00", "input", "anthropic") == 2_000_000_000
    assert rate("o3", "2025-06-09T23:59:59", "input") == 10_000_000_000
    assert rate("o3", "2025-06-10T00:00:00", "input") == 2_000_000_000


@pytest.mark.parametrize(
    ("model", "tier", "when", "dollars"),
    [
        ("gpt-6.2-sol", "batch", TODAY, "5"),  # of $10 output
        ("gpt-6.2-sol", "priority", TODAY, "20"),
        ("gpt-6.2-sol", "ultrafast", "2027-02-28T23:59:59", "30"),
        ("gpt-6.2-sol", "ultrafast", "2027-03-01T00:00:00", "60"),
        ("gpt-6-luna", "flex", TODAY, "0.25"),
        ("gpt-4o", "priority", TODAY, "17"),
        ("gpt-4o-mini", "priority", TODAY, "1"),
        ("gpt-4.1", "priority", TODAY, "14"),
        ("o4-mini", "priority", TODAY, "8"),  # 4.40 x 20/11
        ("gpt-6-astra", "flex", TODAY, "25"),
    ],
)
def test_service_tiers(model: str, tier: str, when: str, dollars: str) -> None:
    """A million output tokens in each tier."""
    assert usd("openai", model, when, tier, output=1_000_000) == Fraction(dollars)


def test_embeddings_and_moderation() -> None:
    """By the million tokens; moderation is free, which is a price of zero and not none."""
    assert usd("openai", "text-embedding-3-small", TODAY, input=500_000) == Fraction("0.01")
    assert usd("openai", "text-embedding-3-large", TODAY, "batch", input=1_000) == Fraction(
        "0.000065"
    )
    assert usd("openai", "omni-moderation-latest", TODAY, input=1_000_000) == 0


def test_speech() -> None:
    """tts-1: 15 a million characters, 1,200 are 1.8 cents. gpt-4o-mini-tts: tokens of two kinds."""
    assert usd("openai", "tts-1", TODAY, characters=1_200) == Fraction("0.018")
    assert usd("openai", "tts-1-hd", TODAY, characters=1_000_000) == 30
    # 100 x 0.60 + 2,000 x 12 = 60 + 24,000 millionths
    cost = usd("openai", "gpt-4o-mini-tts", TODAY, input=100, audio_output=2_000)
    assert cost == million("24060")


def test_transcription_by_the_minute() -> None:
    """Seconds are counted in thousandths: 90 s at 0.0045 a minute; 100 s at 0.017."""
    assert usd("openai", "gpt-transcribe", TODAY, seconds=90_000) == Fraction("0.00675")
    assert usd("openai", "gpt-realtime-whisper", TODAY, seconds=100_000) == Fraction(17, 600)
    assert usd("openai", "whisper-1", TODAY, seconds=60_000) == Fraction("0.006")
    # 1,000 audio and 50 text tokens in, 200 out: 6,000 + 125 + 2,000 millionths
    cost = usd("openai", "gpt-4o-transcribe", TODAY, audio_input=1000, input=50, output=200)
    assert cost == million("8125")


def test_images_by_tokens_and_by_size_and_quality() -> None:
    """gpt-image-2.6: 20 x 5 + 1,000 x 8 + 4,160 x 30 = 100 + 8,000 + 124,800 millionths."""
    cost = usd(
        "openai", "gpt-image-2.6-flare", TODAY, input=20, image_input=1000, image_output=4160
    )
    assert cost == million("132900")
    old = {"standard": ("0.04", "0.08"), "hd": ("0.08", "0.12")}
    for quality, (square, wide) in old.items():
        for size, price in (("1024x1024", square), ("1792x1024", wide), ("1024x1792", wide)):
            cost = usd("openai", "dall-e-3", TODAY, size=size, quality=quality, images=3)
            assert cost == 3 * Fraction(price), (size, quality)
    assert usd("openai", "dall-e-2", TODAY, size="256x256", images=10) == Fraction("0.16")


def test_video_by_size() -> None:
    """Eight seconds: 0.10, 0.30 and 0.50 a second."""
    for model, size, dollars in (
        ("sora-2", "1280x720", "0.80"),
        ("sora-2-pro", "720x1280", "2.40"),
        ("sora-2-pro", "1024x1792", "4"),
    ):
        assert usd("openai", model, TODAY, size=size, seconds=8_000) == Fraction(dollars)


def test_audio_and_realtime() -> None:
    """gpt-audio: 20 x 2.50 + 100 x 32 + 10 x 10 + 50 x 64 = 50 + 3,200 + 100 + 3,200 millionths."""
    for model, millionths in (("gpt-audio", "6550"), ("gpt-realtime-2", "6720")):
        cost = usd("openai", model, TODAY, input=20, audio_input=100, output=10, audio_output=50)
        assert cost == million(millionths)  # gpt-realtime-2: 80 + 3,200 + 240 + 3,200


def test_searches_and_tools() -> None:
    """By the thousand; a tier's factor does not touch them: half of 5 x 1,000 and all of 3 x 10."""
    assert usd("openai", "web_search", TODAY, searches=3) == Fraction("0.03")
    assert usd("openai", "web_search_preview", TODAY, searches=4) == Fraction("0.10")
    assert usd("openai", "container", TODAY, requests=2) == Fraction("0.06")
    assert usd("deepseek", "search", TODAY, searches=4) == Fraction("0.003")
    assert usd("deepseek", "fetch", TODAY, requests=1_000) == Fraction("0.75")
    batch = usd("anthropic", "claude-opus-4-5", TODAY, "batch", input=1000, searches=3)
    assert batch == million("2500") + Fraction("0.03")


def test_other_units() -> None:
    """Characters and seconds (counted in thousandths) come out at the published price."""
    assert usd("openai", "tts-1", TODAY, characters=1_000_000) == 15
    assert usd("openai", "gpt-transcribe", TODAY, seconds=60_000) == Fraction("0.0045")


@pytest.mark.parametrize(
    ("alias", "model"),
    [
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("gpt-4.1-nano-2025-04-14", "gpt-4.1-nano"),
        ("gpt-5-2025-08-07", "gpt-5"),
        ("gpt-5.2-2025-12-11", "gpt-5.2"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("claude-sonnet-4-20250514", "claude-sonnet-4-0"),
        ("deepseek-reasoner", "deepseek-chat"),
        ("claude-3-7-sonnet", "claude-3-7-sonnet-20250219"),
        ("gpt-4-turbo-preview", "gpt-4-turbo"),
        ("o1-preview", "o1"),
        ("deepseek-v4-flash", "deepseek-flash"),
    ],
)
def test_aliases(alias: str, model: str) -> None:
    """Dated names are found."""
    provider = {"c": "anthropic", "d": "deepseek"}.get(alias[0], "openai")
    sheet = sheet_of(provider, alias)
    assert sheet is not None
    assert sheet["model"] == model


def test_retirement_dates_and_bounds() -> None:
    """What providers.md, section 0 and 19.3, says of some models."""
    expected: dict[tuple[str, str], tuple[Any, ...]] = {
        ("openai", "gpt-4o"): ("2027-01-14", 128_000, 16_384),
        ("openai", "gpt-4.1-mini"): ("2027-01-14", 1_047_576, 32_768),
        ("openai", "tts-1"): ("2027-01-06", 0, 0),
        ("openai", "gpt-image-1"): ("2026-10-23", 0, 0),
        ("openai", "gpt-5-mini"): ("2026-12-11", 400_000, 128_000),
        ("openai", "gpt-3.5-turbo"): ("2026-10-23", 16_385, 4_096),
        ("openai", "sora-2"): ("2026-09-24", 0, 0),
        ("openai", "whisper-1"): ("2027-02-26", 0, 0),
        ("openai", "dall-e-3"): ("2026-05-12", 0, 0),
        ("openai", "gpt-6.2-sol"): ("", 1_050_000, 128_000),
        ("anthropic", "claude-haiku-4-5"): ("", 200_000, 64_000),
        ("anthropic", "claude-opus-5-5"): ("", 1_000_000, 128_000),
        ("deepseek", "deepseek-flash"): ("", 1_000_000, 384 * 1024),
    }
    for name, values in expected.items():
        sheet = sheet_of(*name)
        assert sheet is not None
        assert (sheet["retires"], sheet["context_tokens"], sheet["max_output_tokens"]) == values


def test_every_row_has_a_source_and_a_date_not_in_the_future() -> None:
    """And plain types only, in the ranges that the binding takes."""
    names = set()
    for sheet in load_prices():
        for row in sheet["rows"]:
            assert row["source"]
            assert datetime.date(2025, 1, 1) <= datetime.date.fromisoformat(row["checked"])
            assert datetime.date.fromisoformat(row["checked"]) <= datetime.date(2026, 11, 22)
            assert row["version"].startswith(f"{sheet['provider']}/{sheet['model']}@")
            assert INT64_MIN <= row["effective_from_ns"] < row["effective_to_ns"] <= INT64_MAX
            assert all(type(rate) is int and rate >= 0 for rate in row["rates"].values())
            assert all(type(part) is int for part in row["factor"])
            names.add(row["version"])
    assert len(names) == sum(len(sheet["rows"]) for sheet in load_prices())


def test_exactly_one_row_at_drawn_instants() -> None:
    """The loader's own proof, looked at once more by trying."""
    whens = ["2026-11-16T02:00:00", "2026-11-21T05:00:00", "2026-03-13T00:00:00", TODAY]
    whens += ["2025-11-06T12:00:00", "2026-10-07T00:00:00", "2030-01-01T00:00:00"]
    for sheet in load_prices():
        first = min(row["effective_from_ns"] for row in sheet["rows"])
        looks = {(row["size"], row["quality"]) for row in sheet["rows"]}
        for when in whens:
            if unix_ns(when) < first:
                continue
            for prompt in (0, 100_000, 100_001, 200_001, 272_000, 272_001, 10**9):
                for size, quality in looks:
                    rows = rows_at(sheet, when, prompt, size=size, quality=quality)
                    assert len(rows) == 1, (sheet["model"], when, prompt)


def test_how_much_is_priced() -> None:
    """Models of each kind, so that a file that gets lost is noticed."""
    sheets = load_prices()
    kinds = {kind: sum(sheet["kind"] == kind for sheet in sheets) for kind in KINDS}
    assert kinds["chat"] >= 78
    assert min(kinds[kind] for kind in KINDS) >= 1
    assert kinds["image"] >= 11
    assert len(sheets) >= 119
    names = sum(1 + len(sheet["aliases"]) for sheet in sheets)
    assert names >= 218
    assert sum(len(sheet["rows"]) for sheet in sheets) >= 378


def test_version_is_the_hash_of_the_content() -> None:
    """Same content, same name; one nano-dollar more, another."""
    sheets = load_prices()
    version = price_table_version()
    assert version == price_table_version(sheets)
    assert version.startswith("sha256:")
    assert len(version) == len("sha256:") + 64
    sheets[0]["rows"][0]["rates"]["input"] += 1
    assert price_table_version(sheets) != version


def test_shipped_files() -> None:
    """The three providers of the package."""
    assert [path.name for path in shipped_files()] == [
        "anthropic.toml",
        "deepseek.toml",
        "openai.toml",
        "openai_media.toml",
        "openai_older.toml",
    ]
    assert unix_ns("2026-11-16T00:00:00") == 1794787200 * 10**9
