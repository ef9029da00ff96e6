"""WebDataset tars: files that share a name up to its first dot are one sample.

A file ``cat/1.jpg`` beside ``cat/1.cls`` gives the sample ``cat/1`` a picture and a class number.
What follows the first dot is the field; its last part tells how to read it:

==================================  ==================  =======================================
field                               column              values
==================================  ==================  =======================================
jpg, jpeg, png, webp, ppm, …        images              pixels, as a folder of images has them
cls                                 labels              int64
npy                                 arrays              the array
txt, text                           texts               the text
json                                json                the text of the document
bin                                 blobs               the bytes
pyd, pkl, pickle, pth, pt           none                a pickle is never loaded
others                              the field           the bytes
==================================  ==================  =======================================

A longer field such as ``mask.png`` is the column ``mask``. Nothing is ever unpacked to disk: a name
in the archive is a key and no path. A folder of archives is read in the order of their names.

Options, on the command line by ``-o NAME=VALUE``: ``keys=int`` makes keys of digits ints.
"""

from __future__ import annotations

import importlib.util
import io
import tarfile
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy_format

from tensorvcs.errors import (
    InvalidColumnError,
    InvalidInputError,
    InvalidKeyError,
    MissingDependencyError,
    SchemaMismatchError,
    UnreadableFileError,
    with_hint,
)
from tensorvcs.formats.array_tables import BLOCK_NBYTES
from tensorvcs.formats.destinations import check_free, key_of_path, path_of_key, whole_file
from tensorvcs.formats.folders import find_files
from tensorvcs.formats.image_decoding import Decoder
from tensorvcs.formats.image_export import encode_png, is_image_schema
from tensorvcs.formats.interfaces import Batch, ColumnBatch, Plan, Skipped
from tensorvcs.formats.table_keys import refuse_duplicates
from tensorvcs.formats.table_rows import TableRows
from tensorvcs.formats.tar_samples import TarSamples
from tensorvcs.formats.webdataset_fields import (
    NATURAL,
    ColumnLook,
    UnreadableFieldError,
    column_of,
    value_of,
)
from tensorvcs.objects.keys import check_key
from tensorvcs.objects.schema import check_column_name
from tensorvcs.objects.tensor import canonical_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tensorvcs.formats.interfaces import ExportColumn, ExportOptions, ImportOptions, Progress
    from tensorvcs.formats.tar_samples import Member
    from tensorvcs.formats.webdataset_fields import Codec
    from tensorvcs.objects.keys import Key
    from tensorvcs.objects.schema import Schema

_BATCH_COUNT = 4096
_ROWS_AT_ONCE = 256
_SUFFIXES = frozenset({".tar", ".tgz", ".gz", ".bz2", ".xz"})


