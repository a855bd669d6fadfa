"""An answer as it comes, and its cost when it is there.

Leaving the `with` block early stops the provider too. What it then charges is not known, so the
money of such a call stays counted, in doubt, until somebody resolves it.
"""

import sluiceway as sw


def main() -> None:
    """Prints a story word by word."""
    with sw.Gateway.from_env() as gw:
        with gw.stream("anthropic/claude-haiku-5-5", "A story", max_output_tokens=300) as stream:
            for delta in stream:
                if delta.kind == "text":
                    print(delta.text, end="", flush=True)
            result = stream.result()
        print(f"\n{result.usage.output_tokens} tokens, ${result.cost.usd:f}")


if __name__ == "__main__":
    main()
