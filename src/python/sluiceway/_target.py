"""A model as a gateway reaches it: its encoder, its routes, the tiers that have a price.

Model: the hub (_hub.py) makes a `Target` on the first call to a model and remembers it with the
plan. Its routes are made when they are first used: one a tier and manner of reading (_told.py).

    target = hub.resolve("openai/gpt-6-luna", plan)
    target.check_price("flex")
    route = target.route_for("flex", hub.engine)

Time: tens of microseconds for a new route, then a dict look-up. Any thread: two that meet on a new
route both make it, the second one wins and both work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sluiceway._told import STANDARD, read_as, region_of, tier_in, tiers_of
from sluiceway.config import nearest
from sluiceway.errors import UnpricedModel, UnpricedOperation
from sluiceway.providers.dialects import anthropic_messages, openai_chat
from sluiceway.providers.dialects.encoding import ChatFacts, EncodeChat

if TYPE_CHECKING:
    from sluiceway import _core
    from sluiceway.providers.registry import Provider

ENCODERS: dict[str, EncodeChat] = {
    "openai_chat": openai_chat.encode_chat,
    "anthropic_messages": anthropic_messages.encode_chat,
}


class Target:
    """One model; see the top of the file."""

    __slots__ = (
        "_known",
        "_spec",
        "encode",
        "facts",
        "name",
        "priced",
        "priced_tiers",
        "provider",
        "region",
        "route",
        "tiers",
    )

    def __init__(
        self,
        name: str,
        provider: Provider,
        facts: ChatFacts,
        spec: dict[str, Any],
        known: Mapping[str, Any],
        base_url: str | None = None,
    ) -> None:
        self._known = known  # the priced models of this provider, for a message
        self.name = name
        self.provider = provider
        self.facts = facts
        self.encode = ENCODERS[provider.dialect.encoder]
        self._spec = spec
        self.priced_tiers = tiers_of(spec["sheet"], spec["plan"])
        self.region = region_of(provider, base_url, self.priced_tiers)
        self.priced = self.has_price("")
        self.tiers: dict[str, _core.Route] = {}
        self.route: _core.Route | None = None  # of the standard tier

    def route_for(self, tier: str, engine: _core.Engine, manner: str = "") -> _core.Route:
        """The route of a price tier whose answers are read in that manner (_told.py), made on its
        first use."""
        key = f"{manner}:{tier}" if manner else tier
        route = self.tiers.get(key)
        if route is None:
            dialect = read_as(self._spec["dialect"], manner, self.region)
            rows = tier_in(self.region, tier)
            route = engine.add_route({**self._spec, "service_tier": rows, "dialect": dialect})
            self.tiers[key] = route
            if not key:
                self.route = route
        return route

    def has_price(self, tier: str) -> bool:
        """Whether a row prices this tier; "", "default" and "standard" are the standard one."""
        tier = tier_in(self.region, tier)
        return tier in self.priced_tiers or (
            not tier and not self.priced_tiers.isdisjoint(STANDARD)
        )

    def check_price(self, tier: str) -> None:
        """UnpricedModel or UnpricedOperation unless a row prices this tier."""
        if self.has_price(tier):
            return
        if not self.priced_tiers:
            known, plan = self._known, self._spec["plan"]
            where = f" on the plan {plan!r}" if plan and self._spec["sheet"] else ""
            raise UnpricedModel(
                f"no price is known for {self.name!r}{where}"
                f"{nearest(self.facts.model, known) or '.'}"
                ' If the name is right, state what it may cost at most: max_cost_usd="0.50".',
                provider=self.provider.id,
                model=self.facts.model,
            )
        raise UnpricedOperation(
            f"no price is known for {self.name} in the service tier"
            f" {tier_in(self.region, tier)!r}; state max_cost_usd",
            provider=self.provider.id,
            model=self.facts.model,
        )
