"""One connection that is never given up.

The client library's own reconnecting ends for good on some errors and replays what was pending, so
it is switched off: when a connection is lost, everything in flight fails at once (its sender knows
that the outcome is unknown), and a supervisor makes a fresh connection and subscribes again.

Requests share one subscription for their answers, and the answer is a future: measured, this is
two to three times as fast as the library's `request`.
"""

import asyncio
import itertools
import random
import secrets
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from trialbus.contracts import subjects
from trialbus.kernel.errors import NotPermitted, Transient

# A dead server is noticed after three silent pings.
PING_INTERVAL_S = 2
MAX_OUTSTANDING_PINGS = 2
CONNECT_TIMEOUT_S = 3
# The library forgets to say so in some cases, so the state is also looked at.
LOOK_INTERVAL_S = 0.5
MIN_PAUSE_S, MAX_PAUSE_S = 0.05, 1.0
CLOSE_TIMEOUT_S = 2
# Until the server has a subscription; it has it at the latest with the next connection.
_FLUSH_TIMEOUT_S = 2
_LIBRARY_FLUSH_TIMEOUT_S = 10
PENDING_BYTES = 2 * 1024 * 1024
# The server's answer when nobody listens.
NO_RESPONDERS = "503"
# How the library's text begins for what the server's permissions forbid.
_VIOLATION = "nats: permissions violation"

log = structlog.get_logger(__name__)

# What the library raises when a connection cannot be used.
CONNECTION_ERRORS = (nats.errors.Error, OSError, TimeoutError)

OnMessage = Callable[[Msg], None]


class _Client(Client):  # type: ignore[misc]
    """Whose `flush`, and with it the draining of a subscription, waits for what was said before,
    and may be given up."""

    async def flush(self, timeout: float = _LIBRARY_FLUSH_TIMEOUT_S) -> None:
        """Raises nats.errors.Error."""
        if self.is_closed:
            raise nats.errors.ConnectionClosedError
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        # The library's first ping goes ahead of what it still holds back.
        for _ in range(2):
            pong = loop.create_future()
            await self._send_ping(pong)
            # Never cancelled: at the answer to a ping that was, the library stops to read for good.
            await asyncio.wait([pong], timeout=max(0.0, deadline - loop.time()))
            if not pong.done():
                raise nats.errors.FlushTimeoutError


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """Where the servers are and who we are. seed_file: of an NKey; read at every connection.
    answers_to: patterns of the reply subjects that we may answer to; None: any."""

    servers: Sequence[str]
    name: str
    # Replies go below it; one prefix per identity keeps others from reading them.
    inbox_prefix: str = "_INBOX"
    seed_file: str | None = None
    answers_to: Sequence[str] | None = None
    credentials_file: str | None = None
    tls: ssl.SSLContext | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)


class ConnectionLost(Transient):
    """There is no connection, or it went while an answer was awaited: the outcome is unknown."""


@dataclass(slots=True, eq=False)
class Route:
    """A subscription that outlives the connections."""

    subject: str
    queue: str
    on_message: OnMessage
    subscription: Subscription | None = None
    closed: bool = False


