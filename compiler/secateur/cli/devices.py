"""``secateur devices``, ``secateur reprunes`` and ``secateur status``."""

from __future__ import annotations

import typer

from secateur.cli.console import ago, clock, print_fields, print_json, print_table, size
from secateur.cli.options import DeviceArgument, JsonOption, StateOption, UrlOption, find_host


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="The devices of the fleet.", no_args_is_help=True, rich_markup_mode=None)
    group.command("list")(list_devices)
    group.command("show")(show_device)
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
