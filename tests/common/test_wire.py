from __future__ import annotations

import pickle
import random
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from common.errors import SplitError
from common.pb import split_pb2 as pb
from common.wire import (
    CHUNK_BYTES,
    DTYPE_NUMBERS,
    INLINE_BYTES,
    Codec,
    Inbox,
    Refused,
    Rows,
    announce,
    check_tensor,
    decode,
    encode,
    frames,
    parse,
)

CHECKOUT = Path(__file__).resolve().parents[2]


def randn(tokens: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(tokens, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_fp32_is_exact_for_every_dtype(dtype: torch.dtype) -> None:
    tensor = randn(5, 33).to(dtype)
    data = encode(tensor, Codec.FP32)
    assert data.numel() == Codec.FP32.nbytes(5, 33)
    assert torch.equal(decode(data, Codec.FP32, 5, 33, dtype), tensor)


def test_bf16_halves_the_bytes_and_is_exact_for_bfloat16() -> None:
    tensor = randn(5, 33).bfloat16()
    data = encode(tensor, Codec.BF16)
    assert data.numel() == Codec.BF16.nbytes(5, 33) == 5 * 33 * 2
    assert torch.equal(decode(data, Codec.BF16, 5, 33, torch.bfloat16), tensor)
    rounded = decode(encode(randn(50, 64), Codec.BF16), Codec.BF16, 50, 64, torch.float32)
    assert torch.cosine_similarity(rounded.flatten(), randn(50, 64).flatten(), dim=0) >= 0.99999


@pytest.mark.parametrize("width", [1, 63, 64, 65, 256])
def test_int8_is_close_also_with_outliers(width: int) -> None:
    tensor = randn(200, width)
    tensor[:, 0] *= 50
    data = encode(tensor, Codec.INT8)
    assert data.numel() == Codec.INT8.nbytes(200, width)
    found = decode(data, Codec.INT8, 200, width, torch.float32)
    assert (found - tensor).norm() <= 0.02 * tensor.norm()
    per_tensor = (tensor / tensor.abs().max() * 127).round() * tensor.abs().max() / 127
    assert width == 1 or 1.5 * (found - tensor).norm() < (per_tensor - tensor).norm()


def test_int8_takes_a_quarter_and_clips_nothing() -> None:
    assert Codec.INT8.nbytes(100, 1024) / Codec.FP32.nbytes(100, 1024) <= 0.258
    tensor = randn(100, 64, seed=3) * torch.logspace(-12, 12, 100).unsqueeze(1)
    found = decode(encode(tensor, Codec.INT8), Codec.INT8, 100, 64, torch.float32)
    worst = tensor.abs().amax(1, keepdim=True)
    assert ((found - tensor).abs() <= worst / 127 * 0.51 * (1 + 2**-7)).all()
    assert (decode(encode(torch.zeros(2, 64), Codec.INT8), Codec.INT8, 2, 64, torch.float32) == 0).all()


@pytest.mark.parametrize("codec", list(Codec))
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_neither_sent_nor_taken(codec: Codec, value: float) -> None:
    tensor = randn(2, 64)
    tensor[1, 3] = value
    with pytest.raises(SplitError, match="finite"):
        encode(tensor, codec)
    data = encode(randn(2, 64), codec)
    raw = torch.tensor([value], dtype=torch.float32 if codec is Codec.FP32 else torch.bfloat16).view(torch.uint8)
    data[: raw.numel()] = raw
    with pytest.raises(Refused, match="finite"):
        decode(data, codec, 2, 64, torch.float32)


def test_what_bf16_cannot_hold_is_not_sent() -> None:
    with pytest.raises(SplitError, match="bfloat16"):
        encode(torch.full((1, 2), torch.finfo(torch.float32).max), Codec.BF16)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("shape", [4]),
        ("shape", [4, 8, 1]),
        ("shape", [4, 9]),
        ("shape", [0, 8]),
        ("dtype", pb.DTYPE_FLOAT16),
        ("dtype", 0),
        ("dtype", 99),
        ("codec", pb.CODEC_BF16),
        ("codec", 99),
        ("nbytes", 127),
        ("nbytes", 1 << 62),
    ],
)
def test_an_announced_tensor_is_checked(field: str, value: object) -> None:
    announced = announce(randn(4, 8), Codec.FP32)
    check_tensor(announced, 4, 8, torch.float32, Codec.FP32)
    if field == "shape":
        del announced.shape[:]
        announced.shape.extend(value)
    else:
        setattr(announced, field, value)
    with pytest.raises(Refused, match=field):
        check_tensor(announced, 4, 8, torch.float32, Codec.FP32)


