"""The models the simulated providers know: context, longest output, aliases.

Source: the model tables of the providers' pages as of 2026-11-22 (context and maximum output);
gpt-4o's are the ones of its own model page. What they cost is in `tariff.py`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Model:
    """One model of one provider. `served_as` is the name that answers carry."""

    provider: str
    id: str
    context_tokens: int
    output_tokens_max: int
    display_name: str
    created_unix_s: int
    served_as: str
    cache_writes: bool = True
    old_max_tokens: bool = False  # accepts OpenAI's deprecated max_tokens
    shutdown_date: str | None = None


_M = 1_000_000


def _openai(name: str, created_unix_s: int) -> Model:
    return Model("openai", name, 1_050_000, 128_000, name, created_unix_s, name)


def _claude(name: str, display: str, created_unix_s: int) -> Model:
    return Model("anthropic", name, _M, 128_000, display, created_unix_s, name)


def _gpt_4o(name: str, served_as: str, created_unix_s: int) -> Model:
    return Model(
        "openai",
        name,
        128_000,
        16_384,
        name,
        created_unix_s,
        served_as,
        cache_writes=False,
        old_max_tokens=True,
        shutdown_date="2027-01-14",
    )


def _deepseek(name: str, created_unix_s: int) -> Model:
    return Model(
        "deepseek",
        name,
        _M,
        384_000,
        name,
        created_unix_s,
        name,
        cache_writes=False,
        old_max_tokens=True,
    )


_ALL = (
    _openai("gpt-6.2-sol", 1_793_664_000),
    _openai("gpt-6.1-terra", 1_792_972_800),
    _openai("gpt-6.1-sol", 1_790_640_000),
    _openai("gpt-6-luna", 1_790_035_200),
    _openai("gpt-5.6-terra", 1_785_369_600),
    _openai("gpt-5.6-luna", 1_785_369_600),
    _gpt_4o("gpt-4o", "gpt-4o-2024-08-06", 1_715_367_049),
    _gpt_4o("gpt-4o-mini", "gpt-4o-mini-2024-07-18", 1_721_172_741),
    _claude("claude-fable-5-2", "Claude Fable 5.2", 1_793_664_000),
    _claude("claude-opus-5-5", "Claude Opus 5.5", 1_790_035_200),
    _claude("claude-opus-5", "Claude Opus 5", 1_785_369_600),
    _claude("claude-sonnet-5-5", "Claude Sonnet 5.5", 1_790_035_200),
    _claude("claude-haiku-5-5", "Claude Haiku 5.5", 1_790_035_200),
    Model(
        "anthropic",
        "claude-haiku-4-5",
        200_000,
        64_000,
        "Claude Haiku 4.5",
        1_759_276_800,
        "claude-haiku-4-5-20251001",
    ),
    _deepseek("deepseek-flash", 1_786_838_400),
    _deepseek("deepseek-v4-pro", 1_777_000_000),
)

MODELS: dict[tuple[str, str], Model] = {(model.provider, model.id): model for model in _ALL}

# Other names that reach the same model: dated snapshots, and DeepSeek's retired names, which the
# new model serves.
ALIASES: dict[tuple[str, str], str] = {
    ("openai", "gpt-4o-2024-08-06"): "gpt-4o",
    ("openai", "gpt-4o-mini-2024-07-18"): "gpt-4o-mini",
    ("anthropic", "claude-haiku-4-5-20251001"): "claude-haiku-4-5",
    ("deepseek", "deepseek-chat"): "deepseek-flash",
    ("deepseek", "deepseek-reasoner"): "deepseek-flash",
    ("deepseek", "deepseek-v4-flash"): "deepseek-flash",
}


def find_model(provider: str, name: str) -> Model | None:
    """The model with this name or alias, or None."""
    return MODELS.get((provider, ALIASES.get((provider, name), name)))


def models_of(provider: str) -> list[Model]:
    """Every model of a provider, in table order."""
    return [model for model in _ALL if model.provider == provider]
