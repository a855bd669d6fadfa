"""The parts alone: a token bucket, a breaker and retries around a function of your own.

No key and no network: the function below fails twice and then works.
"""

import itertools

import sluiceway as sw

limiter = sw.TokenBucket(capacity=5, rate_per_s=50)
breaker = sw.CircuitBreaker(failure_threshold=5, recovery_timeout_s=1)
_turns = itertools.count(1)


@sw.guarded(limiter, breaker, retry=sw.Retry(attempts=3, base_s=0.01, on=ConnectionError))
def fetch_title(page: str) -> str:
    """Something that works at the third try."""
    if next(_turns) < 3:
        raise ConnectionError("the other side hung up")
    return f"The title of {page}"


def main() -> None:
    """Calls it once; the retries happen inside."""
    print(fetch_title("/rivers"))
    print(f"the breaker is {breaker.state}")


if __name__ == "__main__":
    main()