class WebDatasetSource:
    """The samples of one archive, or of a folder of them; each archive is read twice."""

    def __init__(self, source: Path, options: ImportOptions) -> None:
        found = find_files(source, _SUFFIXES)
        if source.is_dir():
            kept = [(p, n) for p, n in zip(found.paths, found.names, strict=True) if _is_tar(n)]
            found.paths = [path for path, _ in kept]
        self._where = str(source)
        self._found = found
        self._options = options
        self._samples = TarSamples(found.paths)
        self._failed: dict[str, str] = {}
        self._looks: dict[str, ColumnLook] = {}
        self._schemas: dict[str, Schema] = {}
        self._sample_count = 0
        self._progress: Progress | None = None
        extra = dict(options.extra)
        keys = extra.pop("keys", "str")
        if keys not in {"int", "str"}:
            raise InvalidInputError(f"keys is 'int' or 'str', not {keys!r}")
        self._are_keys_ints = keys == "int"
        if extra:
            raise InvalidInputError(f"{source}: unknown option {', '.join(sorted(extra))}")
        if options.label_column is not None:
            raise with_hint(
                InvalidInputError(f"{source}: label_column is for folders of images"),
                "the field cls of a sample is its label, in the column 'labels'",
            )

    @property
    def skipped(self) -> list[Skipped]:
        failed = [Skipped(where, reason) for where, reason in self._failed.items()]
        return [*self._found.skipped, *self._samples.skipped.values(), *failed]

    @property
    def notes(self) -> list[str]:
        return []

    @property
    def ignored_count(self) -> int:
        return self._samples.ignored_count + self._found.ignored_count

    def plan(self, progress: Progress | None = None) -> Plan:
        self._progress = progress
        decoder: Decoder | None = None
        is_first = True

        def keys() -> Iterator[Sequence[Key]]:
            nonlocal decoder, is_first
            looks, is_first = is_first, False
            for place, sample in enumerate(self._samples):
                if looks:
                    for column, codec, member in self._fields(sample):
                        if codec == "image" and decoder is None:
                            decoder = self._decoder(self._options.mode)
                        self._look(column, codec, member, decoder)
                yield [self._key(sample[0], place)]

        self._sample_count = refuse_duplicates(keys, self._where)
        for column, look in self._looks.items():
            schema = look.schema
            if schema is not None:
                self._schemas[column] = schema
        if not self._schemas:
            first = self.skipped[0] if self.skipped else Skipped(self._where, "it has no samples")
            raise UnreadableFileError(first.reason, path=first.path)
        return Plan(self._schemas, self._sample_count * len(self._schemas))

    def _look(self, column: str, codec: Codec, member: Member, decoder: Decoder | None) -> None:
        look = self._looks.get(column)
        if look is None:
            look = self._looks[column] = ColumnLook(codec, member.where)
        if look.codec != codec:
            raise InvalidInputError(
                f"{look.first} and {member.where} are both for column {column!r}, and are of "
                "different kinds"
            )
        try:
            look.look(member, decoder)
        except UnreadableFieldError as error:
            self._failed[member.where] = str(error)

    def _decoder(self, mode: str | None) -> Decoder:
        if importlib.util.find_spec("PIL") is None:
            raise MissingDependencyError("pillow", "images", "reading pictures")
        resize = self._options.resize
        return Decoder(mode, None if resize is None else list(resize), self._options.max_pixels)

    def _fields(self, sample: list[Member]) -> Iterator[tuple[str, Codec, Member]]:
        """Yield the files of a sample that are values, with their columns."""
        taken: set[str] = set()
        for member in sample:
            found = column_of(member.field)
            if found is None:
                self._failed[member.where] = "it is a pickle, which is never loaded"
                continue
            column, codec = found
            if self._options.column not in {None, column}:
                continue
            try:
                check_column_name(column)
            except InvalidColumnError as error:
                self._failed[member.where] = str(error)
                continue
            if column in taken:
                self._failed[member.where] = f"its sample has another value for column {column!r}"
                continue
            taken.add(column)
            yield column, codec, member

    def _key(self, member: Member, place: int) -> Key:
        if self._options.key_from == "number":
            return place
        text = member.key
        if self._options.key_from == "name":
            text = text.rpartition("/")[2]
        spelled = key_of_path(text)
        # Only what an export spells is read back, so that foreign names stay what they are.
        if member_name(spelled) == text:
            text = spelled
        if self._are_keys_ints:
            if not text.removeprefix("-").isdecimal():
                raise UnreadableFileError(f"{text[:80]!r} is no int", path=member.where)
            return int(text)
        try:
            return check_key(text)
        except InvalidKeyError as error:
            raise UnreadableFileError(str(error), path=member.where) from error

    def batches(self) -> Iterator[Batch]:
        decoders = {
            column: self._decoder(self._options.mode or look.mode)
            for column, look in self._looks.items()
            if look.codec == "image" and column in self._schemas
        }
        keys: dict[str, list[Key]] = {name: [] for name in self._schemas}
        values: dict[str, list[Any]] = {name: [] for name in self._schemas}
        nbytes = count = 0
        for place, sample in enumerate(self._samples):
            key = self._key(sample[0], place)
            for column, codec, member in self._fields(sample):
                if member.where in self._failed or column not in self._schemas:
                    continue
                try:
                    value = value_of(codec, member, decoders.get(column))
                    value = canonical_value(self._schemas[column], value)
                except (UnreadableFieldError, SchemaMismatchError) as error:
                    self._failed[member.where] = str(error)
                    continue
                keys[column].append(key)
                values[column].append(value)
                nbytes += len(member.content) + getattr(value, "nbytes", 0)
            count += 1
            if nbytes >= BLOCK_NBYTES or count == _BATCH_COUNT:
                yield self._batch(keys, values)
                keys = {name: [] for name in self._schemas}
                values = {name: [] for name in self._schemas}
                nbytes = count = 0
                if self._progress is not None:
                    done = (place + 1) * len(self._schemas)
                    self._progress(done, self._sample_count * len(self._schemas))
        yield self._batch(keys, values)

    def _batch(self, keys: dict[str, list[Key]], values: dict[str, list[Any]]) -> Batch:
        columns = {}
        for name, schema in self._schemas.items():
            if keys[name]:
                stacked: Any = values[name]
                if schema.is_fixed_shape:
                    stacked = np.stack(values[name])
                columns[name] = ColumnBatch(keys[name], stacked)
        return Batch(columns)

    def close(self) -> None:
        return


