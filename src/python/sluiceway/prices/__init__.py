"""What providers charge: one TOML file a provider, and the loader that makes plain rows of them.

Nothing is read when this package is imported; `sluiceway.prices.load.load_prices()` reads.
"""
