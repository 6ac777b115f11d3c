"""What boards say, as it is shown."""

from __future__ import annotations

import pytest
import typer

from secateur.cli.flash_ssh import finish, teller
from secateur.flash.ssh_address import Address
from secateur.flash.ssh_jobs import Job, Outcome

EVIL = "going on\x1b]0;renamed\x07 \x1b[2Jas if nothing had been"


def test_what_a_board_says_does_not_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    teller(quiet=False)("cam-1", f"secateur-setup: {EVIL}")
    with pytest.raises(typer.Exit):
        finish([Outcome(Job(Address("cam-1.local"), "cam-1"), problem=EVIL)], {}, as_json=False)
    shown = capsys.readouterr()
    assert "cam-1: going on" in shown.out
    assert "secateur: cam-1: going on" in shown.err
    assert not {"\x1b", "\x07"} & {*shown.out, *shown.err}
