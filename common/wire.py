"""The split service's wire format: frames, rows and codecs, as ``proto/split.proto`` defines them.

Everything that arrives is checked against what was announced, and what is announced against what is allowed, before
memory is taken for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

import torch
from google.protobuf.message import DecodeError
from torch import Tensor

from common.errors import FellrecError, SplitError
from common.line import line
from common.pb import split_pb2 as pb

PROTOCOL = 1
METHOD = "/fellrec.split.v1.Split/Session"
CHUNK_BYTES = 1 << 20
INLINE_BYTES = 1 << 16
"""Tensors of no more bytes travel inside the header: each message of a stream costs time of its own."""

CREDITS = 2
"""Requests of one session that may be under way at once."""

MESSAGE_BYTES = 4 << 20
HEADER_BYTES = 1 << 20
"""Of a frame that is no chunk, in either direction, unless a service allows more."""

ENDED = 64
"""Sequences that one request may end; a client names the rest in its next ones."""

CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.http2.max_frame_size", 4 << 20),
    ("grpc.http2.write_buffer_size", 4 << 20),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
]
BLOCK = 64
SCALE = torch.bfloat16

# field 15, length-delimited: how protobuf begins a frame that is a chunk
_CHUNK_TAG = bytes([pb.Frame.CHUNK_FIELD_NUMBER << 3 | 2])

DTYPES = {
    pb.DTYPE_FLOAT32: torch.float32,
    pb.DTYPE_BFLOAT16: torch.bfloat16,
    pb.DTYPE_FLOAT16: torch.float16,
}
DTYPE_NUMBERS = {dtype: number for number, dtype in DTYPES.items()}


class Refused(SplitError):
    """A request is refused; ``status`` is the name of the gRPC status that says so.

    The message may hold what the caller sent, so it is cut to a line here, whoever makes it.
    """

    def __init__(self, message: str, hint: str = "", status: str = "INVALID_ARGUMENT") -> None:
        super().__init__(line(message), line(hint))
        self.status = status

    def __reduce__(self) -> tuple[type[FellrecError], tuple[str, ...]]:
        return type(self), (self.message, self.hint, self.status)


class Codec(StrEnum):
    """How a tensor's values become bytes: exact, half the size, or a quarter."""

    FP32 = "fp32"
    BF16 = "bf16"
    INT8 = "int8"

    @property
    def number(self) -> pb.Codec:
        """The value in the protocol."""
        return cast("pb.Codec", pb.Codec.Value(f"CODEC_{self.name}"))

    @classmethod
    def of(cls, number: int) -> Codec:
        """The codec with a number of the protocol.

        Raises
        ------
        Refused : there is none.
        """
        for codec in cls:
            if codec.number == number:
                return codec
        raise Refused(f"codec is {number!r}", f"known: {', '.join(cls)}")

    def nbytes(self, tokens: int, width: int) -> int:
        """Bytes of a tensor [tokens, width]."""
        if self is Codec.INT8:
            return tokens * (width + SCALE.itemsize * math.ceil(width / BLOCK))
        return tokens * width * (4 if self is Codec.FP32 else 2)


def encode(tensor: Tensor, codec: Codec) -> Tensor:
    """The bytes of a tensor [tokens, width], uint8 in main memory; may share the tensor's memory.

    ``int8`` divides blocks of 64 values along a row by a scale of their own (a tensor-wide scale would be ruled by a
    few outliers); scales are rounded up to bfloat16 so that no value is clipped.

    Raises
    ------
    SplitError : a value is not finite, or is too large for the codec.
    """
    tensor = tensor.detach()
    if not _finite(tensor):
        raise SplitError("a tensor for the wire holds a value that is not finite", "lower the learning rate")
    if codec is Codec.FP32:
        return _raw(tensor.float())
    if codec is Codec.BF16:
        half = tensor.to(torch.bfloat16)
        if not _finite(half):
            raise SplitError("a tensor for the wire holds a value beyond bfloat16's range", "use the codec 'fp32'")
        return _raw(half)
    tokens, width = tensor.shape
    blocks = torch.nn.functional.pad(tensor.float(), (0, -width % BLOCK)).view(tokens, -1, BLOCK)
    scales = (blocks.abs().amax(-1) / 127 * (1 + 2**-8)).to(SCALE)
    divisors = scales.float().masked_fill(scales == 0, 1)
    values = (blocks / divisors.unsqueeze(-1)).round().clamp(-127, 127).to(torch.int8).view(tokens, -1)[:, :width]
    return torch.cat([_raw(scales), _raw(values)])


