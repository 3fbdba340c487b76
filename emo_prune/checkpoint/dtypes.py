"""The number formats of safetensors: one table, by the names its headers use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Dtype(NamedTuple):
    """A number format.

    bits: of one number. numpy: the little-endian dtype, None where numpy has none.
    torch: the name of the attribute of `torch`, None where torch has none.
    """

    bits: int
    numpy: str | None = None
    torch: str | None = None


# The formats of safetensors 0.8: `safetensors/src/tensor.rs`, `Dtype`.
DTYPES: Mapping[str, Dtype] = {
    "BOOL": Dtype(8, "?", "bool"),
    "U8": Dtype(8, "u1", "uint8"),
    "I8": Dtype(8, "i1", "int8"),
    "F8_E5M2": Dtype(8, None, "float8_e5m2"),
    "F8_E4M3": Dtype(8, None, "float8_e4m3fn"),
    "F8_E8M0": Dtype(8, None, "float8_e8m0fnu"),
    "F8_E4M3FNUZ": Dtype(8, None, "float8_e4m3fnuz"),
    "F8_E5M2FNUZ": Dtype(8, None, "float8_e5m2fnuz"),
    "F4": Dtype(4, None, "float4_e2m1fn_x2"),
    "F6_E2M3": Dtype(6),
    "F6_E3M2": Dtype(6),
    "I16": Dtype(16, "<i2", "int16"),
    "U16": Dtype(16, "<u2", "uint16"),
    "F16": Dtype(16, "<f2", "float16"),
    "BF16": Dtype(16, None, "bfloat16"),
    "I32": Dtype(32, "<i4", "int32"),
    "U32": Dtype(32, "<u4", "uint32"),
    "F32": Dtype(32, "<f4", "float32"),
    "I64": Dtype(64, "<i8", "int64"),
    "U64": Dtype(64, "<u8", "uint64"),
    "F64": Dtype(64, "<f8", "float64"),
    "C64": Dtype(64, "<c8", "complex64"),
}

# Those whose numbers stand for themselves; what is narrower needs scales beside it.
FLOATS = ("F64", "F32", "F16", "BF16")
