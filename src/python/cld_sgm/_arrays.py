"""Arrays of any library as numpy's, with one clear sentence for what cannot be one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FLOATS = ("float64", "float32", "float16", "bfloat16")


def as_numpy(value: Any, name: str) -> NDArray[Any]:
    """``value`` as a numpy array of floats in its own precision; bfloat16 as float32.

    Raises ValueError with the name, what was given and what is allowed.
    """
    if value is None:
        raise ValueError(f"array `{name}` is None; allowed: an array of numbers")
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(f"array `{name}` is masked in places; allowed: an array without a mask")
    device = str(getattr(value, "device", ""))
    if device == "meta":
        raise ValueError(f"array `{name}` is on the device meta, which holds no numbers; allowed: an array that has them")
    try:
        if type(value).__module__.split(".")[0] == "torch" and hasattr(value, "detach"):
            value = value.detach().cpu()  # a gradient is none of ours
            if str(value.dtype) == "torch.bfloat16":
                value = value.float()
            value = value.numpy()
        elif str(getattr(value, "dtype", "")) == "bfloat16":
            value = value.astype("float32")
        array = np.from_dlpack(value) if hasattr(value, "__dlpack__") and not hasattr(value, "__array__") else np.asarray(value)
    except Exception as error:
        raise ValueError(f"array `{name}` cannot be read ({one_line(error)}); allowed: an array of numbers") from None
    if array.dtype.kind in "iu":
        array = array.astype(np.float64)
    if array.dtype.kind != "f":
        raise ValueError(f"array `{name}` has dtype {array.dtype}; allowed: floats or integers")
    return array


def one_line(error: BaseException) -> str:
    """Name and words of an error of someone else's, in a line that is not too long."""
    text = " ".join(str(error).split())
    text = text if len(text) <= 300 else text[:297] + "..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def dtype_name(value: Any) -> str:
    """The precision of an array of any library: one of :data:`FLOATS`; numbers and lists are float64."""
    name = str(getattr(value, "dtype", "float64")).replace("torch.", "")
    return name if name in FLOATS else "float64"


def floats(value: Any, name: str) -> Array:
    """``value`` as contiguous float64; no copy where it is that already."""
    # not `ascontiguousarray`, which makes a number an array of one
    return np.asarray(as_numpy(value, name), dtype=np.float64, order="C")


def finite(array: Array, name: str) -> Array:
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise ValueError(f"array `{name}` holds {array.flat[bad[0]]} at {int(bad[0])}; allowed: finite numbers")
    return array


def whole(value: Any, name: str) -> int:
    """``value`` as a whole number, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 0 <= value < 2**63:
        raise ValueError(f"parameter `{name}` is {value!r}; allowed: whole numbers from 0")
    return int(value)
