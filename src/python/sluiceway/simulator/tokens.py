"""How the simulator counts LLM tokens, and the words it answers with.

Counting model: `ceil(UTF-8 bytes of all text / 4)` plus 3 for every message. It is deterministic,
needs no tokenizer files, and never passes `UTF-8 bytes of the text + 16 * messages`, so a gateway
that bounds its input by bytes plus an allowance for each message holds a true ceiling.

What is text: strings in `content`, text parts, Anthropic's `system`, tool results, the arguments
of tool calls, and the JSON of tool declarations. Images and files count nothing: the simulator
models text.

Output: one word is one token. The words are plain ASCII without characters that JSON escapes, so
that a stream can be written by joining strings. Time: linear in the text; memory: one encoded copy
of a part at a time. No state, any thread.

Example: `count_input_tokens([{"role": "user", "content": "abcdefgh"}])` is 2 + 3 = 5.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

TOKENS_PER_MESSAGE = 3
BYTES_PER_TOKEN = 4

_TEXT = (
    "the river runs slowly past old mills where water turned heavy wheels and people ground their "
    "grain each autumn before cold winds closed roads over hills now quiet stones remember those "
    "busy days while swallows nest under broken beams then spring returns with rain filling every "
    "channel gate pond until sluices open wide again"
)
WORDS = tuple(_TEXT.split())

# Keys under which a content part carries text; everything else in a part (types, ids, media) is
# not counted.
_TEXT_KEYS = ("text", "content", "thinking", "reasoning_content", "refusal", "arguments")
_JSON_KEYS = ("input", "function", "tool_calls")


def text_bytes(value: object) -> int:
    """UTF-8 bytes of the text in a content value (string, part, list of parts); 0 for others."""
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, Mapping):
        total = sum(text_bytes(value[key]) for key in _TEXT_KEYS if key in value)
        return total + sum(json_bytes(value[key]) for key in _JSON_KEYS if key in value)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return sum(text_bytes(item) for item in value)
    return 0


def json_bytes(value: object) -> int:
    """UTF-8 bytes of a value written as compact JSON; 0 for null."""
    if value is None:
        return 0
    return len(
        json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(
            "utf-8", "surrogatepass"
        )
    )


def count_input_tokens(
    messages: Sequence[object], system: object = None, tools: object = None
) -> int:
    """Input tokens of a request: `ceil(bytes / 4) + 3 * len(messages)`."""
    total_bytes = text_bytes(system) + json_bytes(tools or None)
    for message in messages:
        total_bytes += text_bytes(message)
    return -(-total_bytes // BYTES_PER_TOKEN) + TOKENS_PER_MESSAGE * len(messages)


def word(index: int) -> str:
    """The text of output token `index`: a word, with a leading space except for the first."""
    text = WORDS[index % len(WORDS)]
    return text if index == 0 else " " + text


def words(start: int, count: int) -> str:
    """The text of the tokens `start .. start + count - 1`, joined."""
    return "".join(word(index) for index in range(start, start + count))


def last_user_text(messages: Sequence[object]) -> str:
    """The text of the last user message (its parts joined by newlines), or an empty string."""
    for message in reversed(messages):
        if isinstance(message, Mapping) and message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, str):
                return content
            if isinstance(content, Sequence):
                parts = [part.get("text") for part in content if isinstance(part, Mapping)]
                return "\n".join(part for part in parts if isinstance(part, str))
            return ""
    return ""
