"""``secateur devices``, ``secateur reprunes`` and ``secateur status``."""

from __future__ import annotations

import time

import typer

from secateur.cli.console import ago, clock, print_fields, print_json, print_table, size
from secateur.cli.options import DeviceArgument, JsonOption, StateOption, UrlOption, find_host, state_folder


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="The devices of the fleet.", no_args_is_help=True, rich_markup_mode=None)
    group.command("list")(list_devices)
    group.command("show")(show_device)
    group.command("enrolments")(list_enrolments)
    group.command("forget")(forget_device)
    app.add_typer(group, name="devices")
    app.command("reprunes")(reprunes)
    app.command("status")(status)


def list_devices(as_json: JsonOption = False, state: StateOption = None, url: UrlOption = "") -> None:
    """List all devices, with what they run now."""
    with find_host(state, url) as host:
        devices = host.devices()
    if as_json:
        print_json(devices)
        return
    names = ("device", "profile", "state", "install", "model", "rung", "pin")
    rows = [(*(d[name] for name in names), ago(d["last_seen_s"]), d["fault"]) for d in devices]
    print_table(
        (*names, "heard of", "fault"), rows, "no device has introduced itself yet; start an agent with this broker's address"
    )


def show_device(device: DeviceArgument, as_json: JsonOption = False, state: StateOption = None, url: UrlOption = "") -> None:
    """Show all that is known of one device.

    What it is, what it reports, what it should be, and what was sent to it.
    """
    with find_host(state, url) as host:
        found = host.device(device)
    if as_json:
        print_json(found)
        return
    birth, reported, desired = found["birth"] or {}, found["reported"] or {}, found["desired"] or {}
    policy = desired.get("policy", {})
    print_fields(
        [
            ("device", found["device"]),
            ("profile", found["profile"]),
            ("simulated", found["simulated"]),
            ("state", " ".join(filter(None, (found["state"], found["state_reason"])))),
            ("heard of", ago(found["last_seen_s"])),
            ("key", found["keyid"]),
            ("enrolled", found["enrolment"]),
            ("agent", birth.get("agent_version")),
            ("machine", birth.get("machine")),
            ("runtime", f"{birth.get('runtime', '')} {birth.get('runtime_version', '')}".strip()),
            ("providers", ", ".join(reported.get("providers", ()) or birth.get("providers", ()))),
            ("endpoint", found["endpoint"]),
            ("install", found["install"]),
            ("model", found["model"]),
            ("rung", found["rung"]),
            ("rungs", ", ".join(reported.get("rungs", ()))),
            ("fault", found["fault"]),
            ("shadow", f"reported {found['version']}, desired {desired.get('version', 0)}"),
            ("desired model", (desired.get("model") or {}).get("name")),
            ("pin", desired.get("pin")),
            ("policy", ", ".join(f"{name} {value}" for name, value in policy.items())),
            ("re-cut rungs", len(desired.get("recuts", ())) or None),
            ("published", f"{size(found['broadcast_bytes'])} to all, {size(found['repair_bytes'])} to it alone"),
        ]
    )
    if reported.get("measurements"):
        print()
        rows = [
            (
                m["rung"],
                f"{m['latency_p50_ms']:.2f}",
                f"{m['latency_p95_ms']:.2f}",
                f"{m['peak_rss_mb']:.0f}",
                "" if m.get("energy_mj") is None else f"{m['energy_mj']:.2f} ({m['energy_quality']})",
            )
            for m in reported["measurements"]
        ]
        print_table(("rung", "p50 ms", "p95 ms", "peak MB", "energy mJ"), rows, "")
    if found["commands"]:
        print()
        rows2 = [(c["id"], clock(c["sent_s"]), c["status"], c["text"]) for c in found["commands"]]
        print_table(("command", "sent", "status", "text"), rows2, "")


def list_enrolments(as_json: JsonOption = False, state: StateOption = None) -> None:
    """List the one-time tokens that devices were flashed with, and which of them were used.

    Reads the state folder itself, so the controller need not run. The tokens are not shown: nobody but the device has them.
    """
    from secateur.fleet.enrolment import open_enrolments

    folder, found = state_folder(state), []
    if (folder / "fleet.sqlite").exists():
        with open_enrolments(folder) as enrolments:
            found = enrolments.all()
    now_s = time.time()
    if as_json:
        print_json(
            [
                {
                    "device": each.device,
                    "status": each.status(now_s),
                    "created_s": each.created_s,
                    "expires_s": each.expires_s,
                    "used_s": each.used_s,
                    "keyid": each.used_key,
                    "note": each.note,
                }
                for each in found
            ]
        )
        return
    rows = [
        (
            each.device,
            each.status(now_s),
            clock(each.created_s),
            "never" if each.expires_s is None else clock(each.expires_s),
            clock(each.used_s),
            each.used_key,
            each.note,
        )
        for each in found
    ]
    columns = ("device", "token", "created", "expires", "used", "key", "note")
    print_table(columns, rows, "no token was made yet; 'secateur flash' makes one for each device")


def forget_device(device: DeviceArgument, as_json: JsonOption = False, state: StateOption = None) -> None:
    """Forget the key and the tokens of a device, so that another key can be enrolled under its id.

    What it sent stays. With '--enrolment open' the next key that comes with this id is trusted; with 'token' the device has
    to be flashed again. Works whether the controller runs or not. Its password at the broker is another matter.
    """
    from secateur.fleet.enrolment import EnrolmentError, open_enrolments

    folder = state_folder(state)
    if not (folder / "fleet.sqlite").exists():
        raise EnrolmentError(f"state folder {folder}: no controller has used it; name that of yours with --state")
    with open_enrolments(folder) as enrolments:
        tokens = enrolments.forget(device)
    if as_json:
        print_json({"device": device, "tokens": tokens})
        return
    print(f"{device} is forgotten: its key, and {tokens} token{'' if tokens == 1 else 's'}")


def reprunes(as_json: JsonOption = False, state: StateOption = None, url: UrlOption = "") -> None:
    """List the rungs that devices asked for, and what came of it."""
    with find_host(state, url) as host:
        found = host.reprunes()
    if as_json:
        print_json(found)
        return
    columns = ("asked", "device", "status", "rung", "accuracy", "seconds", "bytes", "why")
    rows = [
        (
            clock(r["asked_s"]),
            r["device"],
            r["status"] + (" (reused)" if r["reused"] else ""),
            r["rung"],
            "" if r["accuracy"] is None else f"{r['accuracy']:.3f}",
            f"{r['seconds']:.1f}",
            size(r["bytes"]),
            r["text"] or r["reason"],
        )
        for r in found
    ]
    print_table(columns, rows, "no device has asked for a rung yet")


def status(as_json: JsonOption = False, state: StateOption = None, url: UrlOption = "") -> None:
    """Show the state of the controller itself."""
    with find_host(state, url) as host:
        found = host.status()
    if as_json:
        print_json(found)
    else:
        print_fields((name.replace("_", " "), str(value)) for name, value in found.items())
