"""The configuration: every mistake is one line with file, key and reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur_agent.config import Config, ConfigError, check_config, load_config

GOOD = {"device": "pi-1", "profile": "raspberry-pi-4b", "state_dir": "state", "trust_root": "root.json"}


def write(folder: Path, text: str) -> Path:
    path = folder / "agent.toml"
    path.write_text(text)
    return path


def test_reads_a_file_and_makes_its_paths_absolute(tmp_path: Path) -> None:
    text = "\n".join(f'{key} = "{value}"' for key, value in GOOD.items())
    config = load_config(write(tmp_path, text + "\nreport_s = 2"))
    assert config.state_path == tmp_path / "state"
    assert config.trust_root == str(tmp_path / "root.json")
    assert (config.listen, config.tick_s, config.report_s, config.sysfs_root) == ("127.0.0.1:8000", 1.0, 2.0, "/")


@pytest.mark.parametrize(
    ("change", "key", "reason"),
    [
        ({"devise": "x"}, "devise", "did you mean device?"),
        ({"device": "a/b"}, "device", "use 1 to 64 letters"),
        ({"device": 3}, "device", "Expected `str`"),
        ({"state_dir": ""}, "state_dir", "is empty"),
        ({"tick_s": 0}, "tick_s", ">= 0.05"),
        ({"report_s": "5"}, "report_s", "Expected `float`"),
        ({"broker": ["x"]}, "broker", "Expected `str`"),
    ],
)
def test_names_the_key_that_is_wrong(change: dict[str, Any], key: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_config({**GOOD, **change}, Path("/etc/agent.toml"))
    assert caught.value.key == key
    assert str(caught.value).startswith(f"/etc/agent.toml: {key}: ")
    assert reason in str(caught.value)


@pytest.mark.parametrize("key", list(GOOD))
def test_names_the_key_that_is_missing(key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key}: is missing"):
        check_config({k: v for k, v in GOOD.items() if k != key}, Path("/etc/agent.toml"))


def test_a_file_that_is_missing_or_no_toml_is_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", write(tmp_path, "device = \n[")):
        with pytest.raises(ConfigError) as caught:
            load_config(path)
        assert caught.value.key == "(file)"
        assert "\n" not in str(caught.value)


def test_a_password_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    config = check_config({**GOOD, "password_file": "secret"}, tmp_path / "agent.toml")
    with pytest.raises(ConfigError, match="No such file"):
        config.password()
    (tmp_path / "secret").write_text("word\n")
    assert config.password() == "word"


VALUES = st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.lists(st.text(), max_size=2), st.none())


@given(st.dictionaries(st.one_of(st.sampled_from([*Config.__struct_fields__]), st.text()), VALUES, max_size=14))
def test_any_table_gives_a_configuration_or_one_line(table: dict[str, Any]) -> None:
    try:
        config = check_config({**GOOD, **table}, Path("/etc/agent.toml"))
    except ConfigError as error:
        shown = error.key
    else:
        shown = config.device
    assert shown


@given(st.binary(max_size=300))
def test_any_file_gives_a_configuration_or_one_line(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("config") / "agent.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert "\n" not in str(caught.value)
