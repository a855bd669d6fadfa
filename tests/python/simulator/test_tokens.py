"""Counting: deterministic, and never above the stated bound."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sluiceway.simulator.tokens import WORDS, count_input_tokens, last_user_text, word, words


def user(content: object) -> dict[str, object]:
    return {"role": "user", "content": content}


def test_counts_worked_out_by_hand() -> None:
    assert count_input_tokens([user("abcdefgh")]) == 2 + 3
    assert count_input_tokens([user("abcdefghi")]) == 3 + 3
    assert count_input_tokens([user("")]) == 3
    # "ü" has two bytes, "日" three: 5 bytes are 2 tokens
    assert count_input_tokens([user("ü日")]) == 2 + 3
    # bytes add up over messages before they are divided: 4 bytes in two messages
    assert count_input_tokens([user("ab"), user("cd")]) == 1 + 6
    parts = [{"type": "text", "text": "abcd"}, {"type": "text", "text": "efgh"}]
    assert count_input_tokens([user(parts)]) == 2 + 3
    assert count_input_tokens([user("abcd")], system="efgh") == 2 + 3
    assert count_input_tokens([user("abcd")], system=parts) == 3 + 3
    image = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAAAAAA"}}]
    assert count_input_tokens([user(image)]) == 3
    # {"a":1} has seven bytes, in a list of one nine
    assert count_input_tokens([user("")], tools=[{"a": 1}]) == 3 + 3


@given(st.lists(st.text(), min_size=1, max_size=8))
def test_never_above_bytes_plus_sixteen_for_each_message(texts: list[str]) -> None:
    messages = [user(text) for text in texts]
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    assert count_input_tokens(messages) <= size + 16 * len(messages)


def test_words_join_to_the_same_text() -> None:
    assert words(0, 3) == word(0) + word(1) + word(2)
    assert words(0, 0) == ""
    assert len(words(0, 500).split(" ")) == 500
    assert all(text.isascii() and text.isalpha() for text in WORDS)


def test_the_last_user_text() -> None:
    assert last_user_text([user("a"), {"role": "assistant", "content": "b"}]) == "a"
    assert last_user_text([user("a"), user([{"type": "text", "text": "c"}, {"type": "x"}])]) == "c"
    assert last_user_text([{"role": "system", "content": "a"}]) == ""
    assert last_user_text(["nonsense", user(None)]) == ""
