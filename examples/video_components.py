"""A video's budget by component, with costs of our own and an alert.

Each part has a limit inside the video's $0.02. What is spent in a part counts in both; the report
shows the shares. Rendering runs here, and is booked by the second like any other cost.
"""

import sluiceway as sw

MODEL = "anthropic/claude-haiku-5-5"
CONFIG = {
    "budgets": {
        "video": {
            "limit": "0.02",
            "warn": ["50%"],
            "components": {"script": "0.006", "voice": "0.004"},
        }
    }
}


def main() -> None:
    """Makes one small video and prints what its parts cost."""
    with sw.Gateway(CONFIG) as gw:

        @gw.on_budget
        def alert(event: sw.BudgetEvent) -> None:
            print(f"{event.level}: {event.scope} has spent ${event.spent:f} of ${event.limit:f}")

        with gw.budget("video:42") as video:
            with video.component("script"):
                gw.chat(MODEL, "Three lines about a river")
            with video.component("voice") as voice:
                try:
                    for line in ("A river wakes", "It finds the mill", "The wheel turns"):
                        gw.chat(MODEL, f"Say it warmly: {line}")
                except sw.BudgetExceeded as error:
                    print(f"{error.scope} is full; ${voice.spent:f} spent there")
            video.component("processing").book("render", usd="0.009", quantity=45, unit="gpu_s")
            report = video.report()
        for part in report.components.values():
            print(f"{part.name}: ${part.spent:f}, {part.share:.0%}, {part.status}")
        print(f"video:42: ${report.balance.spent:f}, {report.status}")


if __name__ == "__main__":
    main()
