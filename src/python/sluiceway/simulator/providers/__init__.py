"""The simulated providers: one file of pure functions for each wire format.

`dialect.py` says what a wire format supplies; `models.py` lists the models; `openai_chat.py`
serves OpenAI and DeepSeek (two rows of one dialect), `anthropic_messages.py` serves Anthropic.
Nothing here does I/O, reads a clock or decides about faults.
"""
