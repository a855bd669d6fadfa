"""How many LLM tokens a prompt has, where the model's own vocabulary is at hand. Nothing is loaded
over the network.

Model: OpenAI publishes the vocabularies of its older models, and `tiktoken` (the extra
`sluiceway[tokenizers]`) reads them from rank files. Such a file is used only if it already lies in
tiktoken's cache directory (TIKTOKEN_CACHE_DIR, else DATA_GYM_CACHE_DIR, else "data-gym-cache" in
the temporary directory) with the published hash: counting must not wait for a download. Where it is
missing, or the model's vocabulary is not published, everything here says None and the caller counts
bytes.

Two uses, not alike. As a guess any count will do (`count_request`). As a bound (`prompt_bound`) it
must be true: only for models that tiktoken itself maps to the vocabulary, only for messages of
plain text without tools, functions or response formats (how those are rewritten is not published),
and with the dialect's stated allowances on top: 16 for each message, of which 3 or 4 are used, and
16 once. Recorded answers of gpt-3.5-turbo, gpt-4, gpt-4o, gpt-4.1 report exactly `count_request`;
of o-models and gpt-5 within 7 of it.

Special tokens ("<|endoftext|>") in a text count as the ordinary text that they are there: more
tokens, never fewer. Texts above TEXT_MAX characters are not counted: the algorithm is quadratic in
a run without spaces, and its regular expression overflows its stack at a million blanks.

Time: about a second to load a vocabulary, once a process; then some 5 MB/s, at worst 50 ms for one
text. Memory: some 100 MB a vocabulary. Any thread.

    count_request("openai", "gpt-4o", {"messages": [{"role": "user", "content": "hello"}]})   # 8

Sources: tiktoken 0.14 (model.py: which model has which vocabulary; openai_public.py: addresses and
hashes of the files), OpenAI cookbook, "How to count tokens with tiktoken" (read 2026-11-22).
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sluiceway.providers.dialects.encoding import words

if TYPE_CHECKING:
    from sluiceway.providers.dialects.encoding import Encoded

TEXT_MAX = 50_000  # characters
PER_MESSAGE = 3  # markers around a message
PER_REPLY = 3  # the answer is primed with a marker, its role and another marker

# Vocabulary: address whose SHA-1 names the cached file, SHA-256 of the file.
_FILES = {
    "cl100k_base": (
        "https://openaipublic.blob.core.windows.net/encodings/cl100k_base.tiktoken",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    ),
    "o200k_base": (
        "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    ),
}
# Beginnings of OpenAI's model names, the first that fits; True: tiktoken's own table says so.
_VOCABULARIES = (
    ("gpt-3.5-turbo", "cl100k_base", True),
    ("text-embedding-", "cl100k_base", True),
    ("gpt-4.1", "o200k_base", True),
    ("gpt-4.5", "o200k_base", True),
    ("gpt-4o", "o200k_base", True),
    ("chatgpt-4o", "o200k_base", True),
    ("gpt-4", "cl100k_base", True),
    ("o1", "o200k_base", True),
    ("o3", "o200k_base", True),
    ("o4", "o200k_base", True),
    ("gpt-5", "o200k_base", True),
    ("gpt-", "o200k_base", False),  # newer ones: a guess
)
_PLAIN_MESSAGE = frozenset(("role", "content", "name"))
# Fields of a body that put nothing into the prompt.
_SILENT = words(
    "model messages stream stream_options max_tokens max_completion_tokens temperature top_p stop "
    "seed n user service_tier logprobs top_logprobs logit_bias frequency_penalty presence_penalty "
    "metadata store safety_identifier prompt_cache_key prompt_cache_retention"
)


def vocabulary_of(provider: str, model: str) -> tuple[str, bool]:
    """The name of a model's vocabulary and whether that is certain; ("", False): none known."""
    if provider == "openai":
        for beginning, name, certain in _VOCABULARIES:
            if model.startswith(beginning):
                return name, certain
    return "", False


@functools.cache
def load_vocabulary(name: str) -> Any:
    """tiktoken's encoding, or None where the package or its file is not here."""
    if name not in _FILES:
        return None
    try:
        import tiktoken
    except ImportError:
        return None
    import hashlib
    import tempfile

    address, sha256 = _FILES[name]
    directory = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR")
    directory = directory or os.path.join(tempfile.gettempdir(), "data-gym-cache")
    path = os.path.join(
        directory, hashlib.sha1(address.encode(), usedforsecurity=False).hexdigest()
    )
    try:
        with open(path, "rb") as file:
            found = hashlib.sha256(file.read()).hexdigest()
    except OSError:
        return None
    return tiktoken.get_encoding(name) if found == sha256 else None


def count_text(provider: str, model: str, text: str) -> int | None:
    """Tokens of one text, without anything around it; None where they cannot be counted."""
    encoding = load_vocabulary(vocabulary_of(provider, model)[0])
    if encoding is None or len(text) > TEXT_MAX:
        return None
    # A lone surrogate is no character: the provider would see what replaces it.
    clean = text.encode("utf-8", "replace").decode("utf-8") if not text.isascii() else text
    return len(encoding.encode_ordinary(clean))


def _texts(value: object) -> Iterator[str]:
    """Every string in a JSON value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield str(key)
            yield from _texts(one)
    elif isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        for one in value:
            yield from _texts(one)


def _message_texts(message: Mapping[str, Any]) -> Iterator[str]:
    for key, value in message.items():
        if key in ("role", "name") or (key == "content" and isinstance(value, str)):
            yield value
        elif key == "content" and isinstance(value, Sequence):
            for part in value:
                yield from (part["text"],) if part.get("type") == "text" else _texts(part)
        elif value is not None:
            yield from _texts(value)


def count_request(provider: str, model: str, body: Mapping[str, Any]) -> int | None:
    """The likely prompt tokens of a chat request; None where they cannot be counted."""
    messages = body.get("messages")
    if not vocabulary_of(provider, model)[0] or not isinstance(messages, Sequence):
        return None
    total = PER_REPLY + PER_MESSAGE * len(messages)
    texts = [text for message in messages for text in _message_texts(message)]
    for field in ("tools", "functions", "response_format"):
        texts += _texts(body.get(field))
    for text in texts:
        count = count_text(provider, model, text)
        if count is None:
            return None
        total += count
    return total + sum("name" in message for message in messages)


def prompt_bound(provider: str, model: str, encoded: Encoded) -> int | None:
    """What the prompt tokens of a request cannot pass; None where only its bytes bound them."""
    if not vocabulary_of(provider, model)[1] or not _SILENT.issuperset(encoded.body):
        return None
    for message in encoded.body["messages"]:
        content = message.get("content")
        if not _PLAIN_MESSAGE.issuperset(message) or content is None:
            return None
        if not isinstance(content, str) and any(part.get("type") != "text" for part in content):
            return None
    count = count_request(provider, model, encoded.body)
    return None if count is None else count + encoded.prompt_allowance
