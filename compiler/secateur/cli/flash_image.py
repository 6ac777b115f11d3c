"""``secateur flash image``."""

from __future__ import annotations

import getpass
import os
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from secateur.cli.flash_output import Bars, print_cards, show_card, shown
from secateur.cli.flash_payload import Payloads, with_payload
from secateur.cli.options import JsonOption
from secateur.flash import block_devices
from secateur.flash.device_writer import Agreed
from secateur.flash.errors import FlashError
from secateur.flash.image import Order, customise_card, flash_cards, room_for
from secateur.flash.settings import Settings, User, Wifi, make_user, make_wifi
from secateur.flash.source import ImageSource
from secateur_agent.protocol.topics import checked_id

_PASSWORD_VARIABLE = "SECATEUR_WIFI_PASSWORD"
_NUMBER = re.compile(r"\{(?::0?[1-9]?d)?\}")
_I2C = ("dtparam=i2c_arm=on",)
_MOST_CARDS = 1000


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("image")(with_payload(image))


def image(
    payloads: Payloads,
    image: Annotated[
        str,
        typer.Argument(
            metavar="IMG|DEVICE", help="A disk image, or a card that holds a system already.", show_default=False
        ),
    ],
    device_id: Annotated[
        str,
        typer.Option(
            "--id", metavar="ID", help="Id of the device, its host name too; with --count a pattern.", show_default=False
        ),
    ],
    to_device: Annotated[
        str, typer.Option(metavar="DEVICE", help="Erase this card and write it, such as /dev/sdb.", show_default=False)
    ] = "",
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="FILE", help="Write an image file; {} is the device id.", show_default=False),
    ] = "",
    in_place: Annotated[bool, typer.Option("--in-place", help="Change the boot partition of IMG itself.")] = False,
    count: Annotated[int, typer.Option(help="How many cards; --id then holds {} or {:03d}.", min=1, max=_MOST_CARDS)] = 1,
    first: Annotated[int, typer.Option(help="Number of the first one.", min=0)] = 1,
    wifi: Annotated[
        str, typer.Option(metavar="SSID", help="Wi-Fi to join; the password is asked for.", show_default=False)
    ] = "",
    wifi_password_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help=f"Its password in a file. Or set {_PASSWORD_VARIABLE}.", show_default=False),
    ] = None,
    wifi_country: Annotated[
        str, typer.Option(metavar="CC", help="Country, such as DE: Wi-Fi is off without.", show_default=False)
    ] = "",
    user: Annotated[str, typer.Option(metavar="NAME", help="Who may log in; SSH is switched on.", show_default=False)] = "",
    authorized_keys: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Public SSH keys of that user, one a line.", show_default=False)
    ] = None,
    password_hash_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="That user's password as 'openssl passwd -6' prints it.", show_default=False),
    ] = None,
    i2c: Annotated[
        bool, typer.Option("--i2c", help="Switch a Raspberry Pi's I2C bus on, for an INA219 or INA226 that measures power.")
    ] = False,
    yes: Annotated[str, typer.Option(metavar="DEVICE", help="Erase this card without asking.", show_default=False)] = "",
    max_size: Annotated[int, typer.Option(metavar="GB", help="A card with more is refused: it may be a disk.", min=1)] = 256,
    as_json: JsonOption = False,
) -> None:
    """Make an SD card, or an image file, from which a board starts as a device of the fleet.

    IMG is a disk image of Raspberry Pi OS (64-bit) or a Debian image for clouds: .img, or compressed with xz, zstd or gzip.
    It is written to a card with --to-device, or to a file with --output. Only its boot partition is changed: settings go
    where the image itself looks for them at its first boot (cloud-init, firstrun.sh or a preseed file). What was there is
    kept beside it, with '.before-secateur' at its end.

    DEVICE is a card that another program has written; then only its boot partition is written, as with --in-place for a
    file.

    Everything is read back from the card and compared. Its partition table is written last: a card that was pulled out too
    early does not start. Only removable cards are written, never a disk of this system, nothing that is mounted, and only
    after you have typed the name of the device.

    A Wi-Fi password is not written: the card holds the key that is derived from it, which opens that network and nothing
    else.

    \b
    Examples:
      secateur flash image raspios.img.xz --profile raspberry-pi-4b --broker-folder ~/secateur-broker --id pi-kitchen
        --to-device /dev/sdb --wifi Home --wifi-country DE
      … --id 'cam-{:03d}' --count 20 --to-device /dev/sdb                      twenty cards, one after the other
      … --id gate -o gate.img --user ops --authorized-keys ~/.ssh/id_ed25519.pub           a file, not a card
      secateur flash image /dev/sdb --profile raspberry-pi-4b --no-broker --id pi-kitchen  a card that holds a system
    """
    ids = _ids(device_id, count, first)
    login = _login(user, authorized_keys, password_hash_file)
    network = _network(wifi, wifi_password_file, wifi_country)
    payloads.access.require_free(ids)
    boards = _Boards(network, login, _I2C if i2c else ())
    cap = max_size * block_devices.GB
    source = Path(image)
    is_card = _is_block_device(source)
    with shown(as_json) as told:
        if is_card or in_place:
            if to_device or output or count > 1:
                raise FlashError("DEVICE and --in-place change what is there: leave out --to-device, --output and --count")
            if in_place and ImageSource(source).kind != "raw":
                raise FlashError(f"--in-place {image}: it is compressed; unpack it first, or write a new one with --output")
            order = Order(ids[0], _resolved(image) if is_card else source)
            agreed = _confirm(order, 0, cap, yes, "change the boot partition of", told) if is_card else None
            made = [customise_card(order, payloads.payload_for, boards.settings(ids[0]), told, agreed)]
            told.pause()
            if as_json:
                print_cards(made)
            else:
                show_card(made[0], network)
            return
        orders = _orders(ids, to_device, output)
        made = []

        def check(order: Order, needed: int) -> Agreed | None:
            if not to_device:
                room_for(order.target.parent, needed, "--output")
                return None
            told.pause()
            if made:
                _insert_next(order)
            return _confirm(order, needed, cap, yes, "erase", told)

        try:
            for card in flash_cards(
                ImageSource(source),
                orders,
                payloads.prepare,
                payloads.payload_for,
                boards.settings,
                check,
                told,
                None if to_device else _unpack_to(orders),
            ):
                made.append(card)
                told.pause()
                if not as_json:
                    show_card(card, network)
        except KeyboardInterrupt:
            half_written = to_device and "writing" in told.steps
            told.pause()
            if half_written:
                print(
                    f"secateur: interrupted: the card in {to_device} is not usable until it is flashed again",
                    file=sys.stderr,
                )
            raise
    if as_json:
        print_cards(made)


