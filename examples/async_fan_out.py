"""A hundred calls at once on asyncio, under the provider's limits and one budget.

The limits make the calls wait their turn inside the engine; nothing here has to count.
"""

import asyncio

import sluiceway as sw

CONFIG = {
    "limits": {"openai/gpt-6-luna": {"requests_per_minute": 3000, "concurrency": 16}},
    "ledger": {"path": ":memory:"},
}
TOPICS = [f"river number {number}" for number in range(100)]


async def main() -> None:
    """Asks about every topic, and adds up what it cost."""
    async with sw.Gateway(CONFIG).aio as gw, gw.budget("job:rivers", usd="0.50"):
        calls = (gw.chat("openai/gpt-6-luna", f"One line about {topic}") for topic in TOPICS)
        results = await asyncio.gather(*calls, return_exceptions=True)
    answers = [result for result in results if isinstance(result, sw.ChatResult)]
    errors = [result for result in results if isinstance(result, sw.SluicewayError)]
    cost = sum(answer.cost.usd or 0 for answer in answers)
    print(f"{len(answers)} answers, {len(errors)} errors, ${cost:f}")


if __name__ == "__main__":
    asyncio.run(main())
