"""Kernel modules that Debian does not build for arm64, cross-built from Debian's source for the image's very kernel.

They are the kernel's own stand-ins for hardware: `test_power` is a battery whose values are set from outside, `i2c-stub` a
bus whose chips are registers in memory, and `ina3221` the driver of the power monitor that a Jetson has, which reads them.
Two are changed a little. `i2c-stub` takes its chips from the device tree, at `/i2c-stub`, as a real bus does: from there the
INA3221's driver has the names of its rails. The battery of `test_power` holds 5 Ah instead of 0.1 mAh.
"""

from __future__ import annotations

from pathlib import Path

from tests.boards.build_cache import run

# Module → its source in the kernel's tree.
MODULES = {
    "test_power": "drivers/power/supply/test_power.c",
    "i2c-stub": "drivers/i2c/i2c-stub.c",
    "ina3221": "drivers/hwmon/ina3221.c",
}


_CHANGES = (
    ("i2c-stub.c", "#include <linux/slab.h>\n", "#include <linux/slab.h>\n#include <linux/of.h>\n"),
    (
        "i2c-stub.c",
        "\tret = i2c_add_adapter(&stub_adapter);",
        '\tstub_adapter.dev.of_node = of_find_node_by_path("/i2c-stub");\n\tret = i2c_add_adapter(&stub_adapter);',
    ),
    (
        "test_power.c",
        "\tcase POWER_SUPPLY_PROP_CHARGE_NOW:\n\t\tval->intval = battery_capacity;\n",
        "\t\tval->intval = battery_capacity;\n\t\tbreak;\n"
        "\tcase POWER_SUPPLY_PROP_CHARGE_NOW:\n\t\tval->intval = battery_capacity * 50000;\n",
    ),
    (
        "test_power.c",
        "\tcase POWER_SUPPLY_PROP_CHARGE_FULL:\n\t\tval->intval = 100;\n",
        "\tcase POWER_SUPPLY_PROP_CHARGE_FULL:\n\t\tval->intval = 5000000;\n",
    ),
)


def build_modules(debs: Path, work: Path, target: Path) -> None:
    """Build them.

    Args:
        debs: folder with the packages `linux-headers-*-arm64`, `linux-headers-*-common` and `linux-source-*` of the kernel.
        work: an empty folder to work in.
        target: gets the `.ko` files.

    Raises:
        RuntimeError: the kernel's build failed.
    """
    for package in sorted(debs.glob("*.deb")):
        run("dpkg-deb", "-x", package, work)
    # The tools that the build runs are this machine's, the headers the board's.
    run("sh", "-euc", "apt-get -qq download linux-kbuild-6.1 && dpkg-deb -x linux-kbuild-6.1_*.deb .", cwd=work)
    headers = next((work / "usr/src").glob("linux-headers-*-arm64"))
    common = next((work / "usr/src").glob("linux-headers-*-common"))
    for makefile in (headers / "Makefile", headers / ".kernelvariables"):
        if makefile.exists():
            makefile.write_text(makefile.read_text().replace("/usr/src/", f"{work}/usr/src/"))
    archive = next((work / "usr/src").glob("linux-source-*.tar.xz"))
    run(
        "tar",
        "-xf",
        archive,
        "-C",
        work,
        "--strip-components=1",
        *(f"{archive.name[:-7]}/{source}" for source in MODULES.values()),
    )
    sources = work / "modules"
    sources.mkdir()
    for source in MODULES.values():
        (work / source).rename(sources / Path(source).name)
    for name, before, after in _CHANGES:
        text = (sources / name).read_text()
        if text.count(before) != 1:
            raise RuntimeError(f"{name} of this kernel has {text.count(before)} times {before!r}: adapt kernel_modules.py")
        (sources / name).write_text(text.replace(before, after))
    (sources / "Kbuild").write_text("".join(f"obj-m += {module}.o\n" for module in MODULES))
    run(
        "make",
        "-C",
        headers,
        f"M={sources}",
        "ARCH=arm64",
        "CROSS_COMPILE=aarch64-linux-gnu-",
        f"srctree={common}",
        "modules",
    )
    target.mkdir(parents=True)
    for module in MODULES:
        run("aarch64-linux-gnu-strip", "--strip-debug", sources / f"{module}.ko", "-o", target / f"{module}.ko")