def decode(data: Tensor, codec: Codec, tokens: int, width: int, dtype: torch.dtype) -> Tensor:
    """The tensor [tokens, width] that ``data`` (uint8) holds; the inverse of :func:`encode`, may share its memory.

    Raises
    ------
    Refused : a value is not finite.
    """
    if codec is Codec.INT8:
        count = math.ceil(width / BLOCK)
        cut = tokens * count * SCALE.itemsize
        scales = data[:cut].view(SCALE).view(tokens, count, 1).float()
        values = torch.nn.functional.pad(data[cut:].view(torch.int8).view(tokens, width), (0, -width % BLOCK))
        tensor = (values.view(tokens, count, BLOCK) * scales).view(tokens, -1)[:, :width].contiguous()
    else:
        tensor = data.view(torch.float32 if codec is Codec.FP32 else torch.bfloat16).view(tokens, width)
    tensor = tensor.to(dtype)
    if not _finite(tensor):
        raise Refused("a tensor holds a value that is not finite")
    return tensor


def announce(tensor: Tensor, codec: Codec) -> pb.Tensor:
    """What a header says of a tensor [tokens, width] that follows it."""
    tokens, width = tensor.shape
    return pb.Tensor(
        shape=[tokens, width], dtype=DTYPE_NUMBERS[tensor.dtype], codec=codec.number, nbytes=codec.nbytes(tokens, width)
    )


def check_tensor(announced: pb.Tensor, tokens: int, width: int, dtype: torch.dtype, codec: Codec) -> None:
    """Refuses an announced tensor that is not [tokens, width] in ``dtype``, encoded with ``codec``.

    Raises
    ------
    Refused : names the field, the value found and the one expected.
    """
    if len(announced.shape) != 2:
        raise Refused(
            f"shape has {len(announced.shape)!r} dimensions",
            "a tensor on the wire has two dimensions, [tokens, hidden size]",
        )
    if list(announced.shape) != [tokens, width]:
        raise Refused(f"shape is {list(announced.shape)!r}, expected {[tokens, width]!r}")
    if DTYPES.get(announced.dtype) != dtype:
        raise Refused(f"dtype is {announced.dtype!r}, expected {DTYPE_NUMBERS[dtype]!r} ({dtype})")
    if announced.codec != codec.number:
        raise Refused(f"codec is {announced.codec!r}, expected the session's, {codec.number!r} ({codec})")
    if announced.nbytes != codec.nbytes(tokens, width):
        raise Refused(f"nbytes is {announced.nbytes!r}, expected {codec.nbytes(tokens, width)!r}")


