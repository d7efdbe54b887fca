"""The clients of a run: threads that post orders as a careful program would, and write every answer down.

What is not answered is posted again under the same idempotency key, until it is answered or patience ends.
"""

import heapq
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from time import monotonic, time
from typing import Any

import httpx2

from tests.chaos.orders import Order
from tests.chaos.watcher import Watcher
from worker.states import TERMINAL

THREADS = 6
TIMEOUT_S = 10.0
PATIENCE_S = 90.0
RACED, WATCHED = 8, 6
"""One order in so many is sent twice at once; one in so many is followed by its event stream, up to STREAMS."""

STREAMS = 40

LOOK_AGAIN_S = 0.5
AGAIN_S = (0.2, 0.5, 1.0, 2.0)
TRY_LATER = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer, or the name of what happened instead of one."""

    at: float
    call: str
    status: int
    code: str


@dataclass
class Clients:
    """Posts the orders; `with` starts the threads and waits for their end."""

    url: str
    headers: dict[str, str]
    orders: Sequence[Order]
    heard: list[Heard] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """What the contract forbids and a client saw."""

    def start(self) -> None:
        """Begin; orders fall due from now on."""
        self._began = monotonic()
        self._lock = threading.Lock()
        self._numbers = count()
        self._due: list[tuple[float, int, Callable[[httpx2.Client], None]]] = []
        self._under_way = 0
        self._is_over = threading.Event()
        self.watcher = Watcher(self.url, self.headers)
        self.watcher.start()
        self._every = max(WATCHED, len(self.orders) // STREAMS)
        for order in self.orders:
            self._plan(order.due_s, partial(self._post, order))
            if order.number % RACED == 0 and order.after is None:
                self._plan(order.due_s, partial(self._replay, order))
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(THREADS)]
        for thread in self._threads:
            thread.start()

    @property
    def is_done(self) -> bool:
        """Whether every order was answered, or given up."""
        with self._lock:
            return not self._due and not self._under_way

    def stop(self) -> None:
        """End the threads."""
        self._is_over.set()
        for thread in self._threads:
            thread.join(TIMEOUT_S * 2)
        self.watcher.stop()

    def _plan(self, due_s: float, act: Callable[[httpx2.Client], None]) -> None:
        with self._lock:
            heapq.heappush(self._due, (due_s, next(self._numbers), act))

    def _run(self) -> None:
        with httpx2.Client(base_url=self.url, headers=self.headers, timeout=TIMEOUT_S) as client:
            while not self._is_over.wait(0.01):
                act = self._next()
                if act is None:
                    continue
                try:
                    act(client)
                finally:
                    with self._lock:
                        self._under_way -= 1

    def _next(self) -> Callable[[httpx2.Client], None] | None:
        with self._lock:
            if not self._due or self._due[0][0] > monotonic() - self._began:
                return None
            self._under_way += 1
            return heapq.heappop(self._due)[2]

    def _post(self, order: Order, client: httpx2.Client) -> None:
        """Submit one order; a follower waits until the job before it was accepted."""
        previous = None
        if order.after is not None:
            before = self.orders[order.after]
            if before.was_refused:
                order.was_refused = True
                return
            if not before.job_ids:
                self._plan(monotonic() - self._began + 0.5, partial(self._post, order))
                return
            previous = before.job_ids[0]
        answer = self._ask(
            client, "POST", order.path, json=order.content(previous), headers={"Idempotency-Key": order.key}
        )
        if answer is None or answer.status_code != 202:
            code = answer.json().get("code") if answer is not None else "no answer"
            order.was_refused = order.after is not None and code == "invalid_request"
            if not order.was_refused:
                self.faults.append(f"order {order.number} was not accepted: {code}")
            return
        content = answer.json()
        order.job_ids = [job["id"] for job in content.get("data", [content])]
        self._after(order)

    def _after(self, order: Order) -> None:
        now_s = monotonic() - self._began
        self._plan(now_s, partial(self._read_back, order))
        if order.number % self._every == 0:
            self.watcher.follow(order.job_ids[0])
        if order.answers:
            self._plan(now_s, partial(self._answer, order, 1))
        if order.cancel_after_s is not None:
            self._plan(now_s + order.cancel_after_s, partial(self._cancel, order))

    def _read_back(self, order: Order, client: httpx2.Client) -> None:
        """A job that was answered 202 can be read from then on."""
        answer = self._ask(client, "GET", f"/v1/jobs/{order.job_ids[0]}")
        if answer is None or answer.status_code != 200:
            self.faults.append(f"order {order.number} was answered 202 and then could not be read")

    def _answer(self, order: Order, turn: int, client: httpx2.Client) -> None:
        """Answer a turn's calls as soon as the job asks; whoever forgot to would let it expire."""
        path = f"/v1/jobs/{order.job_ids[0]}"
        seen = self._ask(client, "GET", path)
        job = seen.json() if seen is not None and seen.status_code == 200 else {}
        if job.get("status") in TERMINAL:
            return
        if (job.get("status"), job.get("turn")) != ("requires_action", turn):
            self._plan(monotonic() - self._began + LOOK_AGAIN_S, partial(self._answer, order, turn))
            return
        result = {"type": "function_result", "result": order.result(turn)}
        given = [result | {"call_id": call["id"]} for call in job["required_action"]["function_calls"]]
        key = {"Idempotency-Key": f"{order.key} answer {turn}"}
        told = self._ask(client, "POST", f"{path}/respond", json={"input": given}, headers=key)
        if told is not None and told.status_code == 202:
            if turn < order.answers:
                self._plan(monotonic() - self._began, partial(self._answer, order, turn + 1))
        elif told is None or told.status_code != 409 or order.cancel_after_s is None:
            self.faults.append(f"an answer to order {order.number} was not taken")

    def _replay(self, order: Order, client: httpx2.Client) -> None:
        """The same key and body, sent by two clients at once, give the same jobs."""
        answer = self._ask(client, "POST", order.path, json=order.content(None), headers={"Idempotency-Key": order.key})
        content = answer.json() if answer is not None and answer.status_code == 202 else {}
        order.replayed_ids = [job.get("id", "") for job in content.get("data", [content])]

    def _cancel(self, order: Order, client: httpx2.Client) -> None:
        answer = self._ask(client, "POST", f"/v1/jobs/{order.job_ids[0]}/cancel")
        order.was_cancelled = answer is not None and answer.status_code in {200, 202}
        if answer is not None and answer.status_code not in {200, 202, 409}:
            self.faults.append(f"a cancel was answered {answer.status_code}")

    def _ask(self, client: httpx2.Client, method: str, path: str, **given: Any) -> httpx2.Response | None:
        """One request, sent until it is answered by more than "later"; None when patience ended."""
        give_up = monotonic() + PATIENCE_S
        for number in count():
            answer = self._try(client, method, path, **given)
            if answer is not None and answer.status_code not in TRY_LATER:
                return answer
            wait_s = AGAIN_S[min(number, len(AGAIN_S) - 1)]
            if monotonic() > give_up or self._is_over.wait(wait_s):
                return None
        raise AssertionError

    def _try(self, client: httpx2.Client, method: str, path: str, **given: Any) -> httpx2.Response | None:
        call = f"{method} {path.partition('/job_')[0]}"
        try:
            answer = client.request(method, path, **given)
        except httpx2.HTTPError as error:
            self.heard.append(Heard(time(), call, 0, type(error).__name__))
            return None
        code = answer.json().get("code", "") if answer.status_code >= 400 else ""
        self.heard.append(Heard(time(), call, answer.status_code, code))
        return answer
