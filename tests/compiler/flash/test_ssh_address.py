from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.flash.errors import FlashError
from secateur.flash.ssh_address import Address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("cam-1.local", Address("cam-1.local")),
        ("pi@192.168.1.20", Address("192.168.1.20", "pi")),
        ("pi@cam-1:2222", Address("cam-1", "pi", 2222)),
        ("[fe80::1%eth0]:22", Address("fe80::1%eth0", port=22)),
    ],
)
def test_an_address_is_written_as_ssh_writes_it(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["", "-oProxyCommand=reboot", "pi@", "pi@cam 1", "cam:0", "cam:65536", "pi@me@cam", "fe80::1", "cam\n"]
)
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(FlashError, match="write it as host, user@host or user@host:port") as raised:
        Address.parse(text)
    assert "\n" not in str(raised.value)


@given(st.text() | st.from_regex(r"[a-z@:.\[\]%0-9-]{1,20}"))
def test_what_is_taken_reads_back_as_the_same(text: str) -> None:
    try:
        address = Address.parse(text)
    except FlashError:
        return
    assert Address.parse(str(address)) == address
