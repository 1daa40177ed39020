"""Generates ``common/pb`` from ``proto/*.proto``: ``python proto/generate.py [folder]``.

Needs grpcio-tools. Only messages are generated: the service's one method is called through ``common.wire``, which
spares the copies that protobuf makes of a chunk.
"""

from __future__ import annotations

import re
import sys
from importlib.resources import files
from pathlib import Path

PROTO = Path(__file__).resolve().parent
TARGET = PROTO.parent / "common" / "pb"


def generate(target: Path = TARGET) -> None:
    """Writes ``*_pb2.py`` and ``*_pb2.pyi`` for every .proto file into ``target``."""
    from grpc_tools import protoc

    sources = sorted(PROTO.glob("*.proto"))
    google = files("grpc_tools") / "_proto"
    arguments = ["protoc", f"-I{PROTO}", f"-I{google}", f"--python_out={target}", f"--pyi_out={target}"]
    if protoc.main([*arguments, *(str(source) for source in sources)]) != 0:
        raise SystemExit("protoc refused a .proto file")
    for source in sources:
        # protoc imports siblings as top-level modules; here they are a package
        for written in target.glob(f"{source.stem}_pb2.py*"):
            text = written.read_text(encoding="utf-8")
            text = re.sub(r"^import (\w+_pb2) as", r"from common.pb import \1 as", text, flags=re.MULTILINE)
            written.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET)
