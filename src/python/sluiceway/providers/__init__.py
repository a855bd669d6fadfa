"""What the gateway knows of each provider: rows of data, and pure functions for wire formats."""
