"""Raw files as relations of DuckDB, each row with its file and its number in it.

==============  ================================================================================
Parquet         a view: read from the disk as often as a query needs it. S3 objects are copied first
CSV             a table of text, or of numbers where plain files have them; others are read a block at a time
JSON lines      a table of JSON values, likewise; a JSON array is read element by element
==============  ================================================================================

Files of the same format and columns make one `trainers.data.row_groups.RowGroup`. Tables larger than the memory limit
are spilled to disk by DuckDB.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from divisions.errors import InputError
from trainers.data import csv_rows, json_rows
from trainers.data.bad_rows import BadRows
from trainers.data.csv_ranges import ByteRange, NotPlainError, copy_range
from trainers.data.engine import Engine, first_row, text_literal
from trainers.data.file_facts import count_present, empty_note, folder_values, json_pointer, refuse_repeated
from trainers.data.file_formats import BadRow, FileKind, RawFile, damaged, inspect_file, open_text
from trainers.data.file_text import csv_notes, format_text
from trainers.data.locations import Location, copy_object
from trainers.data.original_rows import OriginalFile
from trainers.data.plain_csv import PlainTable, load_plain_files
from trainers.data.raw_columns import MISSING_WORDS, Form, RawColumn, form_of_type, list_literal
from trainers.data.row_groups import ROW_BITS, RowGroup

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from duckdb import DuckDBPyConnection

MAX_COLUMNS = 5_000
_COPY_BYTES = 8 << 20
_FLAWED_ROWS = 10_000


@dataclass(slots=True)
class Staging:
    """Brings files into the engine; `groups`, `bad`, `notes` and `formats`, by file, are what came of it."""

    engine: Engine
    location: Location
    missing: tuple[str, ...] = MISSING_WORDS
    texts: frozenset[str] | None = None
    groups: list[RowGroup] = field(default_factory=list)
    bad: BadRows = field(init=False)
    notes: list[str] = field(default_factory=list)
    formats: dict[int, str] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    _parquet: list[tuple[str, str]] = field(default_factory=list)
    _created: int = 0

    def __post_init__(self) -> None:
        self.bad = BadRows(self.engine.folder)

    def read(
        self,
        paths: Iterable[str],
        delimiter: str = "",
        encoding: str = "",
        only: Collection[int] | None = None,
        of_file: ByteRange | None = None,
    ) -> None:
        """Stages files: all, or ``only`` those at some places in ``paths``; ``of_file`` a range of the one CSV file.

        Raises:
            NotPlainError: the lines are no plain CSV.
            InputError: a file as a whole is not what its extension says, or columns are named twice.
            OSError: a file cannot be opened or read.
        """
        self.sources = list(paths)
        folders = folder_values(self.location.path, self.sources)
        parquet: dict[object, list[tuple[int, str, pq.FileMetaData]]] = {}
        csv: dict[tuple[str, ...], list[tuple[int, csv_rows.CsvRows]]] = {}
        lines: list[tuple[int, RawFile]] = []
        empty: list[str] = []
        for index, path in enumerate(self.sources):
            if only is not None and index not in only:
                continue
            file = inspect_file(self.location.filesystem, path, encoding)
            self.formats[index] = format_text(file)
            match file.kind:
                case FileKind.PARQUET:
                    schema, metadata, local = self._open_parquet(path)
                    parquet.setdefault(schema, []).append((index, local, metadata))
                case FileKind.EMPTY:
                    empty.append(path)
                case FileKind.CSV:
                    opened = csv_rows.open_csv(file, delimiter)
                    if opened is None:
                        empty.append(path)
                        continue
                    csv.setdefault(tuple(opened.names), []).append((index, opened))
                    self.notes += csv_notes(opened, delimiter)
                    self.formats[index] = format_text(file, opened.delimiter)
                case _:
                    lines.append((index, file))
        self.notes += empty_note(empty)
        for parquet_files in parquet.values():
            self._stage_parquet(parquet_files, folders)
        for csv_files in csv.values():
            self._stage_csv(csv_files, folders, of_file, is_alone=len(csv_files) == len(self.sources))
        if lines:
            self._stage_json(lines, folders)

    def raise_culprit(self, error: Exception) -> None:
        """Raises the error of the first Parquet file that cannot be read to its end, if there is one."""
        import duckdb

        for path, local in self._parquet:
            try:
                self.engine.connection.execute(f"SELECT max(hash(COLUMNS(*))) FROM read_parquet({text_literal(local)})")
                self.engine.connection.fetchall()
            except duckdb.Error as cause:
                raise damaged(path, "Parquet", cause) from None

    def _open_parquet(self, path: str) -> tuple[object, pq.FileMetaData, str]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        local = path if not self.location.bucket else str(self._copy(path))
        with pa.OSFile(local) as file:
            try:
                opened = pq.ParquetFile(file)
                schema = opened.schema_arrow
            except (pa.ArrowInvalid, OSError) as error:
                raise damaged(path, "Parquet", error) from None
            refuse_repeated(path, schema.names)
            self._parquet.append((path, local))
            return tuple((item.name, str(item.type)) for item in schema), opened.metadata, local

    def _copy(self, path: str) -> Path:
        target = self.engine.folder / f"object-{len(self._parquet)}.parquet"
        copy_object(self.location, path, target)
        return target

    def _stage_parquet(
        self, files: list[tuple[int, str, pq.FileMetaData]], folders: dict[str, list[str | None]]
    ) -> None:
        indices = ", ".join(str(index) for index, _, _ in files)
        paths = list_literal([local for _, local, _ in files])
        scan = f"read_parquet({paths}, file_row_number = true, hive_partitioning = false)"
        described = self.engine.connection.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall()[:-1]
        aliases = ", ".join(f"v{index}" for index in range(len(described)))
        relation = self._create(
            "VIEW",
            f"SELECT ([{indices}][t.file_index::BIGINT + 1]::BIGINT << {ROW_BITS}) + file_row_number + 1 AS id,"
            f" NULL::VARCHAR AS flaw, * FROM {scan} AS t({aliases})",
        )
        # DuckDB renames columns that differ in case only; their order is that of the file.
        names = [str(name) for name in self._names(files[0][1])]
        columns, present = {}, {}
        counts = [count_present(metadata) for _, _, metadata in files]
        for index, (name, (_, type_name, *_)) in enumerate(zip(names, described, strict=True)):
            columns[name] = RawColumn(f"v{index}", form_of_type(type_name), self.missing)
            if all(name in one for one in counts):
                present[name] = sum(one[name] for one in counts)
        rows = sum(metadata.num_rows for _, _, metadata in files)
        self._add(relation, columns, FileKind.PARQUET, rows, files[0][0], folders, present)
        if rows:
            only = files[0][0] if len(files) == 1 else None
            self.groups[-1] = replace(self.groups[-1], has_row_number=True, only_file=only)

    def _names(self, local: str) -> list[str]:
        import pyarrow.parquet as pq

        names: list[str] = pq.read_schema(local).names
        return names

    def _stage_csv(
        self,
        files: list[tuple[int, csv_rows.CsvRows]],
        folders: dict[str, list[str | None]],
        of_file: ByteRange | None,
        *,
        is_alone: bool,
    ) -> None:
        names = files[0][1].names
        refuse_repeated(files[0][1].file.path, names)
        plain = {}
        if of_file is not None:
            target = self.engine.folder / "lines.csv"
            copies = [(index, copy_range(self.location.filesystem, file, of_file, target)) for index, file in files]
            plain = load_plain_files(self.engine.connection, copies, self.missing, None)
            target.unlink()
            if not plain:
                raise NotPlainError(files[0][1].file.path)
        elif not self.location.bucket:
            plain = load_plain_files(self.engine.connection, files, self.missing, self.texts if is_alone else None)
        if plain:
            self._stage_plain(names, list(plain.items()), folders)
        others = [(index, file) for index, file in files if index not in plain]
        if not others:
            return
        values = ", ".join(f"v{index} VARCHAR" for index in range(len(names)))
        relation = self._create("TABLE", f'"row" BIGINT, id BIGINT, flaw VARCHAR, {values}')
        rows = 0
        for index, file in others:
            picked = ", ".join(f"v{position}" for position in range(len(names)))
            batches = file.batches(self.location.filesystem, self.bad.append)
            rows += self._fill(relation, batches, f'"row", ({index}::BIGINT << {ROW_BITS}) + "row", flaw, {picked}')
        columns = {name: RawColumn(f"v{index}", Form.UNTYPED, self.missing) for index, name in enumerate(names)}
        self._add(relation, columns, FileKind.CSV, rows, others[0][0], folders)
        if rows and len({file.delimiter for _, file in others}) == 1:
            self.groups[-1] = replace(self.groups[-1], delimiter=others[0][1].delimiter)

    def _stage_plain(
        self, names: list[str], tables: list[tuple[int, PlainTable]], folders: dict[str, list[str | None]]
    ) -> None:
        selects = [table.select(f"({index}::BIGINT << {ROW_BITS})") for index, table in tables]
        if len(tables) == 1:
            relation = self._create("VIEW", selects[0])
        else:
            relation = self._create("TABLE", f"{selects[0]} LIMIT 0")
            for select, (_, table) in zip(selects, tables, strict=True):
                self.engine.connection.execute(f"INSERT INTO {relation} {select}")
                self.engine.connection.execute(f"DROP TABLE {table.name}")
        first, plain = tables[0]
        forms = [Form.FLOAT if index in plain.numbers else Form.UNTYPED for index in range(len(names))]
        are_small = not any(table.has_large for _, table in tables)
        columns = {
            name: RawColumn(f"v{index}", form, self.missing, is_clean=form is Form.FLOAT and are_small)
            for index, (name, form) in enumerate(zip(names, forms, strict=True))
        }
        rows = sum(table.num_rows for _, table in tables)
        self._add(relation, columns, FileKind.CSV, rows, first, folders)
        if rows:
            originals = tuple(OriginalFile(index, table.csv) for index, table in tables if table.csv.missing)
            delimiters = {table.csv.delimiter for _, table in tables}
            delimiter = delimiters.pop() if len(delimiters) == 1 else ""
            self.groups[-1] = replace(self.groups[-1], originals=originals, delimiter=delimiter)

    def _stage_json(self, files: list[tuple[int, RawFile]], folders: dict[str, list[str | None]]) -> None:
        lines = self._create("TABLE", "id BIGINT, line VARCHAR")
        for index, file in files:
            if file.kind is FileKind.JSON_ARRAY and self._read_array(lines, index, file):
                continue
            batches = json_rows.line_batches(self.location.filesystem, file, self.bad)
            self._fill(lines, batches, f'({index}::BIGINT << {ROW_BITS}) + "row", line')
        self._remove_flawed(lines)
        connection = self.engine.connection
        found = connection.execute(f"SELECT json_keys(line), min(id) FROM {lines} GROUP BY 1 ORDER BY 2").fetchall()
        if any(len(set(keys)) < len(keys) for keys, _ in found):
            twice = "len(json_keys(line)) <> len(list_distinct(json_keys(line)))"
            rows = connection.execute(f"SELECT id, line FROM {lines} WHERE {twice}")
            self._quarantine(lines, rows, lambda _: "a member stands there twice")
        names = list(dict.fromkeys(name for keys, _ in found for name in keys))
        if len(names) > MAX_COLUMNS:
            raise InputError(
                f"{files[0][1].path} has {len(names):,} different members", remedy="write one member for each column"
            )
        pointers = list_literal([json_pointer(name) for name in names])
        values = ", ".join(f"value[{index + 1}]::VARCHAR AS v{index}" for index in range(len(names)))
        source = (
            f"SELECT id, json_extract(line, {pointers}) AS value FROM {lines}" if names else f"SELECT id FROM {lines}"
        )
        relation = self._create(
            "TABLE", f"SELECT id, NULL::VARCHAR AS flaw{', ' * bool(names)}{values} FROM ({source})"
        )
        connection.execute(f"DROP TABLE {lines}")
        (rows,) = first_row(connection, f"SELECT count(*) FROM {relation}")
        columns = {name: RawColumn(f"v{index}", Form.JSON, self.missing) for index, name in enumerate(names)}
        self._add(relation, columns, FileKind.JSON_LINES, rows, files[0][0], folders)

    def _read_array(self, lines: str, index: int, file: RawFile) -> bool:
        """Takes the elements of a JSON array for lines; False if the file is none, however it begins."""
        import duckdb

        target = self.engine.folder / f"array-{index}.json"
        with open_text(self.location.filesystem, file) as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink, _COPY_BYTES)
        connection = self.engine.connection
        try:
            connection.execute(
                "CREATE OR REPLACE TEMP TABLE elements AS"
                " SELECT row_number() OVER () AS position, json::VARCHAR AS line"
                f" FROM read_json_objects({text_literal(str(target))}, format = 'array')"
            )
        except duckdb.Error:
            return False
        finally:
            target.unlink()
        connection.execute(f"INSERT INTO {lines} SELECT ({index}::BIGINT << {ROW_BITS}) + position, line FROM elements")
        return True

    def _remove_flawed(self, lines: str) -> None:
        """Takes lines that are no JSON objects out of the table. msgspec decides where DuckDB is too generous."""
        connection = self.engine.connection
        is_object = "json_valid(line) AND json_type(line) = 'OBJECT'"
        suspects = connection.execute(
            f"SELECT id, line, coalesce(TRY({is_object}), false) FROM {lines}"
            f" WHERE NOT coalesce(TRY({is_object}), false)"
            f" OR regexp_matches(line, {text_literal(json_rows.SUSPICIOUS)})"
        )
        self._quarantine(lines, suspects, lambda row: json_rows.flaw_of(row[1]) or ("" if row[2] else "not JSON"))

    def _quarantine(self, lines: str, rows: DuckDBPyConnection, flaw_of: Callable[[tuple[Any, ...]], str]) -> None:
        """Takes those lines out of the table that have a flaw. A row begins with the line's number and the line."""
        flawed: list[int] = []
        while found := rows.fetchmany(_FLAWED_ROWS):
            for row in found:
                if flaw := flaw_of(row):
                    flawed.append(row[0])
                    self.bad.append(BadRow(*self.place(row[0]), "unparsable line", flaw, row[1]))
        if flawed:
            self.engine.connection.execute(f"DELETE FROM {lines} WHERE id IN (SELECT unnest(?))", [flawed])

    def place(self, number: int) -> tuple[str, int]:
        """The file and the row's number that an ``id`` stands for."""
        return self.sources[number >> ROW_BITS], number & ((1 << ROW_BITS) - 1)

    def _create(self, what: str, body: str) -> str:
        self._created += 1
        name = f"staged_{self._created}"
        is_query = body.startswith("SELECT")
        self.engine.connection.execute(f"CREATE TEMP {what} {name} {f'AS {body}' if is_query else f'({body})'}")
        return name

    def _fill(self, relation: str, batches: Iterator[pa.RecordBatch], columns: str) -> int:
        """Inserts a stream of batches; the rows inserted. The stream's own errors are raised as they are."""
        import duckdb
        import pyarrow as pa

        errors: list[Exception] = []

        def guarded(first: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
            yield first
            try:
                yield from batches
            # DuckDB would make a text of it; the caller asks by its class whether the place or the file is at fault.
            except (OSError, InputError) as error:
                errors.append(error)

        first = next(batches, None)
        if first is None:
            return 0
        connection = self.engine.connection
        connection.register("feed", pa.RecordBatchReader.from_batches(first.schema, guarded(first)))
        try:
            (rows,) = first_row(connection, f"INSERT INTO {relation} SELECT {columns} FROM feed")
        except duckdb.Error:
            if not errors:
                raise
            rows = 0
        finally:
            connection.unregister("feed")
        if errors:
            raise errors[0]
        return int(rows)

    def _add(
        self,
        relation: str,
        columns: dict[str, RawColumn],
        kind: FileKind,
        num_rows: int,
        index: int,
        folders: dict[str, list[str | None]],
        present: dict[str, int] | None = None,
    ) -> None:
        source = self.sources[index]
        trimmed: dict[str, RawColumn] = {}
        for name, column in columns.items():
            if not name.strip():
                self.notes.append(f"{source}: a column without a name is no feature; pandas writes row numbers so")
                continue
            if name != name.strip():
                self.notes.append(f"{source}: column {name!r} is read as {name.strip()!r}")
            trimmed[name.strip()] = column
        refuse_repeated(source, [name.strip() for name in columns if name.strip()])
        for name, values in folders.items():
            if name in trimmed:
                self.notes.append(
                    f"{source}: column {name!r} stands in the file, so {name}= in folder names is not used"
                )
                continue
            sql = f"({list_literal(values)}[(id >> {ROW_BITS}) + 1])"
            trimmed[name] = RawColumn(sql, Form.UNTYPED, self.missing)
        if num_rows:
            self.groups.append(RowGroup(relation, trimmed, kind, num_rows, source, present or {}))
