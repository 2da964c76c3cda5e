"""The cost models by which implementations are ranked: cycles of one thread, from the problem and the instruction set alone."""

from __future__ import annotations

from lamella.problems import Conv2dProblem

# rows and registers of the register tile, bytes of a register (kernels/_common/simd.h)
TILES = {"v4": (14, 2, 64), "v3": (6, 2, 32), "base": (6, 2, 16)}


def tile_cycles(rows: int, registers: int) -> float:
    """Cycles per step of a tile: two FMA and two loads per cycle, and a chain of four cycles through every accumulator."""
    return max(rows * registers / 2, (rows + registers) / 2, 4.0)


def _grid(pass_: str, p: Conv2dProblem) -> tuple[int, int, int, int]:
    """(images x rows, columns, depth, channels) of the output grid a pass walks over; depth and channels per group."""
    icg, ocg = p.ic // p.groups, p.oc // p.groups
    taps = p.kh * p.kw
    if pass_ == "backward_input":  # sh * sw grids share the taps
        return p.mb * p.ih * p.sw, -(-p.iw // p.sw), max(ocg * taps // (p.sh * p.sw), 1), icg
    return p.mb * p.oh, p.ow, icg * taps, ocg


def _registers(p: Conv2dProblem, channels: int, isa: str) -> tuple[int, int]:
    """(panels per group, registers of a tile's row)"""
    _, nv, width = TILES[isa]
    lanes = width // p.dtype.itemsize
    return -(-channels // (nv * lanes)), 1 if channels <= lanes else nv


def _read_again(weights: float, passes: float, each: float) -> float:
    """Cycles to read that many values of packed weights so many times, from beyond L2, where they outgrow it."""
    return each * weights * passes if weights > 64 * 1024 else 0.0


def _packing(pass_: str, p: Conv2dProblem, forward: float, backward: float) -> float:
    """Cycles to pack the weights, so many a value: forward and backward_input; rows of a 1 x 1 filter are copied as they are."""
    values = p.oc * p.ic // p.groups * p.kh * p.kw
    return values * (backward if pass_ == "backward_input" and p.kh * p.kw > 1 else forward)


def conv2d_direct(pass_: str, p: Conv2dProblem, isa: str) -> float:
    """Tiles end with the row, and take two where one leaves them small. A call of the tile costs some 40 cycles.

    backward_weight runs through its private dw for every band, at a cycle per value if that outgrows L2. To sort the channels of an image by group
    costs a cycle per value.
    """
    rows, columns, depth, channels = _grid(pass_, p)
    mr, most, _ = TILES[isa]
    panels, nv = _registers(p, channels, isa)
    weights = p.groups * depth * channels
    sliced = p.mb * p.ih * p.iw * p.ic if p.groups > 1 and p.kh * p.kw > 1 else 0.0
    if pass_ == "backward_weight":  # rows of the tile are taps x channels, the depth is the pixels
        run = p.ic * p.kw if p.groups == 1 and p.dw == 1 else p.ic // p.groups
        tiles = -(-run // mr) * (depth // run)
        height = -(-run // -(-run // mr))
        bands = p.mb * p.ih * p.iw * p.ic * p.dtype.itemsize / 160e3
        moved = (weights * max(bands, p.mb) if weights > 100e3 else 0.0) + sliced
        return p.groups * panels * tiles * (rows * columns * tile_cycles(height, nv) + 40 * rows / 8) + moved
    tiles = -(-columns // mr)
    height = -(-columns // max(tiles, 1))
    if 2 * height * nv <= mr * most:
        rows, height = -(-rows // 2), 2 * height
    written = 0.0
    if pass_ == "backward_input":
        weights, source = p.groups * channels * (p.oc // p.groups) * p.kh * p.kw, p.mb * p.oh * p.ow * p.oc
        written = 0.2 * p.mb * p.oh * p.ow * p.ic  # as measured, against cy_im2col
    else:
        source = p.mb * p.ih * p.iw * p.ic
    passes = max(source * p.dtype.itemsize / 384e3, 1.0)
    far = 1.15 if p.kh == p.kw == 1 < p.sw and pass_ == "forward" else 1.0  # pixels that are read lie apart
    packing = _packing(pass_, p, 0.6, 1.1) + sliced
    return (
        p.groups * panels * rows * tiles * (far * depth * tile_cycles(height, nv) + 40)
        + _read_again(weights, passes, 0.1)
        + packing
        + written
    )


def few_pixels(p: Conv2dProblem) -> bool:
    """Fewer than twice as many as a group has channels, of which there is at least a strip; and their im2col matrix is no larger than all arrays."""
    pixels, channels = p.mb * p.oh * p.ow, p.oc // p.groups
    filters = p.ic * p.kh * p.kw
    arrays = p.mb * (p.ic * p.ih * p.iw + p.oc * p.oh * p.ow) + channels * filters
    return channels >= 16 and pixels <= 2 * channels and pixels * filters <= arrays


def conv2d_pixels(pass_: str, p: Conv2dProblem, isa: str) -> float:
    """Weights cost nothing but their way from memory; every value of A is transposed, and every register of sums."""
    mr, nv, width = TILES[isa]
    rows, lanes = mr // 2 + 1, width // p.dtype.itemsize
    depth, channels, pixels = p.ic // p.groups * p.kh * p.kw, p.oc // p.groups, p.mb * p.oh * p.ow
    alone = pixels % lanes if 2 * (pixels % lanes) < lanes else 0
    registers = -(-(pixels - alone) // lanes)
    each = 1.04 * depth * (registers * tile_cycles(rows, 3) / 3 + -(-alone // 2) * tile_cycles(rows, 2) / lanes) + 130 * (registers + alone)
    return p.groups * (2 * -(-channels // (2 * rows)) * each + 0.3 * pixels * depth)


def fills_lanes(p: Conv2dProblem, isa: str, most: int = 16) -> bool:
    """Whether a register holds the channels of several groups, or of one, of so many at most."""
    m = p.ic // p.groups
    return p.ic == p.oc and m in (2, 4, 8, 16) and m <= most and TILES[isa][2] // p.dtype.itemsize % m == 0


def conv2d_grouped(pass_: str, p: Conv2dProblem, isa: str) -> float:
    """A permutation or broadcast per FMA; one for three where the taps of a row overlap."""
    rows, columns, depth, channels = _grid(pass_, p)
    each = 0.5 if p.kw % 3 == 0 and p.sw == p.dw == 1 else 0.7
    return each * rows * columns * depth * -(-p.oc // (TILES[isa][2] // p.dtype.itemsize))


def conv2d_im2col(pass_: str, p: Conv2dProblem, isa: str) -> float:
    """Full tiles always, at the price of copying every value of the im2col matrix, and of adding up sums of many values in dst."""
    rows, columns, depth, channels = _grid(pass_, p)
    mr = TILES[isa][0]
    panels, nv = _registers(p, channels, isa)
    pixels = rows * columns
    run = p.ic // p.groups if pass_ != "backward_input" else p.oc // p.groups  # values copied at once
    copies = p.groups * pixels * depth * (0.15 + 12 / run)
    if pass_ == "backward_weight":
        tiles = -(-depth // mr)
        return p.groups * panels * tiles * (pixels * tile_cycles(mr, nv) + 100 * -(-pixels // 512)) + copies
    if pass_ == "backward_input" and p.sh * p.sw > 1:
        copies += 0.2 * pixels * p.ic  # tiles are put where their pixels lie
    tiles = -(-pixels // mr)
    return (
        p.groups * panels * tiles * (depth * tile_cycles(mr, nv) + 60 * -(-depth // 768))
        + copies
        + _read_again(p.groups * depth * channels, pixels / 98, 0.05)
        + _packing(pass_, p, 1.1, 1.5)
    )


def few_channels(p: Conv2dProblem) -> bool:
    """Few on both sides, or so few on one that a register of them is nearly empty."""
    low, high = sorted((p.ic, p.oc))
    return p.groups == 1 and (high <= 16 or low <= 4 and high <= 64)


def conv2d_lanes(pass_: str, p: Conv2dProblem, isa: str) -> float:
    """Lanes are full whatever the channels: with images, but for the last few; those are computed pixel by pixel, wide apart.

    Every value of source and result is transposed: many channels lie far apart, image by image; few cost much the same every other way.
    backward_weight reads its sums anew for every band, and adds up lanes in the end.
    """
    rows, columns, depth, channels = _grid(pass_, p)
    lanes = TILES[isa][2] // p.dtype.itemsize
    share = p.mb // lanes * lanes / max(p.mb, 1)  # of the images that fill lanes
    fma = rows * columns * depth * channels / (2 * lanes)
    moved = p.mb * (p.ic * p.ih * p.iw + p.oc * p.oh * p.ow)
    gap = -(-columns // lanes) * lanes / columns if pass_ == "backward_weight" else (columns + p.dw * (p.kw - 1)) / columns
    alone = 2.2 if channels == 1 else 1.0  # a tile of one row: a load for every product
    cycles = alone * (share * 0.72 + (1 - share) * 1.2 * gap) * fma + (share * 0.15 + (1 - share) * 1.5) * moved + 4 * depth * channels
    if pass_ == "backward_weight":
        return cycles + 0.5 * fma + 16 * depth * channels
    return cycles + (0.45 * share * moved if channels >= 16 else 0.0)


def single_channel(p: Conv2dProblem) -> bool:
    """Images of one channel, as many on the other side as fill half a register, filters 3 or 5 wide at every pixel."""
    return (p.ic, p.sh, p.sw, p.dh, p.dw) == (1, 1, 1, 1, 1) and 5 <= p.oc <= 64 and p.kw in (3, 5)


def conv2d_single(pass_: str, p: Conv2dProblem, isa: str) -> float:
    """A register holds up to `lanes` channels of a pixel, or half as many of two; what is stored is permuted, or its lanes are added up.

    On the scale of conv2d_lanes, which it competes with.
    """
    lanes = TILES[isa][2] // p.dtype.itemsize
    pixels = 2 if lanes == 16 and p.oc <= 8 else 1
    rows, columns = (p.ih, p.iw) if pass_ == "backward_input" else (p.oh, p.ow)
    registers = p.mb * rows * -(-columns // pixels) * -(-p.oc // lanes)
    each = {"forward": 3.3, "backward_input": 6 if pixels == 1 else 9.5, "backward_weight": 2}[pass_]
    return registers * (0.32 * p.kh * p.kw + each)


def winograd_applies(p: Conv2dProblem) -> bool:
    """A 3 x 3 filter at every pixel, in one group or in groups of enough channels to fill half a register."""
    return (p.kh, p.kw, p.sh, p.sw) == (3, 3, 1, 1) and (p.groups == 1 or min(p.ic, p.oc) >= 8 * p.groups)


def _winograd(pass_: str, p: Conv2dProblem, isa: str, m: int) -> float:
    """The products, and per register of channels the transforms of a tile's pixels (memory included) and of a filter, as measured."""
    products = (m + 2) ** 2
    rows, columns, source, result = (p.ih, p.iw, p.oc, p.ic) if pass_ == "backward_input" else (p.oh, p.ow, p.ic, p.oc)
    depth, channels = source // p.groups, result // p.groups
    tiles = p.mb * p.dh * p.dw * -(-rows // (m * p.dh)) * -(-columns // (m * p.dw))
    mr, _, width = TILES[isa]
    lanes = width // p.dtype.itemsize
    panels, nv = _registers(p, channels, isa)
    registers = -(-source // lanes) + -(-result // lanes)
    transforms = tiles * registers * 9 * products
    filters = p.groups * depth * -(-channels // lanes)
    # rows and depth of the register tiles: tiles by channels of the source, or the other way round
    long, deep = (depth, tiles) if pass_ == "backward_weight" else (tiles, depth)
    calls = -(-long // mr)
    height = -(-long // max(calls, 1))
    multiplied = p.groups * products * panels * calls * (deep * tile_cycles(height, nv) + 60)
    per_filter = {"forward": 50 + 2.5 * products, "backward_input": 130 + 2.5 * products, "backward_weight": 60 + 2.6 * products}
    return multiplied + transforms + filters * per_filter[pass_]


def conv2d_winograd_f2(pass_: str, p: Conv2dProblem, isa: str) -> float:
    """16 products for 4 pixels."""
    return _winograd(pass_, p, isa, 2)


def conv2d_winograd_f4(pass_: str, p: Conv2dProblem, isa: str) -> float:
    """36 products for 16 pixels."""
    return _winograd(pass_, p, isa, 4)


def winograd_rows_apply(p: Conv2dProblem) -> bool:
    """A filter 5 wide at every pixel, in one group."""
    return (p.kw, p.sh, p.sw, p.dh, p.dw, p.groups) == (5, 1, 1, 1, 1, 1)


def conv2d_winograd_rows(pass_: str, p: Conv2dProblem, isa: str) -> float:
    """8 products for 4 pixels of a row, and per register of channels the transforms of a tile (memory included) and of a filter.

    Up to half a register of channels are computed for two rows of the result at once, from one more row of the source.
    """
    rows, columns, depth, channels = (p.ih, p.iw, p.oc, p.ic) if pass_ == "backward_input" else (p.oh, p.ow, p.ic, p.oc)
    tiles = p.mb * rows * -(-columns // 4)
    mr = TILES[isa][0]
    panels, nv = _registers(p, channels, isa)
    lanes = TILES[isa][2] // p.dtype.itemsize
    transforms = 8 * tiles * (-(-depth // lanes) * (1 + (p.kh - 1) / rows) + -(-channels // lanes))
    filters = depth * -(-channels // lanes) * (100 + 30 * p.kh)
    if pass_ == "backward_weight":
        calls = p.kh * -(-depth // mr)
        return 8 * panels * calls * tiles * tile_cycles(-(-depth // -(-depth // mr)), nv) * 1.05 + transforms + filters
    halves = 2 if 2 * channels <= lanes and rows > 1 else 1
    tiles = -(-tiles // halves)
    calls = -(-tiles // mr)
    return 8 * panels * calls * ((p.kh + halves - 1) * depth * tile_cycles(min(mr, tiles), nv) + 60) + transforms + filters
