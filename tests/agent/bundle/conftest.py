"""A real, tiny bundle for the tests of the bundle format."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from secateur.bundle.keys import Keys, create_keys

settings.register_profile("secateur", deadline=None)  # check results, not time: machines that run tests are busy
settings.load_profile("secateur")


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Signing keys and their trust root."""
    return create_keys(tmp_path_factory.mktemp("signing") / "keys")


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Path:
    """The folder of a bundle that no test changes."""
    from tests.bundle_factory import make_bundle

    return make_bundle(tmp_path_factory.mktemp("bundle"), keys)
