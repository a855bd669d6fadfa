"""Reading price files: what is written out as rows, and what is refused with which words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sluiceway.errors import ConfigError
from sluiceway.prices.load import load_prices
from sluiceway.prices.schema import BUCKETS, INT64_MAX, INT64_MIN, nano_rate

ROW = '[[models.rows]]\nsource = "s"\nchecked = 2026-11-22\n'
PRICE = 'usd_per_million = { input = "2", output = "10" }\n'
MODEL = 'provider = "p"\n[[models]]\nmodel = "m"\n'
PEAK = """\
[windows.peak]
hours = [{ days = "Mon-Fri", from = "01:00", to = "04:00" }]
except_days = ["2026-10-01..2026-10-02"]
source = "s"
checked = 2026-11-22
"""
LONG = """\
[long_prompts.over_10]
above = 10
input_factor = "2"
output_factor = "1.5"
source = "s"
checked = 2026-11-22
"""
BATCH = """\
[tiers.batch]
service_tier = "batch"
factor = "1/2"
source = "s"
checked = 2026-11-22
"""


def load(tmp_path: Path, text: str) -> list[dict[str, Any]]:
    """The sheets of one file with this text."""
    path = tmp_path / "prices.toml"
    path.write_text(text, encoding="utf-8")
    return load_prices([path])


def refusal(tmp_path: Path, text: str) -> str:
    """The message with which such a file is refused."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    return str(caught.value)


def test_plain_row(tmp_path: Path) -> None:
    (sheet,) = load(tmp_path, MODEL + 'aliases = ["m-2026"]\n' + ROW + PRICE)
    assert (sheet["provider"], sheet["model"], sheet["aliases"]) == ("p", "m", ["m-2026"])
    assert sheet["kind"] == "chat"
    assert sheet["rows"] == [
        {
            "version": "p/m@2026-11-22",
            "effective_from_ns": INT64_MIN,
            "effective_to_ns": INT64_MAX,
            "windows": [],
            "excluded_days": [],
            "windows_inverted": False,
            "prompt_from": 0,
            "prompt_to": INT64_MAX,
            "rates": {"input": 2_000_000_000, "output": 10_000_000_000},
            "rate_dens": {},
            "factor": (1, 1),
            "service_tier": "",
            "plan": "",
            "size": "",
            "quality": "",
            "source": "s",
            "checked": "2026-11-22",
            "note": "",
        }
    ]


def test_windows_become_masks_seconds_and_day_numbers(tmp_path: Path) -> None:
    rows = 'during = "peak"\n' + PRICE + ROW + 'outside = "peak"\n' + PRICE
    (sheet,) = load(tmp_path, 'provider = "p"\n' + PEAK + MODEL.split("\n", 1)[1] + ROW + rows)
    peak, off = sheet["rows"]
    assert peak["windows"] == off["windows"] == [(0b0011111, 3600, 14400)]
    assert peak["excluded_days"] == [20727, 20728]  # 1790812800 s / 86,400 = 20,727
    assert (peak["windows_inverted"], off["windows_inverted"]) == (False, True)
    assert (peak["version"], off["version"]) == (
        "p/m@2026-11-22/peak",
        "p/m@2026-11-22/off-peak",
    )


def test_tariff_and_tier_are_written_out(tmp_path: Path) -> None:
    refs = 'from = 2026-11-01\nlong_prompt = "over_10"\ntiers = ["batch"]\n' + PRICE
    text = 'provider = "p"\n' + LONG + BATCH + MODEL.split("\n", 1)[1] + ROW + refs
    (sheet,) = load(tmp_path, text)
    seen = [
        (r["version"], r["prompt_from"], r["prompt_to"], r["rates"]["input"], r["rates"]["output"])
        for r in sheet["rows"]
    ]
    assert seen == [
        ("p/m@2026-11-01", 0, 11, 2_000_000_000, 10_000_000_000),
        ("p/m@2026-11-01/over-10", 11, INT64_MAX, 4_000_000_000, 15_000_000_000),
        ("p/m@2026-11-01/batch", 0, 11, 2_000_000_000, 10_000_000_000),
        ("p/m@2026-11-01/over-10/batch", 11, INT64_MAX, 4_000_000_000, 15_000_000_000),
    ]
    assert [row["factor"] for row in sheet["rows"]] == [(1, 1), (1, 1), (1, 2), (1, 2)]
    assert {row["effective_from_ns"] for row in sheet["rows"]} == {1793491200 * 10**9}


