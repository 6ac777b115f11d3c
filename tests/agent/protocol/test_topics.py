"""Topics are built and parsed in one place, and nothing that MQTT interprets gets into them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur_agent.protocol import topics
from secateur_agent.protocol.topics import FromDevice, ToDevice, TopicError

SHA = "0123456789abcdef" * 4
ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)


def test_topics_are_those_of_the_specification() -> None:
    assert topics.up("pi-1", "state") == "secateur/v1/d/pi-1/up/state"
    assert topics.down("pi-1", "ack") == "secateur/v1/d/pi-1/dn/ack"
    assert topics.ask("pi-1", "a1") == "secateur/v1/d/pi-1/up/ask/a1"
    assert topics.answer("pi-1", "a1") == "secateur/v1/d/pi-1/dn/answer/a1"
    assert topics.command("pi-1", "c1") == "secateur/v1/d/pi-1/dn/cmd/c1"
    assert topics.command_status("pi-1", "c1") == "secateur/v1/d/pi-1/up/cmd/c1"
    assert topics.chunk(SHA, 3) == f"secateur/v1/b/{SHA}/3"
    assert topics.repair("pi-1", SHA, 3) == f"secateur/v1/d/pi-1/dn/b/{SHA}/3"


@pytest.mark.parametrize("bad", ["", "a/b", "+", "#", "a+b", "a#", "-a", ".a", "a b", "a\n", "a\0", "ä", "x" * 65])
def test_an_id_that_mqtt_or_a_file_system_would_interpret_is_refused(bad: str) -> None:
    builders: tuple[Callable[[], str], ...] = (
        lambda: topics.up(bad, "state"),
        lambda: topics.down(bad, "ack"),
        lambda: topics.ask("pi-1", bad),
        lambda: topics.answer(bad, "a1"),
        lambda: topics.command("pi-1", bad),
        lambda: topics.command_status(bad, "c1"),
        lambda: topics.repair(bad, SHA, 0),
    )
    for build in builders:
        with pytest.raises(TopicError, match="letters, digits"):
            build()


@pytest.mark.parametrize("bad", ["", SHA[:-1], SHA.upper(), SHA + "\n", SHA[:-1] + "g", "+"])
def test_a_digest_must_be_64_lower_case_hexadecimal_digits(bad: str) -> None:
    with pytest.raises(TopicError, match="64 lower-case"):
        topics.chunk(bad, 0)


@given(ids, ids)
def test_what_a_device_publishes_is_parsed_as_it_was_built(device: str, key: str) -> None:
    for kind in ("state", "birth", "shadow", "telemetry", "event"):
        assert topics.parse_up(topics.up(device, kind)) == FromDevice(device, kind, "")
    assert topics.parse_up(topics.ask(device, key)) == FromDevice(device, "ask", key)
    assert topics.parse_up(topics.command_status(device, key)) == FromDevice(device, "cmd", key)


@given(ids, ids, st.integers(0, 10**9 - 1))
def test_what_a_device_receives_is_parsed_as_it_was_built(device: str, key: str, index: int) -> None:
    assert topics.parse_down(device, topics.down(device, "shadow")) == ToDevice("shadow")
    assert topics.parse_down(device, topics.down(device, "ack")) == ToDevice("ack")
    assert topics.parse_down(device, topics.answer(device, key)) == ToDevice("answer", key)
    assert topics.parse_down(device, topics.command(device, key)) == ToDevice("cmd", key)
    assert topics.parse_down(device, topics.chunk(SHA, index)) == ToDevice("chunk", SHA, index)
    assert topics.parse_down(device, topics.repair(device, SHA, index)) == ToDevice("chunk", SHA, index)


@pytest.mark.parametrize(
    "topic",
    [
        "secateur/v1/d/pi-2/dn/shadow",
        "secateur/v1/d/pi-1/up/shadow",
        "secateur/v2/d/pi-1/dn/shadow",
        f"secateur/v1/b/{SHA}/-1",
        f"secateur/v1/b/{SHA}/²",
        f"secateur/v1/b/{SHA}/1/2",
        "secateur/v1/d/pi-1/dn/cmd",
    ],
)
def test_a_topic_of_somebody_else_or_another_version_is_refused(topic: str) -> None:
    with pytest.raises(TopicError):
        topics.parse_down("pi-1", topic)


words = ["secateur", "v1", "d", "pi-1", "up", "dn", "b", "cmd", "ask", SHA, "0", "", "+", "#"]
topic_texts = st.text() | st.lists(st.sampled_from(words) | st.text(max_size=5)).map("/".join)


@given(topic_texts)
def test_parsing_any_text_gives_a_result_or_a_topic_error(topic: str) -> None:
    with contextlib.suppress(TopicError):
        assert topics.parse_up(topic).device in topic
    with contextlib.suppress(TopicError):
        assert topics.parse_down("pi-1", topic).kind in ("shadow", "ack", "answer", "cmd", "chunk")
