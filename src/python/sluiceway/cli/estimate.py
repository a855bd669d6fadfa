"""`sluiceway estimate MODEL TEXT`: what a call would cost at least, probably and at most.

Nothing is sent and no key is needed: the gateway behind it has an address that is never called.
`-` as TEXT reads standard input.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any


def add(subparsers: Any) -> None:
    """Adds the command."""
    command = subparsers.add_parser("estimate", help="what a chat call would cost; sends nothing")
    command.add_argument("model", metavar="MODEL", help='"provider/model"')
    command.add_argument("text", metavar="TEXT", help="the prompt; - reads standard input")
    command.add_argument("--max-output-tokens", type=int, metavar="N", help="default 4096")
    command.add_argument("--expected-output-tokens", type=int, metavar="N")
    command.add_argument("--json", action="store_true", help="as JSON")
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from sluiceway._accounts import SIMULATOR_URL
    from sluiceway._hub import Hub
    from sluiceway.config import config_of
    from sluiceway.gateway import Gateway
    from sluiceway.keys.env import EnvKeys

    text = sys.stdin.read() if options.text == "-" else options.text
    # With a simulator's address no key is looked for; nothing is ever sent there.
    hub = Hub(
        config_of({"ledger": {"path": ":memory:"}}), EnvKeys({SIMULATOR_URL: "http://127.0.0.1:9"})
    )
    gateway = Gateway._of(hub, hub.plan)
    found = gateway.estimate.chat(
        options.model,
        text,
        max_output_tokens=options.max_output_tokens,
        expected_output_tokens=options.expected_output_tokens,
    )
    facts = {
        "model": found.model,
        "low_usd": f"{found.low:f}",
        "expected_usd": f"{found.expected:f}",
        "ceiling_usd": f"{found.ceiling:f}",
        "expected_prompt_tokens": found.expected_prompt_tokens,
        "expected_output_tokens": found.expected_output_tokens,
        "prompt_tokens_max": found.prompt_tokens_max,
        "max_output_tokens": found.max_output_tokens,
        "price_version": found.price_version,
    }
    if options.json:
        print(json.dumps(facts, indent=2))
        return 0
    for name, value in facts.items():
        print(f"{name.replace('_', ' '):<24} {value}")
    return 0
