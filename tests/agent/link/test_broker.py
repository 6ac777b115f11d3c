from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur_agent.link import BrokerAddress, BrokerAddressError


@pytest.mark.parametrize(
    ("url", "address", "text"),
    [
        ("mqtt://localhost", BrokerAddress("localhost", 1883), "mqtt://localhost:1883"),
        ("mqtt://127.0.0.1:1884/", BrokerAddress("127.0.0.1", 1884), "mqtt://127.0.0.1:1884"),
        ("mqtts://broker.example", BrokerAddress("broker.example", 8883, True), "mqtts://broker.example:8883"),
        ("mqtt://pi%40home@h:1", BrokerAddress("h", 1, username="pi@home"), "mqtt://h:1"),
        ("mqtt://[::1]:1883", BrokerAddress("::1", 1883), "mqtt://[::1]:1883"),
    ],
)
def test_addresses(url: str, address: BrokerAddress, text: str) -> None:
    assert BrokerAddress.parse(url) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "url",
    ["", "localhost", "localhost:1883", "http://h", "mqtt://", "mqtt://h:0", "mqtt://h:99999", "mqtt://h/topic",
     "mqtt://a..b", "mqtt://h?x", "mqtt://ü", "mqtt://h:x", "mqtt://-h", "mqtt://[::1"],
)  # fmt: skip
def test_anything_else_is_one_line_with_an_example(url: str) -> None:
    with pytest.raises(BrokerAddressError, match="write it as mqtt://host:1883") as caught:
        BrokerAddress.parse(url)
    assert "\n" not in str(caught.value)


def test_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(BrokerAddressError, match="password_file") as caught:
        BrokerAddress.parse("mqtt://user:hunter2@host:1883")
    assert "hunter2" not in str(caught.value)


@given(st.text(max_size=60) | st.text(max_size=40).map("mqtt://".__add__))
def test_any_text_is_an_address_or_one_line(url: str) -> None:
    try:
        address = BrokerAddress.parse(url)
    except BrokerAddressError:
        return
    again = BrokerAddress.parse(str(address))
    assert (again.host, again.port, again.tls) == (address.host, address.port, address.tls)
