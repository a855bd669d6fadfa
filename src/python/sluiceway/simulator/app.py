"""The simulated providers as one function: a request goes in, a reply comes out, a line is booked.

The order of things follows a real provider, with the faults before execution in front:

    settings         rules, then the prompt's directive, then the header
    faults before    drop_before, stall_before, goaway, refused_stream: nothing is executed
    refusals         wrong key, unknown path, invalid request: the provider's own 4xx, billed 0
    scripted errors  status and html_error; executed and billed as settings say
    execution        counted and billed here, then answered; later faults are the connection's

`handle` never blocks and never waits; it belongs to the loop's thread. Time: linear in the
request. Clocks and randomness come in through the constructor.

Example: `Simulation(books, script, seed=7, ...).handle(request).status`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import replace

from sluiceway.simulator import answers
from sluiceway.simulator.batches import Batches
from sluiceway.simulator.books import Books, Entry
from sluiceway.simulator.errors import ScriptError
from sluiceway.simulator.message import Headers, Reply, Request
from sluiceway.simulator.providers.anthropic_batches import PATH as BATCHES_PATH
from sluiceway.simulator.providers.anthropic_messages import ANTHROPIC
from sluiceway.simulator.providers.dialect import Chat, Dialect, Ids, Refusal
from sluiceway.simulator.providers.openai_chat import DEEPSEEK, OPENAI
from sluiceway.simulator.rate_headers import http_date, retry_after
from sluiceway.simulator.script import Script, Subject
from sluiceway.simulator.settings import (
    Settings,
    combine,
    error_status,
    executes_by_default,
    read_directives,
    read_words,
)
from sluiceway.simulator.tariff import Usage, bill_nanousd
from sluiceway.simulator.tokens import last_user_text

DIALECTS: tuple[Dialect, ...] = (OPENAI, DEEPSEEK, ANTHROPIC)
BASE_PATHS = {dialect.provider: dialect.prefix for dialect in DIALECTS}
# What "no money left" looks like where no status is set: Anthropic says it with 400, DeepSeek 402.
_QUOTA_STATUS = {"openai": 429, "deepseek": 402, "anthropic": 400}
_BEFORE = frozenset(("drop_before", "stall_before", "goaway", "refused_stream"))


class Exchange:
    """One request on its way through: what is known so far, for the log and the reply."""

    __slots__ = ("attempt", "body", "chat", "dialect", "identity", "ids", "now_s", "request")

    def __init__(self, request: Request, dialect: Dialect, ids: Ids, now_s: float) -> None:
        self.request = request
        self.dialect = dialect
        self.ids = ids
        self.now_s = now_s
        self.identity: Headers = dialect.identity(ids)
        self.body: object = None
        self.chat: Chat | None = None
        self.attempt = request.headers.get("sluiceway-attempt")

    @property
    def model_name(self) -> str:
        """The model that the request names, or an empty string."""
        name = self.body.get("model") if isinstance(self.body, Mapping) else None
        return name if isinstance(name, str) else ""

    @property
    def stream(self) -> bool:
        """Whether the request asks for a stream."""
        return isinstance(self.body, Mapping) and self.body.get("stream") is True

    @property
    def attempt_number(self) -> int:
        """The number in `sluiceway-attempt: <call>/<n>`; 1 where there is none."""
        digits = (self.attempt or "").rpartition("/")[2]
        return int(digits) if digits.isdecimal() and len(digits) < 10 else 1


class Simulation:
    """All simulated providers, their books and the script that troubles them."""

    def __init__(
        self, books: Books, script: Script, seed: int, wall_clock: Callable[[], float]
    ) -> None:
        self.books = books
        self.script = script
        self._wall_clock = wall_clock
        self._rng = random.Random(seed)
        self._date: tuple[int, str] = (-1, "")
        self._batches = Batches(self._book_item)

    def handle(self, request: Request, monotonic_s: float) -> Reply:
        """Answers one request to a provider's path and books it."""
        dialect = next((d for d in DIALECTS if request.path.startswith(d.prefix + "/")), None)
        if dialect is None:
            body = b'{"error":"no provider here; see /_simulator/health"}'
            return Reply(404, [("content-type", "application/json")], body)
        now_s = self._wall_clock()
        exchange = Exchange(request, dialect, Ids(self._rng, int(now_s)), now_s)
        if request.body:
            try:
                exchange.body = json.loads(request.body)
            except (ValueError, RecursionError):
                exchange.body = None
        try:
            settings = self._settings(exchange, monotonic_s)
        except ScriptError as error:
            return self._refuse(exchange, dialect.invalid(f"simulator: {error}"), combine({}))
        if settings.fault in _BEFORE and settings.executed is not True:
            return self._before(exchange, settings)
        outcome = self._outcome(exchange, settings)
        if isinstance(outcome, Refusal):
            return self._refuse(exchange, outcome, settings)
        if isinstance(outcome, bytes):
            return self._free(exchange, outcome, settings)
        exchange.chat = outcome
        if settings.fault in ("status", "html_error"):
            return self._error(exchange, outcome, settings)
        return self._execute(exchange, outcome, settings)

    def _settings(self, exchange: Exchange, monotonic_s: float) -> Settings:
        request = exchange.request
        overlay: dict[str, object] = {}
        if self.script.rules:
            subject = Subject(
                exchange.dialect.provider,
                exchange.model_name,
                request.path,
                exchange.stream,
                request.protocol,
                exchange.attempt_number,
            )
            overlay = self.script.decide(subject, monotonic_s)
        if isinstance(exchange.body, Mapping):
            messages = exchange.body.get("messages")
            if isinstance(messages, list):
                overlay.update(read_directives(last_user_text(messages)))
        words = request.headers.get("sluiceway-simulator")
        if words:
            overlay.update(read_words(words))
        settings = combine(overlay)
        if settings.on_attempt is not None:
            first, last = settings.on_attempt
            if not first <= exchange.attempt_number <= last:
                settings = replace(settings, fault=None)
        return settings

    def _outcome(self, exchange: Exchange, settings: Settings) -> Chat | Refusal | bytes:
        """What the provider makes of the request: a chat, a refusal, or a free answer's body."""
        dialect, request, body = exchange.dialect, exchange.request, exchange.body
        refusal = dialect.check(request)
        if refusal is not None:
            return refusal
        operation = dialect.find(request.method, request.path.removeprefix(dialect.prefix))
        if isinstance(operation, Refusal):
            return operation
        if operation == "models":
            return dialect.models()
        if operation.startswith("model/"):
            return dialect.model(operation.removeprefix("model/"))
        if operation.startswith("batch"):
            looks = settings.batch_looks
            return self._batches.answer(
                operation, body, dialect, exchange.ids, exchange.now_s, looks
            )
        if not isinstance(body, dict):
            return dialect.invalid("We could not parse the JSON body of your request.")
        if operation == "count":
            chat = dialect.read({**body, "max_tokens": 1}, settings)
            return chat if isinstance(chat, Refusal) else dialect.count(chat)
        return dialect.read(body, settings)

    def _before(self, exchange: Exchange, settings: Settings) -> Reply:
        self._book(exchange, settings, executed=False, status=None)
        wire_fault = {"drop_before": "drop", "stall_before": "stall"}.get(settings.fault or "")
        if wire_fault is None:
            h2_fault = "goaway" if settings.fault == "goaway" else "refused"
            wire_fault = h2_fault if exchange.request.protocol == "h2" else "drop"
        latency_s = settings.latency_ms.seconds(self._rng)
        return Reply(0, [], settings=settings, wire_fault=wire_fault, latency_s=latency_s)

    def _refuse(self, exchange: Exchange, refusal: Refusal, settings: Settings) -> Reply:
        self._book(exchange, settings, executed=False, status=refusal.status)
        body = exchange.dialect.seal(refusal, exchange.ids)
        headers = self._headers(exchange, refusal.status, refusal.content_type, settings)
        return Reply(refusal.status, headers, body, settings=replace(settings, fault=None))

    def _free(self, exchange: Exchange, body: bytes, settings: Settings) -> Reply:
        """Lists of models and token counts: executed, never billed."""
        if settings.fault in ("status", "html_error"):
            return self._error(exchange, None, settings)
        reply = answers.whole(body, settings, chunked=False)
        self._book(exchange, settings, executed=True, status=answers.logged_status(reply))
        return self._finish(exchange, reply, settings)

    def _error(self, exchange: Exchange, chat: Chat | None, settings: Settings) -> Reply:
        status = error_status(settings)
        if settings.status is None and settings.flavour == "insufficient_quota":
            status = _QUOTA_STATUS[exchange.dialect.provider]
        executed = executes_by_default(settings)
        executed = executed if settings.executed is None else settings.executed
        usage = None
        if executed and chat is not None:
            usage = chat.produced(0) if settings.bill == "partial" else chat.usage
        self._book(exchange, settings, executed, status, usage)
        if settings.fault == "html_error":
            body, kind = answers.html_page(status), "text/html"
        else:
            body = exchange.dialect.error(settings, status, exchange.model_name, exchange.ids)
            kind = "application/json"
        headers = self._headers(exchange, status, kind, settings)
        reply = Reply(status, headers, body, settings=settings)
        reply.latency_s = settings.latency_ms.seconds(self._rng)
        return reply

    def _execute(self, exchange: Exchange, chat: Chat, settings: Settings) -> Reply:
        dialect, ids = exchange.dialect, exchange.ids
        if chat.stream:
            reply, deltas = answers.streamed(dialect, chat, ids, settings)
        else:
            body = dialect.whole(chat, ids)
            reply, deltas = answers.whole(body, settings, dialect.chunked_answers), chat.deltas
        if settings.fault == "error_in_stream" and not chat.stream:
            return self._error(exchange, chat, replace(settings, fault="status", status=500))
        executed = settings.executed is not False
        usage = chat.usage
        if settings.bill == "partial":
            usage = chat.produced(deltas)
        status = answers.logged_status(reply)
        self._book(exchange, settings, executed, status, usage if executed else None)
        if settings.bill == "partial" and executed and chat.stream:
            self._correct_when_abandoned(exchange, chat, reply, usage)
        return self._finish(exchange, reply, settings)

    def _correct_when_abandoned(
        self, exchange: Exchange, chat: Chat, reply: Reply, booked: Usage
    ) -> None:
        """Under `bill=partial` a client that leaves pays for what it was sent."""
        settings = chat.settings

        def abandoned(events_sent: int) -> None:
            deltas = min(max(events_sent - reply.head_events, 0), chat.deltas)
            produced = chat.produced(deltas)
            if produced.output < booked.output:
                self._book(exchange, settings, False, None, produced, correction_of=booked)

        reply.abandoned = abandoned

    def _finish(self, exchange: Exchange, reply: Reply, settings: Settings) -> Reply:
        """Adds the headers and the times of an answer with status 200."""
        kind = "application/json"
        if reply.events is not None:
            kind = "text/event-stream; charset=utf-8"
        reply.headers = self._headers(exchange, 200, kind, settings)
        if reply.events is not None:
            reply.headers.append(("cache-control", "no-cache"))
            reply.keep_alive = exchange.dialect.keep_alive_stream
        elif reply.chunked:
            reply.keep_alive = exchange.dialect.keep_alive_whole
        reply.latency_s = settings.latency_ms.seconds(self._rng)
        draw = settings.token_ms
        if draw.first > 0:
            reply.event_s = lambda: draw.seconds(self._rng) * settings.tokens_per_event
        if settings.fault == "goaway" and exchange.request.protocol == "h2":
            reply.wire_fault = "goaway_after"
        return reply

    def _book_item(self, chat: Chat, ids: Ids, arrived_s: float) -> None:
        """One item of a batch, done."""
        self.books.write(
            Entry(
                provider=ANTHROPIC.provider,
                model=chat.model.id,
                path=BATCHES_PATH,
                protocol="batch",
                request_id=ids.request_id,
                executed=True,
                status=200,
                usage=chat.usage,
                billed_nanousd=bill_nanousd(chat.model.id, chat.usage, arrived_s, batch=True),
            )
        )

    def _headers(self, exchange: Exchange, status: int, kind: str, settings: Settings) -> Headers:
        now_s = exchange.now_s
        second = int(now_s)
        if self._date[0] != second:
            self._date = (second, http_date(now_s))
        headers = [("date", self._date[1]), ("content-type", kind), *exchange.identity]
        if settings.rate_headers:
            headers += exchange.dialect.limits(exchange.chat, settings, status, now_s)
        if settings.retry_after_s is not None:
            headers += retry_after(settings.retry_after_s, settings.retry_after_form, now_s)
        return headers

    def _book(
        self,
        exchange: Exchange,
        settings: Settings,
        executed: bool,
        status: int | None,
        usage: Usage | None = None,
        correction_of: Usage | None = None,
    ) -> None:
        request, chat = exchange.request, exchange.chat
        usage = usage or Usage()
        billed = 0
        if chat is not None and usage.prompt + usage.output and settings.bill != "none":
            billed = bill_nanousd(chat.model.id, usage, exchange.now_s)
            if correction_of is not None:
                billed -= bill_nanousd(chat.model.id, correction_of, exchange.now_s)
        if correction_of is not None:
            usage = usage.minus(correction_of)
        self.books.write(
            Entry(
                provider=exchange.dialect.provider,
                model=chat.model.id if chat is not None else exchange.model_name or None,
                path=request.path,
                protocol=request.protocol,
                request_id=exchange.ids.request_id,
                attempt=exchange.attempt,
                idempotency_key=request.headers.get("idempotency-key"),
                executed=executed,
                status=status,
                fault=settings.fault,
                stream=exchange.stream,
                usage=usage,
                billed_nanousd=billed,
                correction=correction_of is not None,
            )
        )
