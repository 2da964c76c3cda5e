"""The geometry of pooling."""

from __future__ import annotations

import numpy as np

from lamella.problems.base import Problem

KINDS = ("max", "avg", "lp")  # their numbers are known to compiled kernels
Pair = tuple[int, int]


def _out_size(size: int, k: int, s: int, p: int, d: int, ceil_mode: bool) -> int:
    """PyTorch's rule: in ceil mode a last window counts only if it starts inside the input or the padding before it."""
    span = size + 2 * p - d * (k - 1) - 1
    out = (span + (s - 1 if ceil_mode else 0)) // s + 1
    if ceil_mode and (out - 1) * s >= size + p:
        out -= 1
    return out


def _widest(size: int, out: int) -> int:
    """The largest of the windows that divide `size` inputs into `out` parts."""
    i = np.arange(out, dtype=np.int64)
    return int((-(-(i + 1) * size // out) - i * size // out).max(initial=1))


def _axis(size: int, out: int, k: int, s: int, p: int, d: int, adaptive: bool, include_pad: bool) -> tuple[np.ndarray, ...]:
    """The windows along one axis, and who covers whom.

    Returns
    -------
    lo, n, div : (out,), first tap inside the input, number of taps inside (`d` apart), this axis' factor of an average's divisor
    ptr : (size + 1,), pairs[ptr[i]:ptr[i + 1]] belong to input i
    pairs : (.., 2), an output that has input i in its window, and the number of the tap
    """
    o = np.arange(out, dtype=np.int64)
    if adaptive:
        lo = o * size // out
        end = -(-(o + 1) * size // out)
    else:
        start = o * s - p
        lo = np.where(start < 0, start + -(start // d) * d, start)
        end = np.minimum(start + (k - 1) * d + 1, size)
    n = np.maximum(-(-(end - lo) // d), 0)
    div = np.minimum(start + k, size + p) - start if include_pad and not adaptive else n
    which = np.repeat(o, n)
    tap = np.arange(which.size, dtype=np.int64) - np.repeat(np.cumsum(n) - n, n)
    inputs = lo[which] + tap * d
    order = np.argsort(inputs, kind="stable")  # outputs in rising order for every input
    ptr = np.concatenate(([0], np.cumsum(np.bincount(inputs, minlength=size)))).astype(np.int64)
    return lo, n, div, ptr, np.stack((which[order], tap[order]), 1)


class Pool2dProblem(Problem):
    """Pooling of (mb, c, ih, iw) into (mb, c, oh, ow).

    Parameters
    ----------
    mb, c, ih, iw : int
    dtype : numpy.dtype
    kind : {"max", "avg", "lp"}
    kernel, stride, padding, dilation : (int, int)
    ceil_mode, count_include_pad : bool
    divisor_override : int
        0: none.
    norm_type : float
        Of kind "lp".
    indices : bool
        Of kind "max": whether forward also writes where each maximum was found; backward needs it.
    adaptive : bool
        Divide the plane into `kernel` = (oh, ow) windows, from floor(i * size / out) to ceil((i + 1) * size / out); stride, padding and
        dilation do not matter.

    Attributes
    ----------
    oh, ow : int
    kw : int
        Taps per row of a window (of the largest one): tap (r, s) of a window has the number r * kw + s, counted from the first one inside the input.
    index_dtype : numpy.dtype
        Of these numbers: uint8 where they fit, int32, int64.
    tiled : bool
        Whether the windows lie side by side from the first input on: no input is in two, none between them in none.
    table : int64 array
        For every axis, at the offsets in `geometry`: windows (lo, n, div each one after the other), then ptr, then pairs; see `_axis`.
    """

    operation = "pool2d"
    FIELDS = ("mb", "c", "ih", "iw", "oh", "ow", "kh", "kw", "dh", "dw", "kind_number", "index_bytes", "divisor_override") + (
        "h_windows", "h_ptr", "h_pairs", "w_windows", "w_ptr", "w_pairs", "sh", "sw", "tiled",
    )  # fmt: skip
    __slots__ = FIELDS + (
        "kind", "ph", "pw", "ceil_mode", "count_include_pad", "norm_type", "indices", "adaptive", "index_dtype", "table",
        "out_shape", "name", "power_divisors",
    )  # fmt: skip

    h_windows: int
    w_windows: int

    def __init__(
        self,
        mb: int,
        c: int,
        ih: int,
        iw: int,
        dtype: np.dtype,
        kind: str,
        kernel: Pair,
        stride: Pair = (1, 1),
        padding: Pair = (0, 0),
        dilation: Pair = (1, 1),
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int = 0,
        norm_type: float = 2.0,
        indices: bool = False,
        adaptive: bool = False,
    ):
        if kind not in KINDS:
            raise ValueError(f"pool2d: kind must be one of {', '.join(KINDS)}, got {kind!r}")
        name = self.name = f"{'adaptive_' if adaptive else ''}{kind}_pool2d"
        self.mb, self.c, self.ih, self.iw, self.dtype = mb, c, ih, iw, np.dtype(dtype)
        self.kind, self.kind_number, self.adaptive = kind, KINDS.index(kind), adaptive
        self.ceil_mode, self.count_include_pad, self.divisor_override = ceil_mode, count_include_pad, divisor_override
        self.norm_type, self.indices = float(norm_type), bool(indices) and kind == "max"
        if not (c > 0 and ih > 0 and iw > 0):
            raise ValueError(f"{name}: expected an input (N, C, H, W) of which only N may be 0, got {(mb, c, ih, iw)}")
        if kind == "lp" and not (np.isfinite(norm_type) and norm_type != 0):
            raise ValueError(f"{name}: norm_type must be a number other than 0, got {norm_type}")
        if adaptive:
            self.oh, self.ow = kernel
            if self.oh < 0 or self.ow < 0:
                raise ValueError(f"{name}: output_size must not be negative, got {kernel}")
            stride, padding, dilation = (1, 1), (0, 0), (1, 1)
            if self.oh * self.ow >= 2**62:
                raise ValueError(f"{name}: the problem is too large: output_size {kernel}")
            kernel = _widest(ih, self.oh), _widest(iw, self.ow)
        else:
            self._validate(name, (ih, iw), kernel, stride, padding, dilation)
            sizes = [_out_size(*args, ceil_mode) for args in zip((ih, iw), kernel, stride, padding, dilation)]
            if min(sizes) < 1:
                span = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation))
                padded = tuple(size + 2 * p for size, p in zip((ih, iw), padding))
                raise ValueError(
                    f"{name}: a window of {span} (kernel_size {kernel}, dilation {dilation}) does not fit the padded input of {padded}, input shape "
                    f"{(mb, c, ih, iw)}; use a smaller kernel_size, or fewer pooling layers before this one"
                )
            self.oh, self.ow = sizes
        (self.kh, self.kw), (self.sh, self.sw), (self.ph, self.pw), (self.dh, self.dw) = kernel, stride, padding, dilation
        taps = self.kh * self.kw
        outputs = mb * c * self.oh * self.ow
        if max(outputs, 1) * taps >= 2**62:
            raise ValueError(f"{name}: the problem is too large: windows of {kernel}, output {(mb, c, self.oh, self.ow)}")
        self.index_dtype = np.dtype(np.uint8 if taps <= 256 else np.int32 if taps < 2**31 else np.int64)
        self.index_bytes = self.index_dtype.itemsize if self.indices else 0
        self._tabulate()
        self.out_shape = (mb, c, self.oh, self.ow)
        self.flops = outputs * taps
        self.bytes = (mb * c * ih * iw + outputs) * self.dtype.itemsize + outputs * self.index_bytes

    def has(self, pass_: str) -> bool:
        return pass_ == "forward" or self.kind != "max" or self.indices

    def flat(self, where: np.ndarray) -> np.ndarray:
        """Numbers of taps (mb, c, oh, ow) as positions in the plane, row * iw + column, the way PyTorch gives them."""
        h, w = (self.table[at : at + n] for at, n in ((self.h_windows, self.oh), (self.w_windows, self.ow)))
        r, s = np.divmod(where, self.kw, dtype=np.int64)
        return (h.reshape(-1, 1) + r * self.dh) * self.iw + w + s * self.dw

    @staticmethod
    def _validate(name: str, size: Pair, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair) -> None:
        for what, pair, least in (("kernel_size", kernel, 1), ("stride", stride, 1), ("padding", padding, 0), ("dilation", dilation, 1)):
            if min(pair) < least:
                raise ValueError(f"{name}: {what} must be at least {least}, got {pair}")
        if any(2 * p > k for p, k in zip(padding, kernel)):
            raise ValueError(
                f"{name}: padding must be at most half of kernel_size, got padding {padding} with kernel_size {kernel}; "
                "pad the input itself where more is wanted"
            )

    def _tabulate(self) -> None:
        include = self.count_include_pad or self.kind == "lp"
        parts: list[np.ndarray] = []
        at = 0
        axes = ((self.ih, self.oh, self.kh, self.sh, self.ph, self.dh), (self.iw, self.ow, self.kw, self.sw, self.pw, self.dw))
        divisors = []
        self.tiled = self.oh > 0 and self.ow > 0 and self.dh == self.dw == 1
        for axis, arguments in zip("hw", axes):
            lo, n, div, ptr, pairs = _axis(*arguments, self.adaptive, include)
            divisors.append(div)
            self.tiled = self.tiled and lo[0] == 0 and bool((lo[1:] == lo[:-1] + n[:-1]).all())
            for what, part in (("windows", np.concatenate((lo, n, div))), ("ptr", ptr), ("pairs", pairs.ravel())):
                setattr(self, f"{axis}_{what}", at)
                parts.append(part)
                at += part.size
        self.table = np.concatenate(parts)
        self.table.flags.writeable = False
        found = (
            {abs(self.divisor_override)} if self.divisor_override else {int(a) * int(b) for a in set(divisors[0]) for b in set(divisors[1])}
        )
        self.power_divisors = all(v & (v - 1) == 0 for v in found)