@pytest.mark.parametrize("codec", list(Codec))
def test_tensors_travel_in_chunks(codec: Codec) -> None:
    tensors = [randn(3000, 130), randn(7, 130, seed=1), randn(2500, 130, seed=2)]
    reply = pb.Reply(number=3, tensors=[announce(tensor, codec) for tensor in tensors])
    sent = list(frames(pb.Frame(reply=reply), [encode(tensor, codec) for tensor in tensors]))
    head, *chunks = [parse(message) for message in sent]
    inbox = Inbox(head.reply)
    for chunk in chunks:
        assert len(chunk) <= CHUNK_BYTES
        assert not inbox.full
        inbox.add(chunk)
    assert inbox.full
    for found, tensor in zip(inbox.tensors(torch.float32), tensors, strict=True):
        assert torch.equal(found, decode(encode(tensor, codec), codec, *tensor.shape, torch.float32))


def test_chunks_may_be_cut_anywhere() -> None:
    tensors = [randn(3, 5), randn(2, 5, seed=1)]
    data = b"".join(encode(tensor, Codec.FP32).numpy().tobytes() for tensor in tensors)
    dice = random.Random(0)
    for _ in range(50):
        first = dice.randrange(20)
        inbox = Inbox(pb.Request(tensors=[announce(tensor, Codec.FP32) for tensor in tensors], inline=data[:first]))
        at = first
        while at < len(data):
            size = dice.randrange(1, 30)
            inbox.add(memoryview(data[at : at + size]))
            at += size
        assert all(
            torch.equal(found, tensor) for found, tensor in zip(inbox.tensors(torch.float32), tensors, strict=True)
        )


@pytest.mark.parametrize("size", [0, 61, CHUNK_BYTES + 1])
def test_a_chunk_that_does_not_fit_is_refused(size: int) -> None:
    with pytest.raises(Refused):
        Inbox(pb.Request(tensors=[announce(randn(3, 5), Codec.FP32)])).add(memoryview(bytes(size)))


def test_more_bytes_within_a_header_than_announced_are_refused() -> None:
    with pytest.raises(Refused, match="announced"):
        Inbox(pb.Request(tensors=[announce(randn(3, 5), Codec.FP32)], inline=bytes(61)))


def test_few_bytes_travel_within_the_header() -> None:
    tensor = randn(3, 5)
    (message,) = frames(pb.Frame(reply=pb.Reply(tensors=[announce(tensor, Codec.FP32)])), [encode(tensor, Codec.FP32)])
    inbox = Inbox(parse(message).reply)
    assert inbox.full and torch.equal(inbox.tensors(torch.float32)[0], tensor)


@pytest.mark.parametrize("size", [1, 127, 128, 16_383, 16_384, CHUNK_BYTES])
def test_a_chunk_is_what_protobuf_makes_of_it(size: int) -> None:
    data = (torch.arange(size + INLINE_BYTES, dtype=torch.int64) % 251).to(torch.uint8)
    data = data if size == CHUNK_BYTES else data[:size]
    chunk = data[:size].numpy().tobytes()
    message = pb.Frame(chunk=chunk).SerializeToString()
    assert bytes(parse(message)) == chunk
    if size == CHUNK_BYTES:
        assert list(frames(pb.Frame(reply=pb.Reply()), [data]))[1] == message


def test_thousands_of_random_messages_are_parsed_or_refused() -> None:
    dice = random.Random(1)
    chunk = pb.Frame(chunk=bytes(300)).SerializeToString()
    good = [*frames(pb.Frame(hello=pb.Hello(digest="x", k=1))), chunk]
    for _ in range(10_000):
        message = bytearray(dice.choice([*good, dice.randbytes(dice.randrange(40))]))
        for _ in range(dice.randrange(4)):
            if message:
                message[dice.randrange(len(message))] = dice.randrange(256)
        try:
            found = parse(bytes(message[: dice.randrange(len(message) + 1)]))
        except Refused:
            continue
        assert isinstance(found, pb.Frame | memoryview)


