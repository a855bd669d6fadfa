"""A thousand videos at once, each with its $3.00, under $150.00 a day: nobody passes anything.

All videos run at the same time in one process, against a simulator of the provider in the same
process. Most need little, some need more than their $3.00, and together they need more than the day
has. What counts at the end is the provider's bill: no video and no day is over, and almost all of
the day's money could be used.
"""

import asyncio
import os
import random
from collections import Counter, defaultdict
from decimal import Decimal

import sluiceway as sw
from sluiceway import simulator

VIDEOS = 1000
MODEL = "anthropic/claude-fable-5-2"
STATUSES = ("excellent", "good", "warning", "critical", "exceeded")
CONFIG = {
    "ledger": {"path": ":memory:", "durability": "memory"},
    "defaults": {"timeout_s": 60},
    "engine": {"connections_max": 64},
    "budgets": {
        "day": {"limit": "150.00", "period": "day"},
        "video": {"limit": "3.00", "components": {"script": "0.05"}},
    },
}


async def ask(gw: sw.Gateway, model: str, prompt: str, tokens: int) -> str | None:
    """The call's id, or None when the video or the day has no room for it."""
    try:
        return (await gw.aio.chat(model, prompt, max_output_tokens=tokens)).call_id
    except sw.BudgetExceeded:
        return None


async def make_video(gw: sw.Gateway, number: int, scenes: list[int]) -> list[str]:
    """A script, then scenes while there is money, or all at once; the ids of the calls."""
    async with gw.aio.budget(f"video:{number}") as video:
        async with video.component("script"):
            calls = [await ask(gw, "openai/gpt-4o-mini", f"Script {number}", 100)]
        if number % 64 == 0:
            calls += await asyncio.gather(*(ask(gw, MODEL, "A scene", n) for n in scenes))
        else:
            for tokens in scenes:
                calls.append(await ask(gw, MODEL, "A scene", tokens))
                if calls[-1] is None:
                    break
    return [call for call in calls if call is not None]


async def make_all(gw: sw.Gateway, seed: int) -> list[list[str]]:
    """All videos at once."""
    rng = random.Random(seed)
    work = []
    for number in range(VIDEOS):
        heavy = number % 16 == 0  # each token out costs 40 millionths of a dollar
        count = rng.randint(4, 24) if heavy else 1
        scenes = [rng.randint(4000, 6000) if heavy else rng.randint(200, 800) for _ in range(count)]
        work.append(make_video(gw, number, scenes))
    return await asyncio.gather(*work)


def billed_by_call(sim: simulator.Simulator) -> dict[str, int]:
    """The provider's own bill, in nano-dollars, by the call id that each request carried."""
    bill: dict[str, int] = defaultdict(int)
    for line in sim.log():
        bill[str(line["attempt"]).partition("/")[0]] += line["billed_nanousd"]
    return bill


def main(seed: int = 7) -> None:
    """Runs the day, and compares with the bill."""
    with simulator.start(tls=False, seed=seed) as sim:
        os.environ["SLUICEWAY_SIMULATOR_URL"] = sim.http_url
        sim.script([{"action": {"output_tokens": 6000, "reasoning_tokens": 5990}}])
        with sw.Gateway(CONFIG) as gw:
            calls = asyncio.run(make_all(gw, seed))
            statuses = Counter(gw.budget(f"video:{number}").status for number in range(VIDEOS))
            day = gw.budget("day")
            print(f"our books say ${day.spent:,.2f} of ${day.limit:,.2f}, {day.status}")
        bill = billed_by_call(sim)
    total = Decimal(sum(bill.values())).scaleb(-9)
    videos = [Decimal(sum(bill[call] for call in ids)).scaleb(-9) for ids in calls]
    print(f"the provider billed ${total:,.2f} for {len(bill):,} calls; over the day: {total > 150}")
    over = sum(video > 3 for video in videos)
    print(f"the dearest video cost ${max(videos):.4f}; videos over $3.00: {over}")
    for status in STATUSES:
        print(f"{status:>10}: {statuses[status] / VIDEOS:6.1%}")


if __name__ == "__main__":
    main()