class Inbox:
    """The tensors that a request or reply announced, filled chunk by chunk from what it brought itself.

    Memory is taken here: check the header first.

    Raises
    ------
    Refused : it brought more bytes than it announced.
    """

    def __init__(self, head: pb.Request | pb.Reply) -> None:
        self.announced = head.tensors
        self.buffers = [torch.empty(tensor.nbytes, dtype=torch.uint8) for tensor in head.tensors]
        self.nbytes = sum(tensor.nbytes for tensor in head.tensors)
        self.filled = 0
        self._views = [buffer.numpy().data for buffer in self.buffers]
        if head.inline:
            self.add(memoryview(head.inline))

    @property
    def full(self) -> bool:
        """Whether every announced byte is there."""
        return self.filled == self.nbytes

    def add(self, chunk: memoryview) -> None:
        """Takes the next bytes.

        Raises
        ------
        Refused : the chunk is empty, too long, or more than was announced.
        """
        if not 0 < len(chunk) <= CHUNK_BYTES:
            raise Refused(f"a chunk has {len(chunk)!r} bytes", f"1 to {CHUNK_BYTES} are allowed")
        if self.filled + len(chunk) > self.nbytes:
            raise Refused(f"{self.filled + len(chunk)!r} bytes follow a header that announced {self.nbytes!r}")
        at = self.filled
        self.filled += len(chunk)
        for view in self._views:
            if at >= len(view):
                at -= len(view)
                continue
            taken = min(len(view) - at, len(chunk))
            view[at : at + taken] = chunk[:taken]
            chunk, at = chunk[taken:], 0
            if not chunk:
                return

    def tensors(self, dtype: torch.dtype) -> list[Tensor]:
        """The decoded tensors, once full.

        Raises
        ------
        Refused : a value is not finite.
        """
        return [
            decode(buffer, Codec.of(tensor.codec), tensor.shape[0], tensor.shape[1], dtype)
            for tensor, buffer in zip(self.announced, self.buffers, strict=True)
        ]


def frames(head: pb.Frame, payloads: Sequence[Tensor] = ()) -> Iterator[bytes]:
    """The messages of a stream: a request or reply with its payloads (uint8), inside it or in chunks."""
    views = [payload.numpy().data for payload in payloads]
    if views and sum(map(len, views)) <= INLINE_BYTES:
        getattr(head, head.WhichOneof("part")).inline = b"".join(views)
        views = []
    yield head.SerializeToString()
    for view in views:
        for begin in range(0, len(view), CHUNK_BYTES):
            part = view[begin : begin + CHUNK_BYTES]
            yield b"".join((_CHUNK_TAG, _varint(len(part)), part))


def parse(message: bytes, header_bytes: int = HEADER_BYTES) -> pb.Frame | memoryview:
    """A message of a stream: a frame, or a chunk's bytes without a copy.

    Parameters
    ----------
    header_bytes : of a frame that is no chunk; looked at before it is parsed, for a parsed field takes more than it sent.

    Raises
    ------
    Refused : it is not a frame of this protocol, or a header is too long.
    """
    if message[:1] == _CHUNK_TAG:
        begin = 2
        while begin < 6 and message[begin - 1 : begin] >= b"\x80":
            begin += 1
        if begin <= len(message) and message[1:begin] == _varint(len(message) - begin):
            return memoryview(message)[begin:]
    if len(message) > header_bytes:
        raise Refused(
            f"a header has {len(message)!r} bytes, more than 'split.limits.header-bytes' = {header_bytes!r}",
            "send smaller micro-batches, and tensors as chunks",
        )
    try:
        frame = pb.Frame.FromString(message)
    except DecodeError as error:
        raise Refused("a message is no frame of this protocol") from error
    part = frame.WhichOneof("part")
    if part is None:
        raise Refused("a frame is empty")
    return memoryview(frame.chunk) if part == "chunk" else frame


