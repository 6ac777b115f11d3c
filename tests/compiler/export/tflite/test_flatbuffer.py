"""FlatBuffers as pieces: an independent reader finds what was put in, whatever a rung's sizes are."""

from __future__ import annotations

import flatbuffers
import numpy as np
from flatbuffers import number_types
from flatbuffers.table import Table as Reader
from hypothesis import given
from hypothesis import strategies as st

from secateur.export.program import PrivateVector, Program, Word
from secateur.export.tflite.flatbuffer import Byte, Data, Float, Int, Ints, Table, Tables, Text, render


def built(root: Table) -> tuple[bytes, Reader]:
    data = Program(render(root, b"TEST")).recipe({})[1]
    assert data[4:8] == b"TEST"
    place = flatbuffers.encode.Get(number_types.UOffsetTFlags.packer_type, data, 0)
    return data, Reader(data, place)


def field(table: Reader, number: int) -> int:
    """Where a field lies in the file."""
    offset = table.Offset(4 + 2 * number)
    assert offset, f"field {number} is missing"
    return int(table.Pos + offset)


def below(table: Reader, number: int) -> Reader:
    return Reader(table.Bytes, table.Indirect(field(table, number)))


def test_every_kind_of_field_is_read_back() -> None:
    shared = Data([PrivateVector(np.asarray([1.5, -2.0], "<f4"))], 4, 4)
    inner = Table({2: Byte(7), 0: Int(-3), 5: Float(0.25), 1: shared})
    root = Table(
        {0: inner, 3: Text("résumé"), 4: Ints([1, Word(300), -5]), 6: Tables([inner_copy(), inner_copy()]), 7: shared}
    )
    _, table = built(root)
    nested = below(table, 0)
    assert nested.Get(number_types.Uint8Flags, field(nested, 2)) == 7
    assert nested.Get(number_types.Int32Flags, field(nested, 0)) == -3
    assert nested.Get(number_types.Float32Flags, field(nested, 5)) == 0.25
    assert nested.Offset(4 + 2 * 3) == 0  # a field that is missing has its default
    assert table.String(field(table, 3)).decode() == "résumé"
    vector = table.GetVectorAsNumpy(number_types.Int32Flags, table.Offset(4 + 2 * 4))
    assert vector.tolist() == [1, 300, -5]
    assert table.VectorLen(table.Offset(4 + 2 * 6)) == 2
    for where, number in ((nested, 1), (table, 7)):
        offset = where.Offset(4 + 2 * number)
        assert where.GetVectorAsNumpy(number_types.Float32Flags, offset).tolist() == [1.5, -2.0]
    assert nested.Vector(nested.Offset(4 + 2)) == table.Vector(table.Offset(4 + 2 * 7))  # one vector, two readers


def inner_copy() -> Table:
    return Table({0: Int(1)})


@given(st.lists(st.tuples(st.sampled_from([1, 4, 8]), st.integers(0, 40)), max_size=6))
def test_data_of_any_length_are_found_on_their_boundary(vectors: list[tuple[int, int]]) -> None:
    kinds = {1: "|i1", 4: "<f4", 8: "<i8"}
    flags = {1: number_types.Int8Flags, 4: number_types.Float32Flags, 8: number_types.Int64Flags}
    values = [np.arange(count).astype(kinds[size]) for size, count in vectors]
    boundaries = {1: 16, 4: 4, 8: 8}
    fields = {
        number: Data([PrivateVector(array)], size, boundaries[size])
        for number, ((size, _), array) in enumerate(zip(vectors, values))
    }
    _, table = built(Table({0: Table(fields)}))
    nested = below(table, 0)
    for number, ((size, count), array) in enumerate(zip(vectors, values)):
        offset = nested.Offset(4 + 2 * number)
        assert nested.VectorLen(offset) == count
        assert nested.Vector(offset) % boundaries[size] == 0
        if count:
            assert nested.GetVectorAsNumpy(flags[size], offset).tolist() == array.tolist()


def test_rungs_of_other_sizes_share_the_program() -> None:
    def program(count: int) -> Program:
        data = Data([PrivateVector(np.arange(count).astype("<f4"))], 4, 16)
        return Program(render(Table({0: Table({1: Ints([Word(count), 3])}), 2: data}), b"TEST"))

    small, large = (program(count).recipe({})[0] for count in (2, 300))
    assert small.ops == large.ops
    assert small.literals == large.literals
