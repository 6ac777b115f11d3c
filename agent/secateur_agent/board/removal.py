"""Removes all that setup and the agent have made."""

from __future__ import annotations

import json
import shutil

from . import accounts, service
from .errors import SetupError
from .layout import Layout


def remove(layout: Layout, keep_state: bool) -> list[str]:
    """Stop the agent and remove it.

    Args:
        layout: where things lie.
        keep_state: leave what the agent keeps: its key, models, samples that were not sent.

    Returns:
        What was removed.

    Raises:
        SetupError: if nothing is installed, or something cannot be removed.
    """
    # What this program is run from comes last: if it is cut off, it can be run again.
    places = [layout.config, *([] if keep_state else [layout.state]), layout.releases, layout.opt]
    if not any(place.exists() for place in (*places, layout.unit)):
        raise SetupError(f"{layout.opt}: nothing is installed here")
    try:
        made = bool(json.loads(layout.record.read_bytes())["account_made"])
    except (OSError, ValueError, KeyError, TypeError):
        made = False
    removed = []
    try:
        service.disable(layout)
        for file in (layout.unit, layout.log):
            if file.exists():
                file.unlink()
                removed.append(str(file))
        service.forget(layout)
        if made and not keep_state:
            accounts.remove(layout)
            removed.append("account secateur")
        for place in places:
            if place.is_dir():
                shutil.rmtree(place)
                removed.append(str(place))
    except OSError as error:
        raise SetupError(f"{error.filename}: cannot be removed: {error.strerror}") from None
    return removed