class _Boards:
    """What all boards of one call have in common."""

    def __init__(self, wifi: Wifi | None, user: User | None, config_lines: tuple[str, ...]) -> None:
        self.wifi, self._user, self._lines = wifi, user, config_lines

    def settings(self, device: str) -> Settings:
        return Settings(device, self.wifi, self._user, self._lines)


def _ids(pattern: str, count: int, first: int) -> list[str]:
    if count == 1 and not _NUMBER.search(pattern):
        return [checked_id(pattern)]
    numbers, rest = _NUMBER.findall(pattern), _NUMBER.sub("", pattern)
    if len(numbers) != 1 or rest.strip("{}") != rest:
        raise FlashError(f"--id {pattern!r}: with --count it holds one number, {{}} or {{:03d}}, as in 'cam-{{:03d}}'")
    before, after = _NUMBER.split(pattern)
    return [checked_id(f"{before}{numbers[0].format(each)}{after}") for each in range(first, first + count)]


def _orders(ids: list[str], to_device: str, output: str) -> list[Order]:
    if bool(to_device) == bool(output):
        raise FlashError("say where to: --to-device DEVICE for a card, --output FILE for an image file")
    if to_device:
        return [Order(one, _resolved(to_device)) for one in ids]
    targets = [Path(output.replace("{}", one)) for one in ids]
    if len(set(targets)) < len(targets):
        raise FlashError(f"--output {output}: with --count it holds {{}} for the device id, as in 'cards/{{}}.img'")
    for target in targets:
        try:
            there = target.exists()
        except OSError as error:
            raise FlashError(f"--output {target}: {error.strerror}") from None
        if there:
            raise FlashError(f"--output {target}: there is such a file; remove it or choose another name")
    return [Order(one, target) for one, target in zip(ids, targets)]


