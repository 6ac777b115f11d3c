"""``secateur keys``."""

from __future__ import annotations

from typing import Annotated

import typer

from secateur.bundle.keys import ROLES, create_keys, load_keys
from secateur.cli.console import print_fields, print_json
from secateur.cli.options import JsonOption, KeysOption, keys_folder


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="The signing keys of this host.", no_args_is_help=True, rich_markup_mode=None)
    group.command("init")(init)
    group.command("show")(show)
    app.add_typer(group, name="keys")


def init(keys: KeysOption = None) -> None:
    """Create signing keys and the trust root that devices get.

    Development mode: one key for each role, all in one folder. 'bundle' signs bundles and can be kept offline; 'recut'
    may only sign rungs cut from such a bundle; 'command' signs what devices should be and do. Copy root.json, and
    nothing else, to each device.
    """
    created = create_keys(keys_folder(keys))
    print_fields([("keys", str(created.folder)), ("trust root for devices", str(created.root_path))])


def show(
    keys: KeysOption = None,
    root: Annotated[bool, typer.Option("--root", help="Print the trust root itself, for a device.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show which keys there are and where the trust root is; never a private key."""
    found = load_keys(keys_folder(keys))
    if root:
        print(found.root_path.read_text(), end="")
        return
    trust = found.root
    rows = {role: (sorted(trust.keys(role)), role in found.signing) for role in ROLES}
    if as_json:
        roles = {role: {"keyids": ids, "private_key_here": here} for role, (ids, here) in rows.items()}
        print_json({"folder": str(found.folder), "root": str(found.root_path), "version": trust.version, "roles": roles})
        return
    print_fields(
        [
            ("keys", str(found.folder)),
            ("trust root for devices", f"{found.root_path} (version {trust.version})"),
            *(
                (role, f"{', '.join(ids)} ({'private key here' if here else 'kept elsewhere'})")
                for role, (ids, here) in rows.items()
            ),
            ("note", trust.note),
        ]
    )
