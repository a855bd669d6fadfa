"""`python -m sluiceway`: the command line, where its script is not on the path."""

from sluiceway.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