@st.composite
def batches(draw: st.DrawFn) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Hidden states, a mask with padding on either side or none, and positions or none."""
    rows, width = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    hidden = randn(rows * width, 3, draw(st.integers(0, 99))).view(rows, width, 3)
    mask = None
    if draw(st.booleans()):
        mask = torch.zeros(rows, width, dtype=torch.long)
        for row in range(rows):
            start = draw(st.integers(0, width - 1))
            mask[row, start : draw(st.integers(start + 1, width))] = 1
        if draw(st.booleans()):
            mask[mask.nonzero()[0].tolist()[0], mask.nonzero()[0].tolist()[1]] = 2
    kind = draw(st.sampled_from(["none", "shared", "own"]))
    positions = None if kind == "none" else torch.arange(width).expand(1 if kind == "shared" else rows, width) + 3
    return hidden, mask, positions


@settings(deadline=None, max_examples=150)
@given(batches())
def test_rows_survive_the_wire(batch: tuple[Tensor, Tensor | None, Tensor | None]) -> None:
    hidden, mask, positions = batch
    rows = Rows.of(hidden, mask, positions)
    found = Rows.from_message(pb.Rows.FromString(rows.message().SerializeToString()), max_tokens=24)
    assert found == rows
    cells = torch.ones(hidden.shape[:2], dtype=torch.bool) if mask is None else mask > 0
    packed = found.pack(hidden)
    assert torch.equal(packed, hidden[cells])
    assert torch.equal(found.unpack(packed), hidden * cells.unsqueeze(-1))
    assert mask is None and found.attention_mask() is None or torch.equal(found.attention_mask(), mask)
    if positions is None:
        assert found.position_ids() is None
    else:
        seen = found.position_ids().expand(hidden.shape[:2])
        assert torch.equal(seen[cells], positions.expand(hidden.shape[:2])[cells])


@settings(deadline=None, max_examples=100)
@given(st.lists(batches(), min_size=2, max_size=4))
def test_joined_rows_keep_every_token_where_it_was(parts: list[tuple[Tensor, Tensor | None, Tensor | None]]) -> None:
    rows = [Rows.of(*part) for part in parts]
    joined = Rows.join(rows)
    batch = joined.unpack(torch.cat([one.pack(part[0]) for one, part in zip(rows, parts, strict=True)]))
    mask, positions, begin = joined.attention_mask(), joined.position_ids(), 0
    for hidden, own_mask, own_positions in parts:
        count, width = hidden.shape[:2]
        cells = torch.ones(count, width, dtype=torch.long) if own_mask is None else own_mask
        assert torch.equal(batch[begin : begin + count, :width], hidden * (cells > 0).unsqueeze(-1))
        if mask is not None:
            assert torch.equal(mask[begin : begin + count, :width], cells)
            assert (mask[begin : begin + count, width:] == 0).all()
        if positions is not None:
            expected = torch.arange(width) if own_positions is None else own_positions
            seen = positions[begin : begin + count, :width]
            assert torch.equal(seen[cells > 0], expected.expand(count, width)[cells > 0])
        begin += count


@pytest.mark.parametrize(
    ("mask", "match"),
    [
        ([[1, 0, 1]], "between"),
        ([[0, 0, 0]], "no token"),
        ([[1, 3, 1]], "none of"),
        ([[1, 1]], "shape"),
    ],
)
def test_masks_that_cannot_travel_are_refused(mask: list[list[int]], match: str) -> None:
    with pytest.raises(SplitError, match=match):
        Rows.of(torch.zeros(1, 3, 2), torch.tensor(mask), None)


@pytest.mark.parametrize("positions", [[[0, 1]], [[0, 1, 2], [0, 1, 2]], [[-1, 0, 1]]])
def test_positions_that_cannot_travel_are_refused(positions: list[list[int]]) -> None:
    with pytest.raises(SplitError, match="position_ids"):
        Rows.of(torch.zeros(1, 3, 2), None, torch.tensor(positions))


def test_padding_does_not_travel() -> None:
    hidden = randn(12, 8).view(3, 4, 8)
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 1]])
    assert encode(Rows.of(hidden, mask, None).pack(hidden), Codec.FP32).numel() == 6 * 8 * 4


def test_a_refusal_survives_pickling() -> None:
    one = pickle.loads(pickle.dumps(Refused("a", "b", "ABORTED")))
    assert (one.message, one.hint, one.status) == ("a", "b", "ABORTED")


def test_every_dtype_has_a_number() -> None:
    assert set(DTYPE_NUMBERS.values()) == set(pb.Dtype.values()) - {0}
    assert {codec.number for codec in Codec} == set(pb.Codec.values()) - {0}


def test_the_generated_code_is_that_of_the_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed")
    monkeypatch.syspath_prepend(str(CHECKOUT / "proto"))
    import generate

    monkeypatch.delitem(sys.modules, "generate")
    generate.generate(tmp_path)
    made = sorted(tmp_path.iterdir())
    assert [path.name for path in made] == ["split_pb2.py", "split_pb2.pyi"]
    for path in made:
        assert path.read_text() == (CHECKOUT / "common" / "pb" / path.name).read_text(), "run proto/generate.py"