def test_times_with_offsets(tmp_path: Path) -> None:
    (sheet,) = load(tmp_path, MODEL + ROW + "from = 2026-08-17T00:00:00+08:00\n" + PRICE)
    assert sheet["rows"][0]["effective_from_ns"] == 1786896000 * 10**9  # 2026-08-16T16:00:00Z


def test_a_minute_is_sixty_seconds_exactly(tmp_path: Path) -> None:
    """$0.017 a minute is no whole rate per second; $0.006 a minute is $0.0001 a second."""
    per_minute = ROW + 'usd_per_minute = { seconds = "%s" }\n'
    (sheet,) = load(tmp_path, MODEL + per_minute % "0.017")
    assert sheet["rows"][0]["rates"] == {"seconds": 850_000_000}
    assert sheet["rows"][0]["rate_dens"] == {"seconds": 3}
    (sheet,) = load(tmp_path, MODEL + per_minute % "0.006")
    assert sheet["rows"][0]["rates"] == {"seconds": 100_000_000}
    assert sheet["rows"][0]["rate_dens"] == {}
    (sheet,) = load(tmp_path, MODEL + ROW + 'usd_per_hour = { seconds = "0.36" }\n')
    assert sheet["rows"][0]["rates"] == {"seconds": 100_000_000}
    words = refusal(tmp_path, MODEL + ROW + 'usd_per_minute = { input = "1" }\n')
    assert "unknown key 'input'; the nearest known one is 'seconds'" in words


def test_sizes_and_qualities_are_rows_of_their_own(tmp_path: Path) -> None:
    image = 'usd_per_unit = { images = "0.08" }\n'
    text = MODEL + 'kind = "image"\n' + ROW + 'size = ["1x2", "2x1"]\nquality = "hd"\n' + image
    (sheet,) = load(tmp_path, text)
    assert sheet["kind"] == "image"
    assert [(r["version"], r["size"], r["quality"]) for r in sheet["rows"]] == [
        ("p/m@2026-11-22/1x2/hd", "1x2", "hd"),
        ("p/m@2026-11-22/2x1/hd", "2x1", "hd"),
    ]
    again = ROW + 'size = "1x2"\nquality = "hd"\nlabel = "again"\n' + image
    assert "size '1x2', quality 'hd': 'p/m" in refusal(tmp_path, text + again)
    every = ROW + 'quality = "hd"\n' + image
    assert "some rows have a size and some price every size" in refusal(tmp_path, text + every)


def test_a_plan_is_a_price_list_of_its_own(tmp_path: Path) -> None:
    team = ROW + 'plan = "team"\nusd_per_million = { input = "1", output = "5" }\n'
    (sheet,) = load(tmp_path, MODEL + ROW + PRICE + team)
    assert [(r["version"], r["plan"]) for r in sheet["rows"]] == [
        ("p/m@2026-11-22", ""),
        ("p/m@2026-11-22/team", "team"),
    ]
    late = team.replace("plan =", "from = 2026-12-01\nto = 2026-12-31\nplan =")
    later = team.replace("plan =", "from = 2027-01-01\nplan =")
    words = refusal(tmp_path, MODEL + ROW + PRICE + late + later)
    assert "plan 'team': no row holds between two dates" in words


@pytest.mark.parametrize(
    ("rows", "ranges"),
    [
        # "Above 10" leaves the tenth token below; "from 10" takes it.
        (["prompt_up_to = 10", "prompt_above = 10"], [(0, 11), (11, INT64_MAX)]),
        (["prompt_below = 10", "prompt_from = 10"], [(0, 10), (10, INT64_MAX)]),
        (["prompt_up_to = 9", "prompt_from = 10"], [(0, 10), (10, INT64_MAX)]),
    ],
)
def test_prompt_ranges_with_and_without_their_end(
    tmp_path: Path, rows: list[str], ranges: list[tuple[int, int]]
) -> None:
    text = MODEL + "".join(f'{ROW}label = "r{n}"\n{row}\n{PRICE}' for n, row in enumerate(rows))
    (sheet,) = load(tmp_path, text)
    assert [(row["prompt_from"], row["prompt_to"]) for row in sheet["rows"]] == ranges


