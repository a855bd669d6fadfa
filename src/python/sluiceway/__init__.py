"""Sluiceway: paid API calls with hard budgets, rate limits, retries, a cache and a ledger.

    import sluiceway as sw                    # starts no thread, opens nothing, reads no .env

    gw = sw.Gateway.from_env()                # or sw.Gateway.from_file("sluiceway.toml")
    r = gw.chat("openai/gpt-6-luna", "Name three rivers", fallbacks=["anthropic/claude-haiku-5-5"])
    print(r.text, r.cost.usd, r.served_by)

    with gw.budget("video:42", usd="3.00") as b:
        gw.chat("deepseek/deepseek-flash", "Hello")
        print(b.spent, b.left, b.status)

Names are loaded on first use, so that importing the package costs next to nothing, and a program
that only catches errors or starts the simulator never loads the compiled core. No third-party
module is needed. The whole tree of exceptions is drawn in `sluiceway.errors`.
"""

from __future__ import annotations

__version__ = "0.1.0"
TYPE_CHECKING = False  # type checkers take it for true; importing `typing` would cost milliseconds

if TYPE_CHECKING:
    from sluiceway._booking import Booking as Booking
    from sluiceway._budget import Budget as Budget
    from sluiceway._budget_report import BudgetReport as BudgetReport
    from sluiceway._budget_report import ComponentReport as ComponentReport
    from sluiceway._raw_stream import AsyncRawStream as AsyncRawStream
    from sluiceway._raw_stream import RawStream as RawStream
    from sluiceway._stream import AsyncChatStream as AsyncChatStream
    from sluiceway._stream import ChatStream as ChatStream
    from sluiceway._thresholds import BudgetEvent as BudgetEvent
    from sluiceway._wallet_history import UsageRow as UsageRow
    from sluiceway._wallet_history import WalletEntry as WalletEntry
    from sluiceway._wallet_history import WalletUsage as WalletUsage
    from sluiceway.config import Config as Config
    from sluiceway.errors import AlreadySubmitted as AlreadySubmitted
    from sluiceway.errors import AuthenticationFailed as AuthenticationFailed
    from sluiceway.errors import BadRequest as BadRequest
    from sluiceway.errors import Balance as Balance
    from sluiceway.errors import BreakerOpen as BreakerOpen
    from sluiceway.errors import BudgetConflict as BudgetConflict
    from sluiceway.errors import BudgetError as BudgetError
    from sluiceway.errors import BudgetExceeded as BudgetExceeded
    from sluiceway.errors import BudgetUnavailable as BudgetUnavailable
    from sluiceway.errors import Cancelled as Cancelled
    from sluiceway.errors import ConfigError as ConfigError
    from sluiceway.errors import ConnectionFailed as ConnectionFailed
    from sluiceway.errors import DeadlineExceeded as DeadlineExceeded
    from sluiceway.errors import FileError as FileError
    from sluiceway.errors import ForkedError as ForkedError
    from sluiceway.errors import GatewayClosed as GatewayClosed
    from sluiceway.errors import InDoubt as InDoubt
    from sluiceway.errors import InvalidRequest as InvalidRequest
    from sluiceway.errors import InvalidResponse as InvalidResponse
    from sluiceway.errors import InvalidType as InvalidType
    from sluiceway.errors import LimitExceeded as LimitExceeded
    from sluiceway.errors import MissingKey as MissingKey
    from sluiceway.errors import NoMoney as NoMoney
    from sluiceway.errors import Overloaded as Overloaded
    from sluiceway.errors import PermissionDenied as PermissionDenied
    from sluiceway.errors import ProviderError as ProviderError
    from sluiceway.errors import ProviderFailure as ProviderFailure
    from sluiceway.errors import RateLimited as RateLimited
    from sluiceway.errors import RequestTooLarge as RequestTooLarge
    from sluiceway.errors import SluicewayError as SluicewayError
    from sluiceway.errors import StreamBroken as StreamBroken
    from sluiceway.errors import TimedOutInDoubt as TimedOutInDoubt
    from sluiceway.errors import UnboundedOperation as UnboundedOperation
    from sluiceway.errors import UnknownAccount as UnknownAccount
    from sluiceway.errors import UnknownJob as UnknownJob
    from sluiceway.errors import UnknownModel as UnknownModel
    from sluiceway.errors import UnpricedModel as UnpricedModel
    from sluiceway.errors import UnpricedOperation as UnpricedOperation
    from sluiceway.errors import WrongKey as WrongKey
    from sluiceway.gateway import AsyncGateway as AsyncGateway
    from sluiceway.gateway import Gateway as Gateway
    from sluiceway.guards import CircuitBreaker as CircuitBreaker
    from sluiceway.guards import TokenBucket as TokenBucket
    from sluiceway.guards import guarded as guarded
    from sluiceway.jobs import AsyncJob as AsyncJob
    from sluiceway.jobs import Job as Job
    from sluiceway.options import Cache as Cache
    from sluiceway.options import ChatOptions as ChatOptions
    from sluiceway.options import Retry as Retry
    from sluiceway.types import Attempt as Attempt
    from sluiceway.types import CallResult as CallResult
    from sluiceway.types import ChatResult as ChatResult
    from sluiceway.types import Cost as Cost
    from sluiceway.types import Delta as Delta
    from sluiceway.types import DownloadResult as DownloadResult
    from sluiceway.types import Estimate as Estimate
    from sluiceway.types import Hop as Hop
    from sluiceway.types import RawResult as RawResult
    from sluiceway.types import Usage as Usage
    from sluiceway.wallet import Deduction as Deduction
    from sluiceway.wallet import Wallet as Wallet

# Where each public name lives. A test compares this with the block above.
_HOMES = {
    "sluiceway._booking": "Booking",
    "sluiceway._budget": "Budget",
    "sluiceway._budget_report": "BudgetReport ComponentReport",
    "sluiceway._raw_stream": "AsyncRawStream RawStream",
    "sluiceway._stream": "AsyncChatStream ChatStream",
    "sluiceway._thresholds": "BudgetEvent",
    "sluiceway._wallet_history": "UsageRow WalletEntry WalletUsage",
    "sluiceway.config": "Config",
    "sluiceway.errors": (
        "AlreadySubmitted AuthenticationFailed BadRequest Balance BreakerOpen BudgetConflict"
        " BudgetError BudgetExceeded BudgetUnavailable Cancelled ConfigError ConnectionFailed"
        " DeadlineExceeded FileError ForkedError GatewayClosed InDoubt InvalidRequest"
        " InvalidResponse InvalidType LimitExceeded MissingKey NoMoney Overloaded PermissionDenied"
        " ProviderError ProviderFailure RateLimited RequestTooLarge SluicewayError StreamBroken"
        " TimedOutInDoubt UnboundedOperation UnknownAccount UnknownJob UnknownModel UnpricedModel"
        " UnpricedOperation WrongKey"
    ),
    "sluiceway.gateway": "AsyncGateway Gateway",
    "sluiceway.guards": "CircuitBreaker TokenBucket guarded",
    "sluiceway.jobs": "AsyncJob Job",
    "sluiceway.options": "Cache ChatOptions Retry",
    "sluiceway.types": (
        "Attempt CallResult ChatResult Cost Delta DownloadResult Estimate Hop RawResult Usage"
    ),
    "sluiceway.wallet": "Deduction Wallet",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}
__all__ = [*sorted(_HOME_OF)]


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'sluiceway' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
