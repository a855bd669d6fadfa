"""Loads the libraries of the extra `[simulator]`, or says what to install.

`h2` (HTTP/2) and `cryptography` (the certificate) are imported when a server with TLS or an HTTP/2
connection needs them, never by `import sluiceway.simulator`.
"""

from __future__ import annotations

import importlib

from sluiceway.simulator.errors import MissingExtraError

_NEEDED = ("h2.connection", "cryptography.x509")


def require_extra() -> None:
    """Imports everything the extra brings. Raises MissingExtraError naming the first absentee."""
    for name in _NEEDED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            package = name.partition(".")[0]
            raise MissingExtraError(
                f"the simulator needs {package!r} for HTTP/2 and TLS; "
                "install it with: pip install 'sluiceway[simulator]' "
                "(or start it with tls=False for HTTP/1.1 alone)"
            ) from error


def has_h2() -> bool:
    """Whether HTTP/2 can be served."""
    try:
        importlib.import_module("h2.connection")
    except ImportError:
        return False
    return True