def test_a_tariff_from_a_count_on(tmp_path: Path) -> None:
    tariff = LONG.replace("above = 10", "from = 10").replace("over_10", "from_10")
    text = 'provider = "p"\n' + tariff + MODEL.split("\n", 1)[1] + ROW
    (sheet,) = load(tmp_path, text + 'long_prompt = "from_10"\n' + PRICE)
    assert [(r["version"], r["prompt_from"], r["prompt_to"]) for r in sheet["rows"]] == [
        ("p/m@2026-11-22", 0, 10),
        ("p/m@2026-11-22/from-10", 10, INT64_MAX),
    ]
    both = text.replace("from = 10", "from = 10\nabove = 10")
    assert "state one" in refusal(tmp_path, both + PRICE)


@pytest.mark.parametrize(
    ("price", "per", "bucket", "rate"),
    [
        ("0.0375", 1_000_000, "input", 37_500_000),
        ("0.000000001", 1_000_000, "input", 1),
        ("0", 1_000_000, "input", 0),
        ("5", 1_000, "searches", 5_000_000_000_000),
        ("0.04", 1, "images", 40_000_000_000_000),
        ("0.000075", 1, "seconds", 75_000_000),  # a thousandth of a second is 75 nano-dollars
    ],
)
def test_rates_are_exact(price: str, per: int, bucket: str, rate: int) -> None:
    assert nano_rate(price, per, bucket, "here") == rate


@pytest.mark.parametrize("price", ["1e3", "-1", "+1", "", "NaN", "1.", ".5", "1,5", " 1", 1, None])
def test_prices_that_are_no_decimal_string(price: object) -> None:
    with pytest.raises(ConfigError, match="the price of input must be a decimal string"):
        nano_rate(price, 1_000_000, "input", "here")


@pytest.mark.parametrize("price", ["0.0000000001", "10000000000"])
def test_prices_that_no_rate_can_hold(price: str) -> None:
    with pytest.raises(ConfigError, match="no whole number of nano-dollars"):
        nano_rate(price, 1_000_000, "input", "here")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MODEL + ROW + "usd_per_million = { input = 0.15 }\n", "0.15 is a float; write it as a s"),
        (MODEL + ROW + "tp = 2026-01-01\n" + PRICE, "unknown key 'tp'; the nearest known one is"),
        (MODEL + "context_token = 1\n" + ROW + PRICE, "nearest known one is 'context_tokens'"),
        (MODEL + ROW + 'usd_per_million = { ouput = "1" }\n', "nearest known one is 'output'"),
        (MODEL + '[[models.rows]]\nsource = "s"\n' + PRICE, "'checked' is missing"),
        (MODEL + "[[models.rows]]\nchecked = 2026-11-22\n" + PRICE, "'source' is missing"),
        (MODEL + ROW.replace("2026-11-22", '"2026-11-22"') + PRICE, "(without quotes)"),
        (MODEL + ROW, "a row needs prices"),
        (MODEL, "'rows' must be a list of tables"),
        ('[[models]]\nmodel = "m"\n' + ROW + PRICE, "'provider' is missing"),
        (MODEL + ROW + 'tiers = ["batch"]\n' + PRICE, "unknown key 'batch'"),
        (MODEL + ROW + 'during = "peak"\noutside = "peak"\n' + PRICE, "not both"),
        (MODEL + ROW + "from = 2026-02-01\nto = 2026-02-01\n" + PRICE, "'to' must be later"),
        (MODEL + ROW + "from = 2026-02-01T00:00:00\n" + PRICE, "must carry an offset"),
        (MODEL + ROW + "prompt_above = -1\n" + PRICE, "a whole number of at least 0"),
        (MODEL + ROW + "prompt_above = true\n" + PRICE, "a whole number of at least 0"),
        ("provider = \n", "not a valid TOML file"),
        (MODEL + 'aliases = ["a", "a"]\n' + ROW + PRICE, "names something twice"),
        (MODEL + 'aliases = ["m"]\n' + ROW + PRICE, "taken by"),
        (MODEL + 'kind = "painting"\n' + ROW + PRICE, "'kind' is one of chat"),
        (MODEL + ROW + "prompt_above = 1\nprompt_from = 2\n" + PRICE, "not both"),
        (MODEL + ROW + "prompt_from = 5\nprompt_below = 5\n" + PRICE, "prompt tokens is empty"),
        (MODEL + ROW + "size = []\n" + PRICE, "'size' must not be empty"),
    ],
)
def test_refused(tmp_path: Path, text: str, words: str) -> None:
    message = refusal(tmp_path, text)
    assert words in message
    assert message.startswith("prices.toml")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["to = 2026-03-01", "from = 2026-02-01"], "overlap"),
        (["to = 2026-02-01", "from = 2026-03-01"], "no row holds between two dates"),
        (["to = 2026-02-01", "from = 2026-02-01"], ""),
        (["prompt_up_to = 10", "prompt_above = 10"], ""),
        (["prompt_up_to = 10", "prompt_above = 9"], "overlap"),
        (["prompt_up_to = 10", "prompt_above = 11"], "prompts of 11 tokens have no row"),
        (["prompt_up_to = 10"], "some prompt lengths have no row"),
        (["prompt_above = 10"], "some prompt lengths have no row"),
        (['during = "peak"'], "no row holds on weekday 0 at second 0"),
        (['during = "peak"', 'outside = "peak"'], ""),
        (['during = "peak"', 'outside = "peak"', "prompt_above = 7"], "overlap"),
        (['during = "peak"', ""], "overlap"),
        # Same hours, but only one of the two knows the holidays.
        (['during = "peak"', 'outside = "plain"'], "on weekday 3 at second 3600"),
    ],
)
def test_rows_that_overlap_or_leave_a_gap(tmp_path: Path, rows: list[str], words: str) -> None:
    plain = PEAK.replace("windows.peak", "windows.plain").replace(
        'except_days = ["2026-10-01..2026-10-02"]\n', ""
    )
    text = 'provider = "p"\n' + PEAK + plain + MODEL.split("\n", 1)[1]
    for number, row in enumerate(rows):
        text += f'{ROW}label = "r{number}"\n{row}\n{PRICE}'
    if words:
        assert words in refusal(tmp_path, text)
    else:
        assert len(load(tmp_path, text)[0]["rows"]) == len(rows)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("Mon-Fri", "Fri-Mon", "runs backwards"),
        ("Mon-Fri", "Monday", "is no weekday"),
        ('"01:00"', '"25:00"', "is no time of day"),
        ('"01:00"', '"1:00"', "a time of day is written"),
        ('"01:00"', '"04:00"', "ends after it begins"),
        ("2026-10-01..2026-10-02", "2026-10-02..2026-10-01", "runs backwards"),
        ("2026-10-01..2026-10-02", "2026-13-01", "is no date"),
    ],
)
def test_windows_that_make_no_sense(tmp_path: Path, old: str, new: str, words: str) -> None:
    text = 'provider = "p"\n' + PEAK.replace(old, new) + MODEL.split("\n", 1)[1] + ROW + PRICE
    assert words in refusal(tmp_path, text)


