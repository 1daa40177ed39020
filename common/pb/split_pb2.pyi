from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Codec(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CODEC_UNSPECIFIED: _ClassVar[Codec]
    CODEC_FP32: _ClassVar[Codec]
    CODEC_BF16: _ClassVar[Codec]
    CODEC_INT8: _ClassVar[Codec]

class Dtype(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DTYPE_UNSPECIFIED: _ClassVar[Dtype]
    DTYPE_FLOAT32: _ClassVar[Dtype]
    DTYPE_BFLOAT16: _ClassVar[Dtype]
    DTYPE_FLOAT16: _ClassVar[Dtype]

class Op(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OP_UNSPECIFIED: _ClassVar[Op]
    OP_INFER: _ClassVar[Op]
    OP_FORWARD: _ClassVar[Op]
    OP_BACKWARD: _ClassVar[Op]
    OP_STEP: _ClassVar[Op]
    OP_PREFILL: _ClassVar[Op]
    OP_DECODE: _ClassVar[Op]

class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATUS_OK: _ClassVar[Status]
    STATUS_INPUT_WANTED: _ClassVar[Status]
    STATUS_FAILED_PRECONDITION: _ClassVar[Status]
    STATUS_RESOURCE_EXHAUSTED: _ClassVar[Status]
    STATUS_DEADLINE_EXCEEDED: _ClassVar[Status]
    STATUS_ABORTED: _ClassVar[Status]
    STATUS_INVALID_ARGUMENT: _ClassVar[Status]
    STATUS_PERMISSION_DENIED: _ClassVar[Status]
    STATUS_INTERNAL: _ClassVar[Status]
    STATUS_UNAVAILABLE: _ClassVar[Status]
CODEC_UNSPECIFIED: Codec
CODEC_FP32: Codec
CODEC_BF16: Codec
CODEC_INT8: Codec
DTYPE_UNSPECIFIED: Dtype
DTYPE_FLOAT32: Dtype
DTYPE_BFLOAT16: Dtype
DTYPE_FLOAT16: Dtype
OP_UNSPECIFIED: Op
OP_INFER: Op
OP_FORWARD: Op
OP_BACKWARD: Op
OP_STEP: Op
OP_PREFILL: Op
OP_DECODE: Op
STATUS_OK: Status
STATUS_INPUT_WANTED: Status
STATUS_FAILED_PRECONDITION: Status
STATUS_RESOURCE_EXHAUSTED: Status
STATUS_DEADLINE_EXCEEDED: Status
STATUS_ABORTED: Status
STATUS_INVALID_ARGUMENT: Status
STATUS_PERMISSION_DENIED: Status
STATUS_INTERNAL: Status
STATUS_UNAVAILABLE: Status

class Frame(_message.Message):
    __slots__ = ("hello", "welcome", "request", "reply", "chunk")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    REPLY_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    welcome: Welcome
    request: Request
    reply: Reply
    chunk: bytes
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., welcome: _Optional[_Union[Welcome, _Mapping]] = ..., request: _Optional[_Union[Request, _Mapping]] = ..., reply: _Optional[_Union[Reply, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("protocol", "digest", "k", "m", "hidden_size", "codec", "training", "config")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    M_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_SIZE_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    TRAINING_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    digest: str
    k: int
    m: int
    hidden_size: int
    codec: Codec
    training: bool
    config: str
    def __init__(self, protocol: _Optional[int] = ..., digest: _Optional[str] = ..., k: _Optional[int] = ..., m: _Optional[int] = ..., hidden_size: _Optional[int] = ..., codec: _Optional[_Union[Codec, str]] = ..., training: _Optional[bool] = ..., config: _Optional[str] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("version", "round", "step", "number", "durable", "dtype", "max_tokens")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    DURABLE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    version: int
    round: int
    step: int
    number: int
    durable: int
    dtype: Dtype
    max_tokens: int
    def __init__(self, version: _Optional[int] = ..., round: _Optional[int] = ..., step: _Optional[int] = ..., number: _Optional[int] = ..., durable: _Optional[int] = ..., dtype: _Optional[_Union[Dtype, str]] = ..., max_tokens: _Optional[int] = ...) -> None: ...

class Rows(_message.Message):
    __slots__ = ("width", "starts", "lengths", "masked", "global_tokens", "positions", "shared_positions")
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    STARTS_FIELD_NUMBER: _ClassVar[int]
    LENGTHS_FIELD_NUMBER: _ClassVar[int]
    MASKED_FIELD_NUMBER: _ClassVar[int]
    GLOBAL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    SHARED_POSITIONS_FIELD_NUMBER: _ClassVar[int]
    width: int
    starts: _containers.RepeatedScalarFieldContainer[int]
    lengths: _containers.RepeatedScalarFieldContainer[int]
    masked: bool
    global_tokens: _containers.RepeatedScalarFieldContainer[int]
    positions: _containers.RepeatedScalarFieldContainer[int]
    shared_positions: bool
    def __init__(self, width: _Optional[int] = ..., starts: _Optional[_Iterable[int]] = ..., lengths: _Optional[_Iterable[int]] = ..., masked: _Optional[bool] = ..., global_tokens: _Optional[_Iterable[int]] = ..., positions: _Optional[_Iterable[int]] = ..., shared_positions: _Optional[bool] = ...) -> None: ...

class Tensor(_message.Message):
    __slots__ = ("shape", "dtype", "codec", "nbytes")
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    NBYTES_FIELD_NUMBER: _ClassVar[int]
    shape: _containers.RepeatedScalarFieldContainer[int]
    dtype: Dtype
    codec: Codec
    nbytes: int
    def __init__(self, shape: _Optional[_Iterable[int]] = ..., dtype: _Optional[_Union[Dtype, str]] = ..., codec: _Optional[_Union[Codec, str]] = ..., nbytes: _Optional[int] = ...) -> None: ...

class Micro(_message.Message):
    __slots__ = ("id", "forward")
    ID_FIELD_NUMBER: _ClassVar[int]
    FORWARD_FIELD_NUMBER: _ClassVar[int]
    id: int
    forward: int
    def __init__(self, id: _Optional[int] = ..., forward: _Optional[int] = ...) -> None: ...

class Sequence(_message.Message):
    __slots__ = ("id", "past", "dropped", "order", "starts")
    ID_FIELD_NUMBER: _ClassVar[int]
    PAST_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    STARTS_FIELD_NUMBER: _ClassVar[int]
    id: int
    past: int
    dropped: int
    order: _containers.RepeatedScalarFieldContainer[int]
    starts: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, id: _Optional[int] = ..., past: _Optional[int] = ..., dropped: _Optional[int] = ..., order: _Optional[_Iterable[int]] = ..., starts: _Optional[_Iterable[int]] = ...) -> None: ...

class Request(_message.Message):
    __slots__ = ("number", "op", "step", "micros", "rows", "tensors", "input_gradient", "learning_rate", "deadline_ms", "inline", "sequence", "bare", "ended")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    MICROS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    INPUT_GRADIENT_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    INLINE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    BARE_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    number: int
    op: Op
    step: int
    micros: _containers.RepeatedCompositeFieldContainer[Micro]
    rows: Rows
    tensors: _containers.RepeatedCompositeFieldContainer[Tensor]
    input_gradient: bool
    learning_rate: float
    deadline_ms: int
    inline: bytes
    sequence: Sequence
    bare: bool
    ended: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, number: _Optional[int] = ..., op: _Optional[_Union[Op, str]] = ..., step: _Optional[int] = ..., micros: _Optional[_Iterable[_Union[Micro, _Mapping]]] = ..., rows: _Optional[_Union[Rows, _Mapping]] = ..., tensors: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ..., input_gradient: _Optional[bool] = ..., learning_rate: _Optional[float] = ..., deadline_ms: _Optional[int] = ..., inline: _Optional[bytes] = ..., sequence: _Optional[_Union[Sequence, _Mapping]] = ..., bare: _Optional[bool] = ..., ended: _Optional[_Iterable[int]] = ...) -> None: ...

class Reply(_message.Message):
    __slots__ = ("number", "status", "message", "version", "step", "durable", "tensors", "inline")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    DURABLE_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    INLINE_FIELD_NUMBER: _ClassVar[int]
    number: int
    status: Status
    message: str
    version: int
    step: int
    durable: int
    tensors: _containers.RepeatedCompositeFieldContainer[Tensor]
    inline: bytes
    def __init__(self, number: _Optional[int] = ..., status: _Optional[_Union[Status, str]] = ..., message: _Optional[str] = ..., version: _Optional[int] = ..., step: _Optional[int] = ..., durable: _Optional[int] = ..., tensors: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ..., inline: _Optional[bytes] = ...) -> None: ...
