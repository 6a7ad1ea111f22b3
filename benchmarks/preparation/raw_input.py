"""Generated events: 20 columns of numbers, texts and flags, some values missing. Made of hashes, so repeatable."""

from __future__ import annotations

from pathlib import Path

from trainers.data.engine import text_literal

AS_OF = "2024-12-01"
"""Events lie within 2024; later ones than this day are left out."""
_AMOUNTS, _COUNTS, _LEVELS, _FLAGS = 7, 5, (3, 5, 8, 20, 60, 400), 2
_YEAR_S = 366 * 86_400


def columns(seed: int, customers: int) -> dict[str, str]:
    """The SQL of each column, over ``i``, the number of the event."""

    def draw(salt: int, below: int) -> str:
        return f"(hash(i * 1000 + {salt} + {seed} * 1000003) % {below})"

    found = {
        "customer_id": f"'c-' || {draw(0, customers)}",
        "event_time": f"make_timestamp(1704067200000000 + {draw(1, _YEAR_S)}::BIGINT * 1000000)",
        "churn": f"{draw(2, 100)} < 27",
    }
    for index in range(_AMOUNTS):
        value = f"round({draw(10 + index, 10_000_000)} / {100 * (index + 1)}.0, 2)"
        found[f"amount_{index}"] = f"CASE WHEN {draw(30 + index, 50)} > 0 THEN {value}::DOUBLE END"
    for index in range(_COUNTS):
        found[f"count_{index}"] = f"CASE WHEN {draw(40 + index, 40)} > 0 THEN {draw(50 + index, 90)}::INTEGER END"
    for index, levels in enumerate(_LEVELS):
        value = f"'level ' || {draw(70 + index, levels)}"
        found[f"plan_{index}"] = f"CASE WHEN {draw(60 + index, 30)} > 0 THEN {value} END"
    for index in range(_FLAGS):
        found[f"flag_{index}"] = f"{draw(80 + index, 100)} < {30 + index}"
    return found


NUM_COLUMNS = _AMOUNTS + _COUNTS + len(_LEVELS) + _FLAGS


def write_events(path: Path, events: int, customers: int, seed: int, threads: int) -> None:
    """Writes events as Parquet or CSV, by the file's extension, a block at a time."""
    import duckdb

    values = ", ".join(f"{sql} AS {name}" for name, sql in columns(seed, customers).items())
    form = "parquet" if path.suffix == ".parquet" else "csv, HEADER"
    with duckdb.connect(config={"threads": threads, "preserve_insertion_order": False}) as connection:
        connection.execute(
            f"COPY (SELECT {values} FROM range({events}) AS t(i)) TO {text_literal(str(path))} (FORMAT {form})"
        )
