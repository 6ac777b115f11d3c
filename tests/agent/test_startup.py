"""What must be right before the agent runs is one line if it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

import secateur_profiles
from secateur.bundle.keys import create_keys
from secateur_agent.config import ConfigError
from secateur_agent.startup import is_held, prepare


def test_a_profile_whose_runtime_has_no_backend_is_one_line_that_names_those_there_are(tmp_path: Path) -> None:
    profile = (Path(secateur_profiles.__file__).parent / "profiles" / "linux-x86-64.toml").read_text()
    text = profile.replace('name = "onnxruntime"', 'name = "abacus"').replace('"linux-x86-64"', '"mine"')
    (tmp_path / "mine.toml").write_text(text)
    root = create_keys(tmp_path / "keys").root_path
    lines = {"device": "d", "profile": "mine.toml", "state_dir": "state", "trust_root": str(root)}
    (tmp_path / "agent.toml").write_text("".join(f'{key} = "{value}"\n' for key, value in lines.items()))
    with pytest.raises(ConfigError, match=r"^[^\n]*: profile: mine: runtime 'abacus' is not one of [^\n]*onnxruntime"):
        prepare(tmp_path / "agent.toml")


def test_who_asks_whether_an_agent_runs_leaves_nothing_behind(tmp_path: Path) -> None:
    """A lock file of root's would keep the agent's own account from ever starting."""
    assert not is_held(tmp_path)
    assert not list(tmp_path.iterdir())
