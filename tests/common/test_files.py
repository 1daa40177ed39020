"""common/files.py: the disk's failures, and damage, as fellrec's own errors."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from safetensors import SafetensorError

from common.errors import DataError, ModelError, RunError
from common.files import REMEDIES, disk_failure, on_disk, read_json

DAMAGED = [b"", b"{", b"[]", b"null", b"\xff\xfe{", b"[" * 100_000, b'{"a": 1}}']


@pytest.mark.parametrize("content", DAMAGED, ids=lambda content: repr(content[:5]))
def test_damaged_json_is_an_error_of_the_kind_asked_for(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"a\.json' is damaged.*\(fetch it again\)"):
        read_json(tmp_path / "a.json", ModelError, "fetch it again")


def test_json_with_and_without_a_mark_is_read(tmp_path: Path) -> None:
    for encoding in ("utf-8", "utf-8-sig"):
        (tmp_path / "a.json").write_text('{"a": "é"}', encoding=encoding)
        assert read_json(tmp_path / "a.json") == {"a": "é"}
    with pytest.raises(RunError, match="No such file"):
        read_json(tmp_path / "b.json")


@pytest.mark.parametrize("number", REMEDIES)
def test_every_failure_of_the_disk_names_the_file_and_a_remedy(number: int) -> None:
    with (
        pytest.raises(DataError, match="'/home/of/it' cannot be used: ") as raised,
        on_disk(Path("/home/of/it"), DataError),
    ):
        raise OSError(number, "x", "inner")
    assert raised.value.hint == REMEDIES[number]
    assert "'inner' cannot be used" in disk_failure(OSError(number, "x", "inner")).message


def test_what_safetensors_says_of_the_disk_is_understood() -> None:
    said = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    found = disk_failure(said, "w.safetensors")
    assert found.message == "'w.safetensors' cannot be used: No space left on device"
    assert found.hint == REMEDIES[errno.ENOSPC]
    assert "HeaderTooLarge" in disk_failure(SafetensorError("HeaderTooLarge"), "w").message
