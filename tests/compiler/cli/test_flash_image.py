from __future__ import annotations

import json
import lzma
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.compiler.boot_images import BOOKWORM, LIBREELEC, MIB, START, TRIXIE, boot_of, make_image, write_packed_image
from tests.wheel_factory import make_wheelhouse

from secateur.bundle.keys import create_keys
from secateur.cli import build_app
from secateur.cli.errors import run
from secateur.flash import block_devices
from secateur.flash.block_devices import BlockDevice, parse_listing
from secateur.flash.systems import target_of_system

LSBLK = Path(__file__).parent.parent / "flash" / "lsblk"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB7yF4z0Jr2dVQkq0mYh7gkqB4oPzT0m5o1v1Yb9pXcd ops"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys, and wheels for the systems of the images: their names and versions are real, their content is not."""
    folder = tmp_path_factory.mktemp("shared")
    create_keys(folder / "keys")
    for system in ("bookworm", "trixie"):
        make_wheelhouse(folder / "wheels", target_of_system(system, "aarch64", "test"))
    return folder


@pytest.fixture
def folder(tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own, with keys and wheels; environments are made once for all tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared / "cache"))
    for name in ("keys", "wheels"):
        (tmp_path / name).symlink_to(shared / name)
    return tmp_path


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A loop device of 64 MiB that a listing of lsblk (a stand-in: the real one calls it a loop device) shows as a card."""
    backing = tmp_path / "backing"
    backing.write_bytes(b"\xaa" * (64 * MIB))
    made = subprocess.run(["losetup", "--find", "--show", str(backing)], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no loop devices here ({made.stderr.strip()}); refusals are tested with recorded listings too")
    device = Path(made.stdout.strip())
    _shown(monkeypatch, BlockDevice(str(device), "disk", 64 * MIB, rm=True, hotplug=True, tran="usb", model="Test card"))
    yield device
    subprocess.run(["losetup", "--detach", str(device)], check=True)


def _shown(monkeypatch: pytest.MonkeyPatch, *devices: BlockDevice) -> None:
    monkeypatch.setattr(block_devices, "list_devices", lambda: devices)


def _flash(folder: Path, *arguments: str) -> int:
    options = [
        "--profile",
        "raspberry-pi-4b",
        "--no-broker",
        "--keys",
        str(folder / "keys"),
        "--state",
        str(folder / "state"),
    ]
    return run(build_app(), ["flash", "image", *arguments, *options, "--wheelhouse", str(folder / "wheels")])


def _image(folder: Path, files: dict[str, str] = BOOKWORM, name: str = "raspios.img.xz") -> str:
    write_packed_image(folder / name, files)
    return str(folder / name)


def _refused(capsys: pytest.CaptureFixture[str], text: str) -> None:
    error = capsys.readouterr().err
    assert text in error
    assert error.startswith("secateur: ")
    assert error.count("\n") == 1


def test_a_card_is_written_and_told(folder: Path, card: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "password").write_text("correct horse\n")
    (folder / "ssh-keys").write_text(KEY + "\n")
    options = ["--wifi", "Home", "--wifi-country", "DE", "--wifi-password-file", str(folder / "password")]
    options += ["--user", "ops", "--authorized-keys", str(folder / "ssh-keys")]
    assert _flash(folder, _image(folder), "--id", "pi-kitchen", "--to-device", str(card), "--yes", str(card), *options) == 0
    out = capsys.readouterr().out
    assert "secateur/environment.tar.gz" in out
    assert "firstrun.sh: cmdline.txt and config.txt without user-data" in out
    assert "the card holds the network's key, not its password" in out
    assert "every byte read back from the medium" in out
    boot = boot_of(card)
    assert "set_hostname 'pi-kitchen'" in boot.text("firstrun.sh")
    assert b"correct horse" not in card.read_bytes()


def test_json_is_for_programs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = folder / "pi-kitchen.img"
    assert _flash(folder, _image(folder, TRIXIE), "--id", "pi-kitchen", "-o", str(target), "--json") == 0
    (made,) = json.loads(capsys.readouterr().out)
    assert made["mechanism"] == "cloud-init"
    assert made["bytes"] == target.stat().st_size
    assert {"secateur/provision.json", "user-data", "cmdline.txt"} <= {file["name"] for file in made["files"]}
    assert _flash(folder, _image(folder, TRIXIE), "--id", "pi-kitchen", "-o", str(target)) == 1
    _refused(capsys, "there is such a file")


def test_many_files_have_ids_from_a_pattern(folder: Path) -> None:
    target = folder / "{}.img"
    assert _flash(folder, _image(folder), "--id", "cam-{:03d}", "--count", "2", "-o", str(target)) == 0
    assert '"cam-002"' in boot_of(folder / "cam-002.img").text("secateur/provision.json")


def test_a_written_card_is_changed_where_it_is(folder: Path, card: Path) -> None:
    image = make_image(folder / "raw", BOOKWORM)
    with card.open("r+b") as file:
        file.write(image.read_bytes())
    assert _flash(folder, str(card), "--id", "pi-kitchen", "--yes", str(card)) == 0
    assert boot_of(card).has("secateur/provision.json")
    assert _flash(folder, str(image), "--id", "pi-kitchen", "--in-place") == 0
    assert boot_of(image).has("secateur/provision.json")


@pytest.mark.parametrize(
    ("listing", "device", "why"),
    [
        ("laptop.json", "/dev/nvme0n1", "/dev/nvme0n1 is the disk of this system (/dev/nvme0n1p1 is mounted at /boot/efi)"),
        ("virtual-machine.json", "/dev/vda", "/dev/vda is the disk of this system (/dev/vda is mounted at /)"),
        ("board-on-usb.json", "/dev/sda", "/dev/sda is the disk of this system (/dev/sda1 is mounted at /boot/firmware)"),
        ("laptop.json", "/dev/sdb", "/dev/sdb is mounted (/dev/sdb1 at /media/me/PHOTOS)"),
        ("laptop.json", "/dev/sdf", "/dev/sdf is not removable (sata)"),
    ],
)
def test_disks_that_are_no_cards_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, listing: str, device: str, why: str
) -> None:
    """By listings of other machines: no such device is here, so that nothing could be written even if it were tried."""
    _shown(monkeypatch, *parse_listing((LSBLK / listing).read_bytes()))
    assert _flash(folder, _image(folder), "--id", "pi-kitchen", "--to-device", device, "--yes", device) == 1
    _refused(capsys, why)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"mountpoints": ("/",)}, "is the disk of this system"),
        ({"mountpoints": ("/media/x",)}, "is mounted"),
        ({"size": 20 * MIB}, "is too small: it has 0.02 GB, the image 0.05"),
        ({"ro": True}, "is read-only"),
        ({"rm": False, "hotplug": False}, "is not removable"),
        ({"fstype": "crypto_LUKS"}, "belongs to an encrypted volume"),
    ],
)
def test_a_target_that_is_refused_is_not_touched(
    folder: Path,
    card: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, object],
    why: str,
) -> None:
    good = {"name": str(card), "type": "disk", "size": 64 * MIB, "rm": True, "hotplug": True, "tran": "usb"}
    _shown(monkeypatch, BlockDevice(**{**good, **change}))  # type: ignore[arg-type]
    before = card.read_bytes()
    assert _flash(folder, _image(folder), "--id", "pi-kitchen", "--to-device", str(card), "--yes", str(card)) == 1
    _refused(capsys, why)
    assert card.read_bytes() == before


@pytest.mark.parametrize("what", ["not an image", "an unknown system", "a zip archive", "cut off"])
def test_an_image_that_is_refused_leaves_the_card_as_it_is(
    folder: Path, card: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    image = folder / "x.img.xz"
    if what == "an unknown system":
        _image(folder, LIBREELEC, image.name)
    elif what == "cut off":
        _image(folder, name=image.name)
        image.write_bytes(image.read_bytes()[:-20])
    else:
        image.write_bytes(b"PK\x03\x04" if what == "a zip archive" else lzma.compress(bytes(2 * MIB)))
    before = card.read_bytes()
    assert _flash(folder, str(image), "--id", "pi-kitchen", "--to-device", str(card), "--yes", str(card)) == 1
    said = {"not an image": "not a disk image", "an unknown system": "no known first-boot mechanism"}
    _refused(capsys, said.get(what, what))
    assert card.read_bytes() == before


def test_nothing_is_erased_that_was_not_named(folder: Path, card: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = card.read_bytes()
    image = _image(folder)
    assert _flash(folder, image, "--id", "pi-kitchen", "--to-device", str(card)) == 1
    _refused(capsys, f"nobody can be asked; '--yes {card}' says that it may be written")
    assert _flash(folder, image, "--id", "pi-kitchen", "--to-device", str(card), "--yes", "/dev/sdb") == 1
    _refused(capsys, "not the device that would be written")
    assert card.read_bytes() == before


def test_the_name_is_typed_at_a_terminal(
    folder: Path, card: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["yes", str(card)])
    asked: list[str] = []

    def prompt(text: str, **_: object) -> str:
        asked.append(text)
        return next(answers)

    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.prompt", prompt)
    before = card.read_bytes()
    image = _image(folder)
    assert _flash(folder, image, "--id", "pi-kitchen", "--to-device", str(card)) == 1
    _refused(capsys, f"'yes' was typed, not {card}; nothing was written")
    assert card.read_bytes() == before
    assert _flash(folder, image, "--id", "pi-kitchen", "--to-device", str(card)) == 0
    assert asked[0] == f"{card}: Test card, 0.1 GB\nType {card} to erase it for pi-kitchen"


def test_a_card_that_was_changed_while_the_question_stood_is_not_touched(
    folder: Path, card: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = BlockDevice(str(card), "disk", 64 * MIB, rm=True, hotplug=True, tran="usb", model="Test card", serial="1")

    def prompt(_: str, **__: object) -> str:
        _shown(monkeypatch, msgspec.structs.replace(good, serial="2"))
        return str(card)

    _shown(monkeypatch, good)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.prompt", prompt)
    before = card.read_bytes()
    assert _flash(folder, _image(folder), "--id", "pi-kitchen", "--to-device", str(card)) == 1
    _refused(capsys, f"{card}: by now another card is there ({card}: Test card, 0.1 GB); nothing was written")
    make_image(folder / "raw", BOOKWORM)
    with card.open("r+b") as file:
        file.write((folder / "raw").read_bytes())
    before = card.read_bytes()
    _shown(monkeypatch, good)
    assert _flash(folder, str(card), "--id", "pi-kitchen") == 1
    _refused(capsys, "by now another card is there")
    assert card.read_bytes() == before


def test_who_may_not_write_the_card_is_told_how_to_become_its_owner(
    folder: Path, card: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    may, access = iter([False, False, True]), os.access
    monkeypatch.setattr("os.access", lambda path, *rest: next(may) if path == str(card) else access(path, *rest))
    image = _image(folder)
    assert _flash(folder, image, "--id", "pi-kitchen", "--to-device", str(card), "--yes", str(card)) == 1
    _refused(capsys, f"{card}: permission denied; run 'sudo chown ")
    asked: list[str] = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.prompt", lambda text, **_: asked.append(text))
    assert _flash(folder, image, "--id", "pi-kitchen", "--to-device", str(card), "--yes", str(card)) == 0
    (question,) = asked
    assert question.startswith(f"You may not write {card}. Run 'sudo chown ")


def test_an_interrupted_card_is_told_to_be_unusable(
    folder: Path, card: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: Path) -> Iterator[bytes]:
        yield bytes(4 * MIB)
        raise KeyboardInterrupt

    monkeypatch.setattr("secateur.flash.image._chunks", interrupted)
    assert _flash(folder, _image(folder), "--id", "pi-kitchen", "--to-device", str(card), "--yes", str(card)) == 130
    _refused(capsys, f"interrupted: the card in {card} is not usable until it is flashed again")


def test_a_card_that_was_not_written_yet_when_interrupted_is_as_it_was(
    folder: Path, card: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("secateur.flash.image.customise", interrupted)
    before = card.read_bytes()
    assert _flash(folder, _image(folder), "--id", "pi-kitchen", "--to-device", str(card), "--yes", str(card)) == 130
    assert capsys.readouterr().err == ""
    assert card.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--id", "a"], "say where to"),
        (["--id", "a", "-o", "x", "--to-device", "/dev/sdb"], "say where to"),
        (["--id", "cam", "--count", "2", "-o", "{}.img"], "holds one number"),
        (["--id", "cam-{}-{}", "--count", "2", "-o", "{}.img"], "holds one number"),
        (["--id", "a{b}c{}", "--count", "2", "-o", "{}.img"], "use 1 to 64 letters"),
        (["--id", "a}b{}", "--count", "2", "-o", "{}.img"], "use 1 to 64 letters"),
        (["--id", "a", "-o", "x", "--wifi", "caf\udce9", "--wifi-country", "DE"], "no control characters"),
        (["--id", "cam-{}", "--count", "2", "-o", "one.img"], "it holds {} for the device id"),
        (["--id", "a/b", "-o", "x"], "use 1 to 64 letters"),
        (["--id", "a", "-o", "x", "--wifi", "Home"], "--wifi-country"),
        (["--id", "a", "-o", "x", "--wifi", "Home", "--wifi-country", "DE"], "SECATEUR_WIFI_PASSWORD"),
        (["--id", "a", "-o", "x", "--wifi-country", "DE"], "need --wifi SSID"),
        (["--id", "a", "-o", "x", "--authorized-keys", "none"], "need --user NAME"),
        (["--id", "a", "-o", "x", "--user", "ops"], "nobody can log in"),
        (["--id", "a", "-o", "x", "--listen", "0.0.0.0"], "--listen '0.0.0.0': expected HOST:PORT"),
        (["--id", "a", "-o", "x", "--listen", "0.0.0.0:80"], "the agent is not root; choose a port of 1024 or more"),
        (["--id", "a", "-o", "x", "--listen", "unix:/tmp/x"], "a socket of the agent lies in /var/lib/secateur"),
        (["--id", "a", "-o", "x", "--in-place"], "leave out --to-device"),
        (["--id", "a", "--in-place"], "it is compressed; unpack it first"),
        (["--id", "pi-kitchen", "-o", "none/x"], "none"),
    ],
)
def test_options_that_contradict_are_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, options: list[str], why: str
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.delenv("SECATEUR_WIFI_PASSWORD", raising=False)
    assert _flash(folder, _image(folder), *options) == 1
    _refused(capsys, why)


def test_by_sudo_the_keys_must_be_named(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_UID", "1000")
    monkeypatch.setenv("HOME", "/root")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    image = _image(folder)
    command = ["flash", "image", image, "--id", "a", "-o", str(folder / "x"), "--profile", "raspberry-pi-4b", "--no-broker"]
    assert run(build_app(), command) == 1
    _refused(capsys, "run by sudo: keys and tokens would be root's")
    assert _flash(folder, image, "--id", "a", "-o", str(folder / "x")) == 0


def test_a_password_never_comes_from_the_command_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECATEUR_WIFI_PASSWORD", "correct horse")
    target = folder / "x.img"
    options = ["--id", "pi-kitchen", "-o", str(target), "--wifi", "Home", "--wifi-country", "DE"]
    assert _flash(folder, _image(folder), *options) == 0
    assert "set_wlan 'Home' '" in boot_of(target).text("firstrun.sh")
    assert b"correct horse" not in target.read_bytes()
    assert target.read_bytes()[:START] == write_packed_image(folder / "again.img.xz", BOOKWORM)[:START]
