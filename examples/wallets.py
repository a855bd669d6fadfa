"""Wallets: a customer pays in, calls run on that money, and credits come back every month."""

import sluiceway as sw


def main() -> None:
    """One customer with a wallet of dollars and a hundred credits a month."""
    with sw.Gateway.from_env() as gw:
        wallet = gw.wallet("account:7")
        wallet.top_up("0.01", evidence="invoice 2026-118", idempotency_key="invoice-2026-118")
        wallet.top_up("0.01", evidence="invoice 2026-118", idempotency_key="invoice-2026-118")
        print(f"topped up once: ${wallet.balance:f}")
        with wallet:
            for number in range(10):
                try:
                    gw.chat("anthropic/claude-haiku-5-5", f"Line {number} of a story")
                except sw.BudgetExceeded as error:
                    print(f"call {number + 1} could cost ${error.would_cost:f}: refused")
                    break
        print(f"left: ${wallet.balance:f}")

        credits = gw.credits("account:7", monthly="100")
        credits.top_up(20, evidence="welcome")
        video = credits.deduct(105, reason="a long video")
        credits.refund(video, "10", reason="the last scene was missing")
        try:
            credits.deduct(50, reason="another")
        except sw.BudgetExceeded:
            print("another video needs 50 credits")
        for entry in credits.history():
            print(f"{entry.kind}: {entry.amount:+f} {entry.source} ({entry.reason})")
        month = credits.usage(by="month").rows[-1]
        print(f"this month: {month.used:f} used, {month.left:f} of {month.limit:f} left")
        print(f"balance: {credits.balance:f} credits")


if __name__ == "__main__":
    main()
