"""Which budget scopes hold right now, and how scopes are opened and remembered.

Model: what is current is an immutable chain of `Frame`s in the gateway's context variable, so one
budget may be entered by many tasks at once. A scope is counted once however often it is entered.
The first frame, the root, holds the scopes that every call is in.

Opening a scope is a commit. Entering it again within a second is a look-up; that another process
gave it another limit meanwhile is noticed afterwards (calls ask the file in any case). A limit that
the code states must be the stored one; a template's limit is for new scopes only, so that one that
was raised by hand goes on as it is.

Memory: at most SCOPES_KNOWN_MAX remembered scopes. Any thread.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from sluiceway._terms import DOLLAR, Terms
from sluiceway._values import flag, text

if TYPE_CHECKING:
    from sluiceway import _core
    from sluiceway._budget import Budget
    from sluiceway._hub import Hub

SCOPE_KNOWN_S = 1.0
SCOPES_KNOWN_MAX = 4096
SCOPES_TOLD = 32  # of a frame's scopes, to the engine: which are waited for
COMPONENT = "#"  # "video:42#voice" is a part of "video:42"


class Policy(NamedTuple):
    """What a scope asks for when it refuses."""

    on_exceed: str
    fallbacks: tuple[str, ...]


REFUSE = Policy("refuse", ())


class Frame:
    """The scopes that hold right now, and how they were entered."""

    __slots__ = ("budget", "names", "on_exceed", "outer", "scopes", "wait")

    def __init__(
        self,
        scopes: tuple[_core.Scope, ...],
        names: tuple[str, ...],
        on_exceed: dict[str, Policy],
        outer: Frame | None,
        budget: Budget | None,
    ) -> None:
        self.scopes = scopes
        self.names = names
        self.on_exceed = on_exceed  # by scope name; absent: refuse
        self.outer = outer
        self.budget = budget
        # As the engine takes it: a bit for each scope that is waited for, and further up for each
        # that has to tell exactly what is left.
        self.wait: str | int = "refuse"
        if on_exceed:
            words = [on_exceed.get(name, REFUSE).on_exceed for name in names[:SCOPES_TOLD]]
            bits = sum((word == "wait") << place for place, word in enumerate(words))
            exact = sum((word == "cut") << place for place, word in enumerate(words))
            self.wait = exact << SCOPES_TOLD | bits or "refuse"

    def enter(self, budget: Budget, chain: Sequence[Budget]) -> Frame:
        """This frame and the scopes of `chain` more."""
        scopes, names, on_exceed = self.scopes, self.names, self.on_exceed
        for one in chain:
            terms = one.terms
            if terms.on_exceed != "refuse":
                on_exceed = {**on_exceed, one.name: Policy(terms.on_exceed, terms.fallbacks)}
            if one.name not in names:
                scopes, names = (*scopes, one.scope), (*names, one.name)
        return Frame(scopes, names, on_exceed, self, budget)

    def policy(self, refusal: dict[str, object]) -> Policy:
        """What the refusing scope asks for; a calendar scope refuses under its window's name."""
        name = str(refusal.get("scope", ""))
        found = self.on_exceed.get(name)
        if found is None:
            for known, policy in self.on_exceed.items():
                if name.startswith((known + "@", known + ":")) and name not in self.names:
                    return policy
        return found or REFUSE


def current_frame(hub: Hub) -> Frame:
    """The running context's frame; outside of every budget, the scopes that every call is in."""
    return hub.frame.get() or hub.root or root_frame(hub)


def root_frame(hub: Hub) -> Frame:
    """Opens the scopes that every call is in: templates with a window, or with `every_call`."""
    from sluiceway._budget import Budget

    frame = Frame((), (), {}, None, None)
    for kind, template in hub.config.budgets.items():
        terms = Terms(template)
        if terms.is_every_calls(kind, template):
            budget = Budget._of(hub, kind, terms, replace=template.get("replace", False))
            frame = frame.enter(budget, (budget,))
    hub.root = Frame(frame.scopes, frame.names, frame.on_exceed, None, None)
    return hub.root


class Known(NamedTuple):
    """A remembered scope: how it was asked for, and until when (monotonic) that is trusted."""

    asked: object
    until_s: float
    scope: _core.Scope
    terms: Terms


def known_scope(hub: Hub, name: str, asked: object) -> Known | None:
    """The scope, if it was asked for in the same words a moment ago."""
    known = hub.scopes.get(name)
    if known is None or known.asked != asked or time.monotonic() >= known.until_s:
        return None
    return known


def open_scope(hub: Hub, name: str, terms: Terms, asked: object, *, replace: bool) -> _core.Scope:
    """The scope's handle, made in the file if it is new. BudgetConflict for another limit."""
    kind, _, key = text(name, "the budget").partition(":")
    flag(replace, "replace")
    text(terms.time_zone, "time_zone")
    scope = hub.engine.open_scope(
        kind,
        key,
        terms.limit,
        terms.period,
        terms.time_zone,
        terms.rolling_s,
        replace,
        keep=not terms.stated_limit,
        **({} if terms.unit == DOLLAR else {"unit": terms.unit}),
    )
    if len(hub.scopes) >= SCOPES_KNOWN_MAX:
        hub.scopes.clear()
    hub.scopes[name] = Known(asked, time.monotonic() + SCOPE_KNOWN_S, scope, terms)
    if hub.watch is not None or terms.watched:
        hub.watcher().watch(name, scope, terms)
    return scope
