from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import secateur_profiles
from secateur_profiles.loader import BUILT_IN, ProfileError, check, load, names

PI = (BUILT_IN / "raspberry-pi-4b.toml").read_text(encoding="utf-8")


def write(directory: Path, text: str | bytes, name: str = "raspberry-pi-4b.toml") -> Path:
    path = directory / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def numbers(table: dict[str, object], prefix: str = "") -> list[str]:
    found: list[str] = []
    for key, value in table.items():
        if isinstance(value, dict):
            found += numbers(value, f"{prefix}{key}.")
        elif isinstance(value, (int, float)):
            found.append(prefix + key)
    return found


def test_the_boards_of_this_release_are_built_in():
    boards = ["raspberry-pi-3b", "raspberry-pi-4b", "raspberry-pi-5", "raspberry-pi-zero-2w"]
    assert names() == ["android-phone", "jetson-orin-nano", "jetson-orin-nx", "linux-x86-64", *boards]


@pytest.mark.parametrize("name", names())
def test_every_built_in_profile_loads_and_every_number_has_a_source(name):
    profile = load(name)
    assert profile.name == name
    assert check(name) == []
    for key in numbers(msgspec.to_builtins(profile)):
        assert profile.sources[key].strip(), key


@pytest.mark.parametrize("name", names())
def test_every_built_in_profile_starts_with_a_precision_that_is_built(name):
    assert load(name).precisions[0] in ("fp32", "fp16", "int8")


def test_only_the_phone_carries_a_battery():
    assert [name for name in names() if load(name).battery is not None] == ["android-phone"]


def test_a_path_loads_like_a_name(tmp_path):
    path = write(tmp_path, PI)
    assert load(path) == load(str(path)) == load("raspberry-pi-4b")


def test_an_unknown_name_suggests_close_ones():
    with pytest.raises(ProfileError, match="did you mean raspberry-pi-4b") as caught:
        load("raspbery-pi-4")
    assert (caught.value.file, caught.value.key) == ("raspbery-pi-4", "name")


def test_an_unknown_name_like_none_lists_what_there_is():
    with pytest.raises(ProfileError, match="linux-x86-64, raspberry-pi-3b"):
        load("zzz")


def test_a_wrong_file_is_told_with_file_key_and_reason(tmp_path):
    path = write(tmp_path, PI.replace("idle_mw = 2700", 'idle_mw = "low"'))
    with pytest.raises(ProfileError) as caught:
        load(path)
    assert (caught.value.file, caught.value.key) == (str(path), "power.idle_mw")
    assert str(caught.value) == f"{path}: power.idle_mw: {caught.value.reason}"
    assert "\n" not in str(caught.value)


def test_check_lists_every_problem_on_one_line_each(tmp_path):
    path = write(tmp_path, PI.replace("idle_mw = 2700", "idle_mw = -1").replace("cores = 4", "cores = 0"))
    lines = check(path)
    assert len(lines) == 2
    assert lines[0].startswith(f"{path}: cpu.cores: ")
    assert lines[1].startswith(f"{path}: power.idle_mw: ")


def test_the_name_inside_must_be_that_of_the_file(tmp_path):
    path = write(tmp_path, PI, "my-board.toml")
    assert check(path) == [f"{path}: name: is 'raspberry-pi-4b' but the file is named 'my-board': they must be equal"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b"name = ", "not valid TOML"),
        (b"a = " + b"[" * 100_000, "not valid TOML"),
        (b"a = " + b"9" * 100_000, "not valid TOML"),
        (b"", "is missing"),
    ],
    ids=["bytes", "syntax", "nesting", "digits", "empty"],
)
def test_a_file_that_is_no_profile_at_all(tmp_path, content, reason):
    with pytest.raises(ProfileError, match=reason):
        load(write(tmp_path, content))


@pytest.mark.parametrize("path", ["missing/board.toml", "bad\0name.toml", "x" * 5000 + ".toml"])
def test_a_file_that_cannot_be_read(path):
    with pytest.raises(ProfileError) as caught:
        load(path)
    assert caught.value.key == "(file)"
    assert len(check(path)) == 1


def test_a_directory_is_not_a_profile(tmp_path):
    with pytest.raises(ProfileError, match="cannot be read"):
        load(tmp_path)


def test_the_error_is_exported_with_the_functions():
    assert secateur_profiles.ProfileError is ProfileError
    assert secateur_profiles.load is load


lines = st.lists(st.sampled_from(PI.splitlines()), max_size=60).map("\n".join)
mutations = st.builds(
    lambda start, length, text: PI[:start] + text + PI[start + length :],
    st.integers(0, len(PI)),
    st.integers(0, 40),
    st.text(alphabet="\"'[]{}=.,#\n 0123456789-+einfatrue_\\ux\0\x1b", max_size=12),
)


@settings(deadline=None, max_examples=300)
@given(content=st.one_of(st.binary(max_size=200), st.text(max_size=200), lines, mutations))
@example(content="cpu = [1]\n[sources]\n")
@example(content="cpu = 1979-05-27T07:32:00Z\nsources = 5")
@example(content='[sources]\n"cpu.cores" = {}\n')
def test_whatever_the_file_holds_nothing_but_profile_error_is_raised(content):
    data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    with tempfile.TemporaryDirectory() as directory:
        path = write(Path(directory), data)
        problems = check(path)
        try:
            load(path)
        except ProfileError:
            assert problems
        else:
            assert problems == []
        assert all(line.startswith(f"{path}: ") and "\n" not in line for line in problems)
