"""A first paid call: the answer, what it used, what it cost.

With a key it spends a fraction of a cent; without one, start the simulator in another terminal:

    python -m sluiceway.simulator                     # prints its address
    SLUICEWAY_SIMULATOR_URL=http://127.0.0.1:PORT python examples/first_call.py
"""

import sluiceway as sw


def main() -> None:
    """Asks one model, with another provider to fall back on."""
    with sw.Gateway.from_env() as gw:
        result = gw.chat(
            "openai/gpt-6-luna",
            "Name three rivers",
            fallbacks=["anthropic/claude-haiku-5-5"],
            max_output_tokens=200,
            timeout_s=20,
        )
    print(result.text)
    print(f"served by {result.served_by} in {result.latency_ms:.0f} ms")
    print(f"{result.usage.input_tokens} tokens in, {result.usage.output_tokens} out")
    print(f"cost ${result.cost.usd:f} (by the {result.cost.source}), held ${result.cost.ceiling:f}")


if __name__ == "__main__":
    main()
