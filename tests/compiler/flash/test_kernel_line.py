from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.compiler.boot_images import BOOKWORM_CMDLINE, CONFIG

from secateur.flash.kernel_line import KERNEL_FLAGS, add_lines, merge


def test_flags_come_after_what_is_there_on_the_same_line() -> None:
    assert merge(BOOKWORM_CMDLINE, KERNEL_FLAGS) == BOOKWORM_CMDLINE.rstrip() + " psi=1 cgroup_enable=memory\n"


def test_flags_that_contradict_are_replaced() -> None:
    line = "quiet psi=0 cgroup_disable=memory cgroup_enable=cpuset rootwait\n"
    assert merge(line, KERNEL_FLAGS) == "quiet cgroup_enable=cpuset rootwait psi=1 cgroup_enable=memory\n"


def test_only_the_first_line_counts_as_for_the_firmware() -> None:
    assert merge("\ufeffroot=/dev/mmcblk0p2\r\ninit=/bin/sh\n", ["psi=1"]) == "root=/dev/mmcblk0p2 psi=1\n"


def test_blanks_between_quotes_belong_to_a_word() -> None:
    assert merge('dyndbg="file a.c  +p" quiet', ["psi=1"]) == 'dyndbg="file a.c  +p" quiet psi=1\n'


def test_words_of_an_earlier_flashing_go() -> None:
    line = "quiet systemd.run=/boot/firmware/firstrun.sh systemd.run_success_action=reboot ds=nocloud;i=old"
    assert merge(line, ["psi=1"], remove=("systemd.run", "ds=nocloud")) == "quiet psi=1\n"


@given(text=st.text(max_size=300))
def test_whatever_is_there_comes_out_as_one_line_with_each_flag_once(text: str) -> None:
    merged = merge(text, KERNEL_FLAGS)
    assert merged.endswith("\n")
    assert merged.count("\n") == 1
    assert "\r" not in merged
    words = merged.split()
    assert all(words.count(flag) == 1 for flag in KERNEL_FLAGS) or '"' in text
    assert merge(merged, KERNEL_FLAGS) == merged, "flashing once more changes nothing"


def test_lines_of_config_come_once_and_for_all_boards() -> None:
    config = "[cm4]\notg_mode=1"
    added = add_lines(config, ["dtparam=i2c_arm=on"])
    assert added == "[cm4]\notg_mode=1\n[all]\ndtparam=i2c_arm=on\n"
    assert add_lines(added, ["dtparam=i2c_arm=on"]) == added
    assert add_lines(CONFIG, []) == CONFIG
    assert add_lines(CONFIG, ["dtparam=i2c_arm=on"]).endswith("[all]\ndtparam=i2c_arm=on\n"), "what is behind a '#' is off"
