"""Removes all that setup and the agent have made."""

from __future__ import annotations

import shutil
from pathlib import Path

from . import accounts, provision, record, service
from .errors import SetupError
from .layout import Layout


def remove(layout: Layout, keep_state: bool) -> list[str]:
    """Stop the agent and remove it.

    Args:
        layout: where things lie.
        keep_state: leave what the agent keeps: its key, models, samples that were not sent; and what can remove that, too.

    Returns:
        What was removed.

    Raises:
        SetupError: if nothing is installed, or something cannot be removed.
    """
    # What this program is run from comes last: if it is cut off, it can be run again.
    places = [layout.config, layout.releases, *([] if keep_state else [layout.state, layout.opt])]
    if not any(place.exists() for place in (*places, layout.unit)):
        raise SetupError(f"{layout.opt}: nothing is installed here")
    known = record.read(layout)
    removed = []
    try:
        service.disable(layout)
        for file in (layout.unit, layout.log):
            if file.exists():
                file.unlink()
                removed.append(str(file))
        service.forget(layout)
        if known.get("account_made") is True and not keep_state:
            accounts.remove(layout)
            removed.append("account secateur")
        for place in [*_on_card(known), *places]:
            if place.is_dir():
                shutil.rmtree(place)
                removed.append(str(place))
        for link in (layout.current, layout.previous, layout.trial):
            link.unlink(missing_ok=True)
    except OSError as error:
        raise SetupError(f"{error.filename}: cannot be removed: {error.strerror}") from None
    return removed


def _on_card(known: dict[str, object]) -> list[Path]:
    """The payload of the first boot, if it is still where it was."""
    folder = known.get("payload")
    return [Path(folder)] if isinstance(folder, str) and (Path(folder) / provision.NAME).is_file() else []
