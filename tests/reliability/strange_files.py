"""Files as strangers send them: flipped bytes, and parquet files with other columns, types and rows."""

from __future__ import annotations

import io
import random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

HOSTILE = (
    *("x\x1b[2J", "\u202e", "../../x", "</script>", "", "{}", "null", "[" * 2000, "9" * 5000, "é"),
    *("a\nb", "NaN"),
)
BYTES = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8)
SEEDS = st.integers(0, 2**32)


def flipped(data: bytes, where: list[tuple[int, int]]) -> bytes:
    body = bytearray(data)
    for place, value in where:
        if body:
            body[place % len(body)] ^= value
    return bytes(body)


def other_column(kind: pa.DataType, rows: int, draw: random.Random) -> pa.Array:
    """A column of the type, or of another one, with odd values."""
    odd: dict[str, Any] = {
        "int": [draw.choice([0, -1, 1, 2**63 - 1, -(2**63), 10**6, None]) for _ in range(rows)],
        "float": [draw.choice([0.0, float("nan"), float("inf"), -1e308, 5e-324, None]) for _ in range(rows)],
        "text": [draw.choice([*HOSTILE, None]) for _ in range(rows)],
        "truth": [draw.choice([True, False, None]) for _ in range(rows)],
        "null": [None] * rows,
        "list": [draw.choice([None, [], [1.0, None], [float("nan")]]) for _ in range(rows)],
        "bytes": [draw.choice([b"\xff\xfe", b"", None]) for _ in range(rows)],
    }
    own = "text" if pa.types.is_string(kind) else "int" if pa.types.is_integer(kind) else "float"
    own = "truth" if pa.types.is_boolean(kind) else "list" if pa.types.is_list(kind) else own
    name = own if draw.random() < 0.7 else draw.choice(sorted(odd))
    try:
        return pa.array(odd[name], kind) if name == own else pa.array(odd[name])
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.nulls(rows)


def other_table(data: bytes, seed: int) -> bytes:
    """A parquet file with one to three changes to its columns, its rows or its metadata."""
    draw = random.Random(seed)
    table = pq.read_table(io.BytesIO(data))
    for _ in range(draw.randint(1, 3)):
        way = draw.choice(["column"] * 6 + ["drop", "add", "rows", "version", "twice", "rename"])
        place = draw.randrange(max(1, table.num_columns))
        if table.num_columns == 0:
            break
        name = table.column_names[place]
        if way == "column":
            new = other_column(table.schema.field(place).type, table.num_rows, draw)
            table = table.set_column(place, name, new)
        elif way == "drop":
            table = table.remove_column(place)
        elif way == "add":
            table = table.append_column(
                draw.choice(HOSTILE[:6]) or "x", pa.nulls(table.num_rows, pa.string())
            )
        elif way == "rows":
            table = draw.choice([table.slice(0, 0), pa.concat_tables([table] * 3), table.slice(1)])
        elif way == "version":
            version = draw.choice([b"", b"0", b"99", b"x", b"9" * 5000, b"\xff", b"-1"])
            table = table.replace_schema_metadata({b"zobench_schema_version": version})
        elif way == "twice":
            table = table.append_column(name, table.column(place))
        else:
            table = table.rename_columns([draw.choice(table.column_names) for _ in table.column_names])
    sink = io.BytesIO()
    pq.write_table(table, sink, compression=draw.choice(["zstd", "snappy", "none"]))
    return sink.getvalue()
