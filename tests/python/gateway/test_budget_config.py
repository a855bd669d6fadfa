"""[budgets] and [wallets] in a file: what is read, and what a mistake is told."""

from __future__ import annotations

from fractions import Fraction

import pytest

from sluiceway import ConfigError
from sluiceway.config import parse_config


def test_everything_is_read() -> None:
    config = parse_config(
        """
        [budgets.video]
        limit = "3.00"
        warn = ["2.50", "2.00"]
        critical = "95%"
        statuses = ["1.00", "2.00", "2.50"]
        on_exceed = "fallback"
        fallbacks = ["openai/gpt-4o-mini"]
        [budgets.video.components]
        voice = "0.50"
        [wallets.account]
        unit = "credit"
        monthly = "100"
        time_zone = "Europe/Berlin"
        warn = ["80%"]
        """
    )
    assert config.budgets["video"] == {
        "limit": 3_000_000_000,
        "warn": (2_000_000_000, 2_500_000_000),
        "critical": Fraction(95, 100),
        "statuses": (1_000_000_000, 2_000_000_000, 2_500_000_000),
        "on_exceed": "fallback",
        "fallbacks": ("openai/gpt-4o-mini",),
        "components": {"voice": 500_000_000},
    }
    assert config.wallets["account"] == {
        "unit": "credit",
        "monthly": "100",
        "time_zone": "Europe/Berlin",
        "warn": (Fraction(4, 5),),
    }


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("warn = [2.5]", "amount or a share"),
        ("warn = '2.50'", "a list such as"),
        ("critical = '120%'", "between 0% and 100%"),
        ("statuses = ['1', '2']", "three upper ends"),
        ("components = {voice = 0.5}", "amount in dollars"),
        ("components = {'a#b' = '0.50'}", "'a#b'"),
        ("fallbacks = ['gpt']\non_exceed = 'fallback'", "provider/model"),
        ("fallbacks = ['openai/gpt-4o']", 'on_exceed = "fallback"'),
        ("every_call = 1", "true or false"),
        ("statusses = ['1', '2', '3']", "'statuses'"),
    ],
)
def test_mistakes_are_told(line: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(f"[budgets.video]\nlimit = '3.00'\n{line}")
    assert words in str(caught.value)
    assert "line" in str(caught.value)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("monthly = 100", "amount as a text"),
        ("monthly = '0.0001'\nunit = 'credit'", "decimals"),
        ("unit = 'nanousd'", "unit"),
        ("warn = ['1.00']", "share of the limit"),
        ("limit = '1.00'", "unknown key"),
    ],
)
def test_mistakes_in_wallets_are_told(line: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(f"[wallets.account]\n{line}")
    assert words in str(caught.value)
