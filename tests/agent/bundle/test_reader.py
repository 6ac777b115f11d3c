"""The bundle reader: whatever happens to the files, a wrong model file never comes out."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from onnxruntime import InferenceSession
from tests.bundle_factory import ToyRecut, make_bundle, make_recut, toy_base, toy_rung

from secateur.bundle.keys import Keys, create_keys
from secateur_agent.bundle.golden import golden_error, golden_inputs
from secateur_agent.bundle.manifest import BundleError, RungEntry, open_recut
from secateur_agent.bundle.materialise import materialise_bytes
from secateur_agent.bundle.reader import BundleFolder, load_recipe
from secateur_agent.bundle.recipe import Literal, Recipe, Vector, decode_recipe, encode_recipe
from secateur_agent.trust import TrustError

FILES = ["manifest.json", "base-fp32.safetensors", "recipes/r0-fp32.recipe", "recipes/r1-fp32.recipe"]


@pytest.fixture
def copied(toy: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy, tmp_path / toy.name))


def test_every_rung_materialises_runs_and_passes_its_golden_check(keys: Keys, toy: Path) -> None:
    bundle = BundleFolder(toy, keys.root)
    bundle.verify()
    for rung in bundle.manifest.rungs:
        session = InferenceSession(bundle.materialise(rung.id), providers=["CPUExecutionProvider"])
        (x,) = golden_inputs(rung.golden, bundle.manifest.inputs)
        (y,) = session.run(None, {"x": x})
        assert golden_error(rung.golden, np.asarray(y)) <= rung.golden.tolerance


def test_making_a_bundle_again_gives_the_same_files(keys: Keys, toy: Path, tmp_path: Path) -> None:
    again = make_bundle(tmp_path, keys)
    for file in FILES:
        assert (again / file).read_bytes() == (toy / file).read_bytes()


def test_smaller_rungs_add_little_to_the_bundle(toy: Path) -> None:
    sizes = [(toy / "recipes" / f"r{n}-fp32.recipe").stat().st_size for n in range(3)]
    assert max(sizes[1:]) < sizes[0]


def test_a_folder_without_manifest_says_so(keys: Keys, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no readable manifest\.json"):
        BundleFolder(tmp_path, keys.root)


def test_a_bundle_under_another_trust_root_is_refused(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(TrustError):
        BundleFolder(toy, create_keys(tmp_path / "other").root)


def test_a_missing_file_is_named(keys: Keys, copied: Path) -> None:
    (copied / "recipes/r1-fp32.recipe").unlink()
    with pytest.raises(BundleError, match=r"r1-fp32\.recipe"):
        BundleFolder(copied, keys.root).verify()


@pytest.mark.parametrize("file", FILES[1:])
def test_an_altered_file_is_named(keys: Keys, copied: Path, file: str) -> None:
    data = bytearray((copied / file).read_bytes())
    data[-1] ^= 1
    (copied / file).write_bytes(bytes(data))
    with pytest.raises(BundleError, match=f"{file}: altered"):
        BundleFolder(copied, keys.root).verify()


@settings(max_examples=60)
@given(file=st.sampled_from(FILES), where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
def test_damage_anywhere_never_brings_out_a_wrong_file(
    keys: Keys, toy: Path, tmp_path_factory: pytest.TempPathFactory, file: str, where: float, bit: int, cut: bool
) -> None:
    folder = Path(shutil.copytree(toy, tmp_path_factory.mktemp("damaged") / toy.name))
    data = bytearray((folder / file).read_bytes())
    place = int(where * len(data))
    data[place] ^= 1 << bit
    (folder / file).write_bytes(bytes(data[:place] if cut else data))
    right = {rung.id: rung.file_sha256 for rung in BundleFolder(toy, keys.root).manifest.rungs}
    for rung_id, sha256 in right.items():
        with contextlib.suppress(BundleError, TrustError):
            model = BundleFolder(folder, keys.root).materialise(rung_id)
            assert hashlib.sha256(model).hexdigest() == sha256


@settings(max_examples=60)
@given(file=st.sampled_from(FILES), data=st.binary(max_size=300))
def test_a_file_of_random_bytes_is_refused(
    keys: Keys, toy: Path, tmp_path_factory: pytest.TempPathFactory, file: str, data: bytes
) -> None:
    folder = Path(shutil.copytree(toy, tmp_path_factory.mktemp("random") / toy.name))
    (folder / file).write_bytes(data)
    with pytest.raises((BundleError, TrustError)):
        BundleFolder(folder, keys.root).verify()


# --- what a stolen online key can and cannot do -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def recut(keys: Keys, toy: Path) -> ToyRecut:
    return make_recut(toy, keys)


def loaded(toy: Path, keys: Keys, entry: RungEntry, recipe: bytes) -> Recipe:
    """Load a recipe as an agent loads one that the online key signed."""
    return load_recipe(recipe, entry, BundleFolder(toy, keys.root).read, must_inherit=True)


def promising(entry: RungEntry, recipe: Recipe) -> RungEntry:
    """The entry that a thief would sign for a recipe, with everything else in order."""
    return replace(entry, file_sha256=recipe.sha256.hex(), file_bytes=recipe.size)


def test_a_recut_rung_is_written_from_the_bundles_own_base(keys: Keys, toy: Path, recut: ToyRecut) -> None:
    folder = BundleFolder(toy, keys.root)
    entry = open_recut(keys.root, recut.envelope, folder.manifest, folder.manifest_sha256).rung
    model = materialise_bytes(loaded(toy, keys, entry, recut.recipe), toy_base())
    assert model == recut.model
    assert len(recut.recipe) < len(folder.read(folder.manifest.rungs[0].recipe))


def test_the_online_key_cannot_bring_a_program(keys: Keys, toy: Path, recut: ToyRecut) -> None:
    own = toy_rung(toy_base(), 12).recipe
    with pytest.raises(BundleError, match="has a program of its own"):
        loaded(toy, keys, recut.entry, encode_recipe(own))


def test_the_online_key_cannot_bring_a_program_beside_a_parent(keys: Keys, toy: Path, recut: ToyRecut) -> None:
    child = replace(decode_recipe(recut.recipe), ops=(Literal(0),))
    with pytest.raises(BundleError, match="one or the other"):
        loaded(toy, keys, recut.entry, encode_recipe(child))


def test_the_online_key_cannot_bring_literals(keys: Keys, toy: Path, recut: ToyRecut) -> None:
    child = replace(decode_recipe(recut.recipe), literals=b"weights of somebody else")
    with pytest.raises(BundleError, match="one or the other"):
        loaded(toy, keys, recut.entry, encode_recipe(child))


def test_the_online_key_cannot_bring_longer_vectors(keys: Keys, toy: Path, recut: ToyRecut) -> None:
    wide = toy_rung({"hidden": np.zeros((32, 4), np.float32), "head": np.zeros((3, 32), np.float32)}, 32)
    parent = BundleFolder(toy, keys.root).manifest.rungs[0].recipe
    child = replace(wide.recipe, parent=bytes.fromhex(parent), ops=(), literals=b"")
    with pytest.raises(BundleError, match="vector 0 has 32 values"):
        loaded(toy, keys, promising(recut.entry, child), encode_recipe(child))


@pytest.mark.parametrize(
    "smuggle",
    [
        lambda child: replace(child, vectors=child.vectors + b"\0" * 4),
        lambda child: replace(child, ints=(*child.ints, 1)),
        lambda child: replace(child, slices=(*child.slices, ((), ()))),
        lambda child: replace(child, slices=(((0, 17), ()), *child.slices[1:])),
    ],
    ids=["vectors", "ints", "slices", "beyond the base"],
)
def test_the_online_key_cannot_bring_more_than_the_program_takes(
    keys: Keys, toy: Path, recut: ToyRecut, smuggle: Callable[[Recipe], Recipe]
) -> None:
    child = smuggle(decode_recipe(recut.recipe))
    whole = loaded(toy, keys, promising(recut.entry, child), encode_recipe(child))
    with pytest.raises(BundleError):
        materialise_bytes(whole, toy_base())


def test_the_online_key_cannot_bring_a_parent_that_the_bundle_lacks(keys: Keys, toy: Path, recut: ToyRecut) -> None:
    foreign = encode_recipe(Recipe(1, b"\0" * 32, 0, b"", (Vector("f32"),), b"", (10**6,), (), b""))
    child = replace(decode_recipe(recut.recipe), parent=hashlib.sha256(foreign).digest())
    with pytest.raises(BundleError, match="no file with digest"):
        loaded(toy, keys, promising(recut.entry, child), encode_recipe(child))


def test_the_online_key_cannot_take_a_child_as_parent(keys: Keys, toy: Path, recut: ToyRecut) -> None:
    second = BundleFolder(toy, keys.root).manifest.rungs[1].recipe
    child = replace(decode_recipe(recut.recipe), parent=bytes.fromhex(second))
    with pytest.raises(BundleError, match="only one level"):
        loaded(toy, keys, promising(recut.entry, child), encode_recipe(child))


def test_a_recipe_must_promise_the_file_that_was_signed(keys: Keys, toy: Path, recut: ToyRecut) -> None:
    other = replace(recut.entry, file_sha256="0" * 64)
    with pytest.raises(BundleError, match="another file than the manifest names"):
        loaded(toy, keys, other, recut.recipe)
