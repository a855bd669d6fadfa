"""Which provider answers: pure decisions, without I/O and without a clock."""