def test_the_example_in_the_documentation(tmp_path: Path) -> None:
    """docs/reference/prices.md: a price that changes, a tier, and searches that it leaves alone."""
    page = Path(__file__).parents[3] / "docs/reference/prices.md"
    example = page.read_text(encoding="utf-8").split("```ini\n")[1].split("```")[0]
    (sheet,) = load(tmp_path, example)
    assert [(row["version"], row["service_tier"]) for row in sheet["rows"]] == [
        ("acme/rocket-2@2026-11-22", ""),
        ("acme/rocket-2@2026-11-22/batch", "batch"),
        ("acme/rocket-2@2026-12-01", ""),
        ("acme/rocket-2@2026-12-01/batch", "batch"),
    ]
    assert sheet["rows"][0]["rates"]["searches"] == 10_000_000_000_000  # $0.01 each


def test_two_files_may_not_price_one_model(tmp_path: Path) -> None:
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).write_text(MODEL + ROW + PRICE, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"b\.toml: m: the name 'm' is taken by a\.toml: m"):
        load_prices([tmp_path / "a.toml", str(tmp_path / "b.toml")])


def test_missing_file_and_broken_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_prices([tmp_path / "none.toml"])
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not a valid TOML file"):
        load_prices([tmp_path / "bytes.toml"])


def test_buckets_are_the_cores() -> None:
    """In the order of src/cpp/base/usage.cc, read as text."""
    source = Path(__file__).parents[3] / "src/cpp/base/usage.cc"
    listed = source.read_text(encoding="utf-8").split("kBucketNames = {")[1].split("}")[0]
    assert tuple(part.strip().strip('"') for part in listed.split(",")) == BUCKETS


def test_import_reads_no_price_file() -> None:
    """In a fresh process, with opening files watched."""
    code = (
        "import sys\n"
        "opened = []\n"
        "sys.addaudithook(lambda e, a: opened.append(str(a[0])) if e == 'open' else None)\n"
        "import sluiceway.prices.load as load\n"
        "assert not [p for p in opened if p.endswith('.toml')], opened\n"
        "load.load_prices()\n"
        "assert len([p for p in opened if p.endswith('.toml')]) == 5\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