@dataclass(frozen=True)
class Rows:
    """Which cells of a padded batch [rows, width] are tokens, and their positions. Padding never travels.

    Attributes
    ----------
    starts, lengths : of each row's tokens, which are one run (padding is on either side).
    masked : whether the model is given a mask; without one every cell is a token.
    global_tokens : indices among the tokens of those with global attention (Longformer).
    positions : one per token, or with ``shared_positions`` one per column for all rows; None where the model makes
        its own.
    """

    width: int
    starts: tuple[int, ...]
    lengths: tuple[int, ...]
    masked: bool = False
    global_tokens: tuple[int, ...] = ()
    positions: tuple[int, ...] | None = None
    shared_positions: bool = False

    @classmethod
    def of(cls, hidden: Tensor, attention_mask: Tensor | None, position_ids: Tensor | None) -> Rows:
        """From what a model's layers are called with: [B,T,H], [B,T] (0 padding, 1 token, 2 global) and [B,T] or [1,T].

        Raises
        ------
        SplitError : the shapes do not fit each other, a row has no token, or its tokens are not one run.
        """
        if hidden.ndim != 3 or 0 in hidden.shape:
            raise SplitError(f"hidden states have shape {tuple(hidden.shape)!r}", "expected [rows, width, hidden size]")
        count, width = hidden.shape[:2]
        starts, lengths, global_tokens, cells = [0] * count, [width] * count, (), None
        if attention_mask is not None:
            if attention_mask.shape != (count, width):
                raise SplitError(f"attention_mask has shape {tuple(attention_mask.shape)!r}, not {(count, width)!r}")
            mask = attention_mask.cpu().long()
            if not ((mask >= 0) & (mask <= 2)).all():
                raise SplitError("attention_mask holds a value that is none of 0, 1 and 2")
            cells = mask > 0
            starts, lengths = cells.long().argmax(1).tolist(), cells.sum(1).tolist()
            global_tokens = tuple((mask[cells] == 2).nonzero().flatten().tolist())
            if min(lengths) == 0:
                raise SplitError(f"row {lengths.index(0)!r} of attention_mask has no token", "leave the row out")
        positions, shared = None, False
        if position_ids is not None:
            if position_ids.shape not in ((1, width), (count, width)):
                raise SplitError(f"position_ids has shape {tuple(position_ids.shape)!r}, not {(count, width)!r}")
            shared = position_ids.shape[0] == 1
            chosen = position_ids.cpu()
            positions = tuple((chosen.flatten() if shared or cells is None else chosen[cells]).tolist())
            if min(positions) < 0:
                raise SplitError(f"position_ids holds {min(positions)!r}", "positions are 0 or more")
        rows = cls(width, tuple(starts), tuple(lengths), cells is not None, global_tokens, positions, shared)
        if cells is not None and not torch.equal(cells, rows.cells()):
            raise SplitError(
                "attention_mask has padding between the tokens of a row", "pad on the left or on the right"
            )
        return rows

    @classmethod
    def from_message(cls, message: pb.Rows, max_tokens: int) -> Rows:
        """From the wire; at most ``max_tokens`` cells.

        Raises
        ------
        Refused : the fields contradict each other, or there are too many cells.
        """
        count = len(message.starts)
        if not count or count != len(message.lengths) or not message.width:
            raise Refused(f"rows of width {message.width!r} have {count!r} starts and {len(message.lengths)!r} lengths")
        if message.width * count > max_tokens:
            raise Refused(
                f"{count!r} rows of width {message.width!r} are more than {max_tokens!r} tokens, 'split.limits.tokens'",
                "send smaller micro-batches, or raise it",
                "RESOURCE_EXHAUSTED",
            )
        for name in ("positions", "global_tokens"):
            if (found := len(getattr(message, name))) > message.width * count:
                raise Refused(f"{found!r} {name} for {count!r} rows of width {message.width!r}")
        starts, lengths = tuple(message.starts), tuple(message.lengths)
        positions = tuple(message.positions) or None
        if any(length == 0 or start + length > message.width for start, length in zip(starts, lengths, strict=True)):
            raise Refused(f"a row does not lie within width {message.width!r}, or has no token")
        rows = cls(
            message.width,
            starts,
            lengths,
            message.masked,
            tuple(message.global_tokens),
            positions,
            message.shared_positions,
        )
        if not rows.masked and (rows.tokens != rows.width * len(starts) or rows.global_tokens):
            raise Refused("rows without a mask have padding or global tokens")
        if positions is not None and len(positions) != (rows.width if rows.shared_positions else rows.tokens):
            raise Refused(f"{len(positions)!r} positions for {rows.tokens!r} tokens of width {rows.width!r}")
        if any(index >= rows.tokens for index in rows.global_tokens):
            raise Refused(f"a global token lies beyond the {rows.tokens!r} tokens")
        if positions is not None and max(positions) >= 1 << 31:
            raise Refused(f"a position is {max(positions)!r}")
        return rows

    @classmethod
    def join(cls, parts: Sequence[Rows]) -> Rows:
        """The rows of several batches in one, padded on the right to the widest; one batch stays as it is."""
        if len(parts) == 1:
            return parts[0]
        width = max(part.width for part in parts)
        positions: tuple[int, ...] | None = None
        if any(part.positions is not None for part in parts):
            positions = tuple(position for part in parts for position in part._own_positions())
        begins = [sum(part.tokens for part in parts[:index]) for index in range(len(parts))]
        return cls(
            width,
            tuple(start for part in parts for start in part.starts),
            tuple(length for part in parts for length in part.lengths),
            any(part.masked or part.width != width for part in parts),
            tuple(begin + token for begin, part in zip(begins, parts, strict=True) for token in part.global_tokens),
            positions,
        )

    @property
    def count(self) -> int:
        """How many rows."""
        return len(self.starts)

    @property
    def tokens(self) -> int:
        """How many cells are tokens."""
        return sum(self.lengths)

    def message(self) -> pb.Rows:
        """For the wire."""
        return pb.Rows(
            width=self.width,
            starts=self.starts,
            lengths=self.lengths,
            masked=self.masked,
            global_tokens=self.global_tokens,
            positions=self.positions or (),
            shared_positions=self.shared_positions,
        )

    def cells(self) -> Tensor:
        """Which cells are tokens, bool [B,T]."""
        columns = torch.arange(self.width)
        starts = torch.tensor(self.starts).unsqueeze(1)
        return (columns >= starts) & (columns < starts + torch.tensor(self.lengths).unsqueeze(1))

    def pack(self, batch: Tensor) -> Tensor:
        """The tokens [tokens, H] of a batch [B,T,H]."""
        if self.tokens == self.count * self.width:
            return batch.reshape(self.tokens, -1)
        return batch[self.cells().to(batch.device)]

    def unpack(self, tokens: Tensor) -> Tensor:
        """The batch [B,T,H] of tokens [tokens, H], zero where it is padded."""
        if self.tokens == self.count * self.width:
            return tokens.view(self.count, self.width, -1)
        batch = tokens.new_zeros(self.count, self.width, tokens.shape[1])
        batch[self.cells().to(tokens.device)] = tokens
        return batch

    def attention_mask(self) -> Tensor | None:
        """int64 [B,T], as the layers were called with."""
        if not self.masked:
            return None
        cells = self.cells()
        kinds = torch.ones(self.tokens, dtype=torch.long)
        kinds[list(self.global_tokens)] = 2
        mask = torch.zeros(self.count, self.width, dtype=torch.long)
        mask[cells] = kinds
        return mask

    def position_ids(self) -> Tensor | None:
        """int64 [B,T] or [1,T], zero where padded unless shared."""
        if self.positions is None:
            return None
        if self.shared_positions:
            return torch.tensor(self.positions).unsqueeze(0)
        return self.unpack(torch.tensor(self.positions).unsqueeze(1)).squeeze(2)

    def _own_positions(self) -> tuple[int, ...]:
        """One position per token; without any, those that a model makes: the columns."""
        if self.positions is not None and not self.shared_positions:
            return self.positions
        columns = self.positions or tuple(range(self.width))
        runs = zip(self.starts, self.lengths, strict=True)
        return tuple(position for start, length in runs for position in columns[start : start + length])


def _finite(tensor: Tensor) -> bool:
    low, high = torch.aminmax(tensor)
    return math.isfinite(low) and math.isfinite(high)


def _raw(tensor: Tensor) -> Tensor:
    return tensor.cpu().contiguous().view(torch.uint8).flatten()


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*parts, value))