class Connection:
    def __init__(self, options: ConnectionOptions) -> None:
        self._options = options
        self._client: Client | None = None
        self._inbox = f"{options.inbox_prefix}.{secrets.token_hex(8)}"
        self._numbers = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[Msg]] = {}
        self._routes: list[Route] = [Route(f"{self._inbox}.r.*", "", self._on_reply)]
        self._watchers: list[Callable[[], None]] = []
        self._changed = asyncio.Event()
        self.last_error = ""
        self._violation: str | None = None
        self._violated = asyncio.Event()
        self._supervisor: asyncio.Task[None] | None = None
        # Grows with every new connection: whoever holds something of an older one renews it.
        self.generation = 0

    @property
    def connected(self) -> bool:
        return self._client is not None and self._client.is_connected

    async def open(self, *, wait_s: float) -> None:
        """Start connecting; returns when connected, or after `wait_s` (it goes on trying)."""
        self._supervisor = asyncio.create_task(self._supervise(), name="nats-supervisor")
        await self.wait_connected(timeout_s=wait_s)

    async def wait_connected(self, *, timeout_s: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self.connected:
                    self._changed.clear()
                    await self._changed.wait()
        return self.connected

    async def denied(self) -> NotPermitted:
        """Returns when the server has refused something to us: it would refuse it again."""
        await self._violated.wait()
        return NotPermitted(f"{self._options.name}: {self._violation}")

    def may_answer(self, reply: str) -> bool:
        """Whether an answer may go there. Whoever asks chooses its reply subject, and trying one
        that is not permitted would be our violation."""
        patterns = self._options.answers_to
        if patterns is None:
            return True
        try:
            subjects.literal(reply)
        except ValueError:
            return False
        return any(subjects.matches(pattern, reply) for pattern in patterns)

    async def close(self) -> None:
        """Send what is pending, then leave for good. Takes seconds at most, whatever the server
        does."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.wait([self._supervisor])
        client, self._client = self._client, None
        if client is not None:
            await _discard(client)
        self._fail_waiting()
        self._notify()

    def watch(self, on_change: Callable[[], None]) -> None:
        """Call `on_change` whenever the connection comes or goes."""
        self._watchers.append(on_change)

    def unwatch(self, on_change: Callable[[], None]) -> None:
        self._watchers.remove(on_change)

    def new_inbox(self) -> str:
        """A subject that only this connection hears, once subscribed."""
        return f"{self._inbox}.s{next(self._numbers)}"

    async def subscribe(self, subject: str, on_message: OnMessage, *, queue: str = "") -> Route:
        """Hear `subject` from now on, over every connection to come."""
        route = Route(subject, queue, on_message)
        self._routes.append(route)
        if self._client is not None and self.connected:
            try:
                await _attach(self._client, route)
                # Whoever asks next, over whichever connection, is to find it.
                await self._client.flush(timeout=_FLUSH_TIMEOUT_S)
            except asyncio.CancelledError:
                # Nobody has it to unsubscribe.
                await self.unsubscribe(route)
                raise
            except CONNECTION_ERRORS as error:
                log.info("not_yet_subscribed", subject=subject, error=repr(error))
        return route

    async def unsubscribe(self, route: Route, *, drain: bool = False) -> None:
        """`drain`: hand over first what the server has already sent."""
        self._routes.remove(route)
        route.closed = True
        subscription, route.subscription = route.subscription, None
        if subscription is not None and self.connected:
            with suppress(*CONNECTION_ERRORS):
                await (subscription.drain() if drain else subscription.unsubscribe())

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        reply: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send without an answer. Raises ConnectionLost when there is no connection."""
        if self._client is None or not self.connected:
            raise ConnectionLost("no connection to NATS")
        try:
            await self._client.publish(
                subject, data, reply=reply, headers=None if headers is None else dict(headers)
            )
        except CONNECTION_ERRORS as error:
            raise ConnectionLost(f"not sent: {error!r}") from error

    async def ask(
        self, subject: str, data: bytes, *, headers: Mapping[str, str] | None = None
    ) -> asyncio.Future[Msg]:
        """Send a request; the future is its answer, or ConnectionLost. Cancel it to forget it."""
        token = str(next(self._numbers))
        future: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._waiting[token] = future
        future.add_done_callback(lambda _: self._waiting.pop(token, None))
        try:
            await self.publish(subject, data, reply=f"{self._inbox}.r.{token}", headers=headers)
        except BaseException:
            future.cancel()
            raise
        return future

    async def request(
        self,
        subject: str,
        data: bytes,
        *,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> Msg:
        """The answer. Raises Transient: nobody there, no answer in time, connection lost."""
        future = await self.ask(subject, data, headers=headers)
        try:
            async with asyncio.timeout(timeout_s):
                answer = await future
        except TimeoutError as error:
            raise Transient(f"no answer on {subject} within {timeout_s} s") from error
        if status_of(answer) == NO_RESPONDERS:
            raise Transient(f"nobody answers on {subject}")
        return answer

    async def _supervise(self) -> None:
        pause_s = MIN_PAUSE_S
        # The library swallows a cancellation that meets it while it closes, so look for it too.
        while not _cancelled():
            try:
                await self._connect()
            except Exception as error:  # noqa: BLE001 - whatever it was, the next try may do
                await self._on_error(error)
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(pause_s * 2, MAX_PAUSE_S)
                continue
            pause_s = MIN_PAUSE_S
            while self.connected and not _cancelled():
                self._changed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_INTERVAL_S):
                        await self._changed.wait()
            if not self.connected:
                await self._on_lost()

    async def _connect(self) -> None:
        client = _Client()
        options = self._options
        try:
            await client.connect(
                servers=list(options.servers),
                name=options.name,
                error_cb=self._on_error,
                closed_cb=self._on_closed,
                allow_reconnect=False,
                # Zero would mean for ever, and hide a refused connection from the supervisor.
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=CONNECT_TIMEOUT_S,
                ping_interval=PING_INTERVAL_S,
                max_outstanding_pings=MAX_OUTSTANDING_PINGS,
                pending_size=PENDING_BYTES,
                inbox_prefix=options.inbox_prefix,
                tls=options.tls,
                user=options.user,
                password=options.password,
                user_credentials=options.credentials_file,
                nkeys_seed=options.seed_file,
            )
            for route in self._routes:
                route.subscription = None
            # Routes may come and go while the loop waits.
            while missing := [route for route in self._routes if route.subscription is None]:
                await _attach(client, missing[0])
        except BaseException:
            await _discard(client)
            raise
        self._client = client
        self.generation += 1
        self.last_error = ""
        log.info("nats_connected", generation=self.generation)
        self._notify()

    async def _on_lost(self) -> None:
        client, self._client = self._client, None
        log.warning("nats_connection_lost", generation=self.generation)
        self._fail_waiting()
        self._notify()
        if client is not None:
            await _discard(client)

    def _fail_waiting(self) -> None:
        for future in list(self._waiting.values()):
            if not future.done():
                future.set_exception(ConnectionLost("the connection to NATS was lost"))
                # Whoever no longer awaits it must not make the loop complain.
                future.exception()

    def _notify(self) -> None:
        self._changed.set()
        for on_change in list(self._watchers):
            on_change()

    async def _on_closed(self) -> None:
        self._changed.set()

    async def _on_error(self, error: Exception) -> None:
        """One line for each new error: a server that is away says the same again and again."""
        text = repr(error)
        if str(error).startswith(_VIOLATION):
            # Said only here: the caller would see no answer, and try again for ever.
            log.error("nats_permission_violation", identity=self._options.name, error=str(error))
            self._violation = self._violation or str(error)
            self._violated.set()
        elif text != self.last_error:
            self.last_error = text
            log.warning("nats_error", error=text, hint=str(error))

    def _on_reply(self, message: Msg) -> None:
        future = self._waiting.get(message.subject.rpartition(".")[2])
        if future is not None and not future.done():
            future.set_result(message)


def status_of(message: Msg) -> str | None:
    """The status of a message that is a word of the server itself, such as "503"."""
    if message.data or not message.headers:
        return None
    status: str | None = message.headers.get("Status")
    return status


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _attach(client: Client, route: Route) -> None:
    async def on_message(message: Msg) -> None:
        route.on_message(message)

    # Both limits off: what is asked for is bounded by whoever asks.
    subscription = await client.subscribe(
        route.subject, queue=route.queue, cb=on_message, pending_msgs_limit=0, pending_bytes_limit=0
    )
    if route.closed:
        await subscription.unsubscribe()
    else:
        route.subscription = subscription


async def _discard(client: Client) -> None:
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await client.close()
    except CONNECTION_ERRORS as error:
        log.info("nats_close_failed", error=repr(error))