def member_name(key: Key) -> str:
    """Spell a key as the name of a file in an archive, up to the dot before its field.

    >>> member_name("a.b/c.d")
    'a.b/c%2Ed'
    """
    folder, slash, last = path_of_key(key).rpartition("/")
    return folder + slash + last.replace(".", "%2E")


def _is_tar(name: str) -> bool:
    lower = name.lower()
    return lower.endswith((".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz"))


class WebDatasetFormat:
    """Tar archives of samples."""

    name = "webdataset"
    aliases = ("tar", "wds")

    def detect(self, source: Path) -> bool:
        if source.is_dir():
            return any(_is_tar(name) for name in find_files(source, _SUFFIXES).names)
        return _is_tar(source.name)

    def open(self, source: Path, options: ImportOptions) -> WebDatasetSource:
        return WebDatasetSource(source, options)

    def accepts(self, columns: Sequence[ExportColumn], destination: Path) -> bool:
        return destination.suffix.lower() == ".tar" and all(
            _why_no_file(column.schema) is None for column in columns
        )

    def write(
        self,
        columns: Sequence[ExportColumn],
        destination: Path,
        options: ExportOptions,
        progress: Callable[[int], None],
    ) -> int:
        if options.extra:
            raise InvalidInputError(f"unknown option {', '.join(sorted(options.extra))}")
        if destination.suffix.lower() != ".tar":
            raise InvalidInputError(f"{destination}: an archive of samples is a .tar file")
        fields = {}
        for column in columns:
            reason = _why_no_file(column.schema)
            if reason is not None:
                raise with_hint(
                    InvalidInputError(f"column {column.name!r} cannot be files: {reason}"),
                    "choose other columns",
                )
            suffix = _suffix(column.schema)
            is_natural = NATURAL[suffix] == column.name
            fields[column.name] = suffix if is_natural else f"{column.name}.{suffix}"
            found = column_of(fields[column.name])
            if fields[column.name] != fields[column.name].lower() or found is None:
                raise with_hint(
                    InvalidInputError(
                        f"column {column.name!r}: the field of a sample is in lower case"
                    ),
                    "rename the column",
                )
        has_pictures = any(_is_picture(column.schema) for column in columns)
        if has_pictures and importlib.util.find_spec("PIL") is None:
            raise MissingDependencyError("pillow", "images", "writing pictures")
        check_free([destination], overwrite=options.overwrite)
        rows = TableRows(columns)
        with (
            whole_file(destination) as file,
            tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as archive,
        ):
            for keys, block in rows.blocks(_ROWS_AT_ONCE):
                streams = {
                    column.name: (column, is_there, iter(values))
                    for column in columns
                    for is_there, values in [block[column.name]]
                }
                for place, key in enumerate(keys):
                    name = member_name(key)
                    for column, is_there, values in streams.values():
                        if is_there is None or is_there[place]:
                            content = _content(column, key, next(values))
                            _add(archive, f"{name}.{fields[column.name]}", content)
                            progress(1)
        return 1


def _why_no_file(schema: Schema) -> str | None:
    if schema.nested:
        return "its samples are nested"
    if schema.kind == "ndarray" and schema.numpy_dtype.type.__module__ != "numpy":
        return f"the dtype {schema.dtype} is none of numpy's own"
    return None


def _suffix(schema: Schema) -> str:
    """Return how a column is written: the last part of its field."""
    if schema.kind != "ndarray":
        return "txt" if schema.kind == "str" else "bin"
    if schema.dtype == "int64" and schema.shape == ():
        return "cls"
    return "png" if _is_picture(schema) else "npy"


def _is_picture(schema: Schema) -> bool:
    """Tell whether a PNG gives back the array as it was; one channel comes back as none."""
    return is_image_schema(schema) and schema.shape is not None and schema.shape[2:] != (1,)


def _content(column: ExportColumn, key: Key, value: Any) -> bytes:
    suffix = _suffix(column.schema)
    if suffix == "txt":
        return str(value).encode()
    if suffix == "bin":
        return bytes(value)
    if suffix == "cls":
        return str(int(value)).encode()
    if suffix == "png":
        return encode_png(value, column.name, key)
    buffer = io.BytesIO()
    npy_format.write_array(buffer, np.asarray(value), allow_pickle=False)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file without owner and time, so that one version gives one archive."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mode = 0o644
    source: IO[bytes] = io.BytesIO(content)
    archive.addfile(member, source)
    # It would remember all of them.
    archive.members.clear()  # type: ignore[attr-defined]


FORMAT = WebDatasetFormat()
