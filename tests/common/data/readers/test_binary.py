from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import sqlite3
import tarfile
import zipfile
from pathlib import Path

import pytest

from common.data.readers.binary import marked
from common.data.readers.headed import Headed
from common.data.readers.stream import lines, table
from common.errors import DataError

TEXT = b"user_id,item_id\n1,2\n"


def _zip() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("log.csv", TEXT)
    return made.getvalue()


def _tar() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        member = tarfile.TarInfo("log.csv")
        member.size = len(TEXT)
        archive.addfile(member, io.BytesIO(TEXT))
    return made.getvalue()


KINDS = {
    "bzip2": bz2.compress(TEXT),
    "xz": lzma.compress(TEXT),
    "zip": _zip(),
    "tar": _tar(),
    "Parquet": b"PAR1\x15\x04\x15",
    "SQLite": sqlite3.connect(":memory:").execute("create table a(b)").connection.serialize(),
    "pickle": pickle.dumps(["a"]),
    "zstandard": b"\x28\xb5\x2f\xfd\x04\x00",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("packed", [False, True])
def test_a_file_without_text_is_named_by_its_kind(tmp_path: Path, kind: str, packed: bool) -> None:
    (tmp_path / "log.csv").write_bytes(gzip.compress(KINDS[kind]) if packed else KINDS[kind])
    for read in (lines, table, lambda path: Headed.open(path).rows()):
        with pytest.raises(DataError, match=f"'log.csv' is a {kind} file, not text") as raised:
            list(read(tmp_path / "log.csv"))
        assert raised.value.hint and str(raised.value).isprintable()


def test_words_that_begin_like_a_kind_are_text(tmp_path: Path) -> None:
    for word in ("BZh9", "PK", "7z", "Rar!"):
        (tmp_path / "log.csv").write_text(f"{word},item\n1,2\n")
        assert Headed.open(tmp_path / "log.csv").header == (word, "item")


@pytest.mark.parametrize(
    ("text", "encoding"), [("x".encode("utf-8-sig"), "utf-8-sig"), ("x".encode("utf-16"), "utf-16"), (b"x", None)]
)
def test_byte_order_marks(text: bytes, encoding: str | None) -> None:
    assert marked(text) == encoding
