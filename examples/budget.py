"""A hard budget: calls are admitted while their ceilings fit, and refused before they are sent.

Each video has its own scope of $0.01. A ceiling is the most that a call can cost, so what is
refused here might have cost less; what is admitted can never cost more than the budget.
"""

import sluiceway as sw

LINES = ["A river wakes", "It finds the mill", "The wheel turns", "The sea", "Night", "The end"]


def main() -> None:
    """Writes as many lines of a script as the budget pays for."""
    with sw.Gateway.from_env() as gw, gw.budget("video:42", usd="0.01") as budget:
        for number, line in enumerate(LINES, 1):
            try:
                result = gw.chat("anthropic/claude-haiku-5-5", f"Continue the story: {line}")
            except sw.BudgetExceeded as error:
                print(f"line {number}: refused, it could cost ${error.would_cost:f}")
                break
            print(f"line {number}: ${result.cost.usd:f}")
        print(f"spent ${budget.spent:f} of ${budget.limit:f}, {budget.status}")


if __name__ == "__main__":
    main()