def _resolved(name: str) -> Path:
    """Follow links such as /dev/disk/by-id/…, which lsblk does not list."""
    return Path(os.path.realpath(name))


def _unpack_to(orders: list[Order]) -> Path | None:
    folder = orders[0].target.parent
    return folder if folder.is_dir() else None


def _is_block_device(path: Path) -> bool:
    try:
        return path.is_block_device()
    except OSError:  # in a folder that may not be entered; reading it tells that
        return False


def _login(user: str, authorized_keys: Path | None, password_hash_file: Path | None) -> User | None:
    if not user:
        if authorized_keys is not None or password_hash_file is not None:
            raise FlashError("--authorized-keys and --password-hash-file need --user NAME")
        return None
    return make_user(user, authorized_keys, _read_secret(password_hash_file, "--password-hash-file"))


def _network(ssid: str, password_file: Path | None, country: str) -> Wifi | None:
    if not ssid:
        if password_file is not None or country:
            raise FlashError("--wifi-password-file and --wifi-country need --wifi SSID")
        return None
    make_wifi(ssid, "", country)  # before anybody types a password
    if password_file is not None:
        password = _read_secret(password_file, "--wifi-password-file")
    elif _PASSWORD_VARIABLE in os.environ:
        password = os.environ[_PASSWORD_VARIABLE]
    elif sys.stdin.isatty():
        password = typer.prompt(
            f"password of {ssid} (empty: an open network)", hide_input=True, default="", show_default=False, err=True
        )
    else:
        raise FlashError(f"--wifi {ssid}: give its password in --wifi-password-file FILE or in {_PASSWORD_VARIABLE}")
    return make_wifi(ssid, password, country)


def _read_secret(path: Path | None, option: str) -> str:
    if path is None:
        return ""
    try:
        return path.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise FlashError(f"{option} {path}: cannot be read: {error}") from None


def _confirm(order: Order, needed: int, cap: int, yes: str, what: str, told: Bars) -> Agreed:
    """Make sure that a card may be written and that the user means it.

    Returns:
        How to make sure, once it is open, that it is the same.

    Raises:
        FlashError: if not.
    """
    name = str(order.target)
    card = block_devices.require_card(name, block_devices.list_devices(), needed, cap)

    def agreed() -> None:
        now = block_devices.require_card(name, block_devices.list_devices(), needed, cap)
        if now.identity != card.identity:
            raise FlashError(f"{name}: by now another card is there ({block_devices.describe(now)}); nothing was written")

    if yes and str(_resolved(yes)) != name:
        raise FlashError(f"--yes {yes}: not the device that would be written, {name}; nothing was written")
    _allow(name, told)
    if yes:
        return agreed
    if not sys.stdin.isatty():
        raise FlashError(f"{name}: nobody can be asked; '--yes {name}' says that it may be written")
    told.pause()
    typed = typer.prompt(f"{block_devices.describe(card)}\nType {name} to {what} it for {order.device}", err=True)
    if typed.strip() != name:
        raise FlashError(f"{typed!r} was typed, not {name}; nothing was written")
    return agreed


def _allow(name: str, told: Bars) -> None:
    """Have the user become the card's owner. Not root: keys, tokens and passwords of root are not the user's.

    Raises:
        FlashError: if nobody can be asked.
    """
    while not os.access(name, os.R_OK | os.W_OK):
        how = f"'sudo chown {getpass.getuser()} {name}'"
        if not sys.stdin.isatty():
            raise FlashError(f"{name}: permission denied; run {how}, which holds until the card is taken out")
        told.pause()
        typer.prompt(
            f"You may not write {name}. Run {how} in another terminal, then press Enter",
            default="",
            show_default=False,
            err=True,
        )


def _insert_next(order: Order) -> None:
    if not sys.stdin.isatty():
        raise FlashError(f"{order.target}: nobody can be asked to change cards; give --count only at a terminal")
    typer.prompt(
        f"Insert the card for {order.device} into {order.target} and press Enter", default="", show_default=False, err=True
    )
