from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.embedded_broker import BrokerProcess

from secateur.fleet.session import BrokerUrl, BrokerUrlError, Session


def test_broker_urls_are_parsed() -> None:
    assert BrokerUrl.parse("mqtt://127.0.0.1") == ("127.0.0.1", 1883, "", "", None)
    assert BrokerUrl.parse("mqtt://me@broker.example:18830", "secret")[:4] == ("broker.example", 18830, "me", "secret")
    secure = BrokerUrl.parse("mqtts://broker.example")
    assert (secure.port, secure.tls is not None) == (8883, True)


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:1883", "http://x", "mqtt://", "mqtt://h:99999", "mqtt://h/path", "mqtt://[::"]
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(BrokerUrlError, match="expected mqtt://"):
        BrokerUrl.parse(url)


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(BrokerUrlError, match="--password-file") as caught:
        BrokerUrl.parse("mqtt://me:secret@host")
    assert "secret" not in str(caught.value)


@given(st.text())
def test_any_text_is_a_broker_url_or_refused(text: str) -> None:
    with contextlib.suppress(BrokerUrlError):
        assert BrokerUrl.parse(text).host


def run_session(broker: BrokerProcess, test: Callable[[Session, list[tuple[str, bytes]]], object]) -> None:
    async def main() -> None:
        got: list[tuple[str, bytes]] = []
        session = Session(
            BrokerUrl.parse(broker.url), "test-session", ("t/#",), lambda *message: got.append(message), lambda: None
        )
        running = asyncio.create_task(session.run())
        try:
            await test(session, got)  # type: ignore[misc]
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(asyncio.wait_for(main(), 60))


async def until(check: Callable[[], object]) -> None:
    while not check():
        await asyncio.sleep(0.01)


def test_more_messages_than_the_window_all_arrive_in_order(broker: BrokerProcess) -> None:
    async def test(session: Session, got: list[tuple[str, bytes]]) -> None:
        await until(lambda: session.connected)
        for number in range(1000):
            assert session.send("t/x", b"%d" % number)
            assert session.unacknowledged <= session.window < 1000
        await until(lambda: len(got) >= 1000)
        assert [int(payload) for _, payload in got] == list(range(1000))

    run_session(broker, test)


def test_chunks_wait_for_room_and_end_when_the_connection_does(broker: BrokerProcess) -> None:
    async def test(session: Session, got: list[tuple[str, bytes]]) -> None:
        await until(lambda: session.connected)
        for number in range(100):
            assert await session.send_bulk("t/b", bytes([number]) * 1000, qos=1)
        await until(lambda: len(got) >= 100)
        broker.kill()
        await until(lambda: not session.connected)
        assert not await session.send_bulk("t/b", b"x", qos=1)
        assert not session.send("t/x", b"x")
        broker.start()
        await until(lambda: session.connected)
        session.send("t/x", b"again")
        await until(lambda: ("t/x", b"again") in got)

    run_session(broker, test)
