"""One file a wire format: pure functions that encode requests.

How answers are read is data: see registry.toml.
"""
