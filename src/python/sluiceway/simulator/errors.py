"""The simulator's own exceptions.

    SimulatorError                everything below
      MissingExtraError           a library of the extra is not installed (also an ImportError)
      ScriptError                 a rule or a setting is malformed (also a ValueError)
      StartError                  the server or its process did not come up
      AdminError                  the admin endpoints of a spawned simulator answered badly

The simulator stands beside the gateway and shares nothing with it, so these do not derive from
`sluiceway.errors`. Every class is picklable: the only state is the message.
"""

from __future__ import annotations


class SimulatorError(Exception):
    """Anything the simulator itself, not a simulated provider, complains about."""


class MissingExtraError(SimulatorError, ImportError):
    """A library of the extra `[simulator]` cannot be imported; the message says what to install."""


class ScriptError(SimulatorError, ValueError):
    """A rule, a setting or a directive is malformed; the message names the key and the choices."""


class StartError(SimulatorError, RuntimeError):
    """The listeners, or the process of a spawned simulator, did not come up."""


class AdminError(SimulatorError, RuntimeError):
    """An admin endpoint answered with an error or with something that is not its answer."""
