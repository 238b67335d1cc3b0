import re
import time

import pytest

from modules.common.kube import NODES, ApiError, KubeClient, TooLarge, Unreachable, retry, transport
from modules.common.kube.backoff import Backoff
from modules.common.kube.health import REQUESTS, ApiHealth
from modules.common.kube.ratelimit import TokenBucket
from tests.support.fake_api_server import FakeServer, hangs_up, refuses, replies


async def test_retry_outlasts_trouble(server: FakeServer, client: KubeClient) -> None:
    server.then(
        refuses(500, "InternalError"),
        refuses(429, "TooManyRequests"),
        refuses(409, "Conflict"),
        refuses(503, "ServiceUnavailable"),
        replies({"it": "worked"}),
    )
    backoff = Backoff(initial=0.001)
    assert await retry(lambda: client.get(NODES, "n"), client.health, backoff) == {"it": "worked"}
    assert len(server.requests) == 5


async def test_retry_hands_back_what_may_fail_for_one_object_alone(
    server: FakeServer, client: KubeClient
) -> None:
    """An admission webhook that does not answer is no reason for others to wait."""
    pause = {"Retry-After": "0"}
    server.then(
        hangs_up(),
        refuses(429, "TooManyRequests", **pause),
        *[refuses(500, "InternalError")] * 2,
        refuses(429, "TooManyRequests", **pause),
        refuses(500, "InternalError"),
    )
    backoff = Backoff(initial=0.001)
    with pytest.raises(ApiError, match="500"):
        await retry(lambda: client.get(NODES, "n"), client.health, backoff, attempts=3)
    assert len(server.requests) == 6


@pytest.mark.timeout(10)
async def test_retry_hands_back_what_gets_no_answer_while_other_requests_get_theirs() -> None:
    """A webhook that takes longer than a request may would keep a worker for ever."""
    health, attempts = ApiHealth(), 0

    async def attempt() -> None:
        nonlocal attempts
        attempts += 1
        health.served(REQUESTS)  # another one
        raise Unreachable("no answer in time")

    with pytest.raises(Unreachable):
        await retry(attempt, health, Backoff(initial=0.001), attempts=3)
    assert attempts == 3


@pytest.mark.timeout(10)
async def test_retry_outlasts_an_outage_however_few_attempts_it_has() -> None:
    health, attempts = ApiHealth(), 0
    health.served(REQUESTS)

    async def attempt() -> str:
        nonlocal attempts
        attempts += 1
        if attempts < 5:
            raise Unreachable("no answer in time")
        return "it worked"

    assert await retry(attempt, health, Backoff(initial=0.001), attempts=2) == "it worked"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (500, "etcdserver: request is too large"),
        (500, "rpc error: code = ResourceExhausted desc = trying to send message larger than max"),
        (413, "Request entity too large: limit is 3145728"),
    ],
)
async def test_what_is_too_large_for_etcd_is_not_tried_again(
    server: FakeServer, client: KubeClient, code: int, message: str
) -> None:
    server.then(refuses(code, "", message))
    with pytest.raises(TooLarge, match=re.escape(message)):
        await retry(lambda: client.get(NODES, "n"), client.health)


@pytest.mark.parametrize("code", [400, 403, 404, 422])
async def test_retry_gives_up_on_what_stays_wrong(
    server: FakeServer, client: KubeClient, code: int
) -> None:
    server.then(refuses(code, ""))
    with pytest.raises(ApiError):
        await retry(lambda: client.get(NODES, "n"), client.health)


@pytest.mark.parametrize("code", [401, 403])
async def test_a_server_that_comes_back_does_not_know_at_once_who_may_what(
    server: FakeServer, client: KubeClient, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kube-apiserver answers before it has read the roles; but it has them before long."""
    server.then(*[hangs_up()] * 2, *[refuses(code, "")] * 2, replies({"it": "worked"}))
    backoff = Backoff(initial=0.001)
    assert await retry(lambda: client.get(NODES, "n"), client.health, backoff) == {"it": "worked"}
    monkeypatch.setattr(transport, "_STARTING", 0.0)
    server.then(refuses(403, ""))
    with pytest.raises(ApiError):
        await retry(lambda: client.get(NODES, "n"), client.health)


async def test_retry_waits_as_long_as_asked(server: FakeServer, client: KubeClient) -> None:
    headers = {"Retry-After": "0.2"}
    server.then(refuses(429, "TooManyRequests", **headers), replies({}))
    began = time.monotonic()
    await retry(lambda: client.get(NODES, "n"), client.health, Backoff(initial=0.001))
    assert time.monotonic() - began >= 0.2


def test_token_bucket() -> None:
    now = 100.0
    bucket = TokenBucket(qps=10, burst=3, clock=lambda: now)
    assert [bucket.reserve() for _ in range(5)] == pytest.approx([0, 0, 0, 0.1, 0.2])
    now += 0.3
    assert bucket.reserve() == pytest.approx(0.0)
    now += 60
    assert [bucket.reserve() for _ in range(4)] == pytest.approx([0, 0, 0, 0.1])


def test_token_that_is_not_waited_for() -> None:
    now = 100.0
    bucket = TokenBucket(qps=0.5, burst=2, clock=lambda: now)
    assert [bucket.try_take() for _ in range(3)] == [True, True, False]
    now += 2
    assert [bucket.try_take() for _ in range(2)] == [True, False]


def test_no_limit() -> None:
    bucket = TokenBucket(qps=0, burst=1)
    assert sum(bucket.reserve() for _ in range(1000)) == 0


def test_backoff_grows_and_starts_over() -> None:
    backoff = Backoff(initial=1, maximum=8)
    pauses = [backoff.next() for _ in range(6)]
    for pause, ceiling in zip(pauses, [1, 2, 4, 8, 8, 8], strict=True):
        assert ceiling / 2 <= pause <= ceiling
    assert backoff.next(at_least=60) == 60
    backoff.reset()
    assert backoff.next() <= 1
