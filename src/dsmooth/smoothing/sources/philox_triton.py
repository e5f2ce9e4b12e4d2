"""The kernel of grid_cuda.py: Philox4x64-10 (Salmon et al. 2011), then the guide table and thresholds of grid.py."""

import triton
import triton.language as tl

__all__ = ["add_noise"]


@triton.jit(do_not_specialize=["key0", "key1", "first"])  # type: ignore[untyped-decorator]
def add_noise(  # type: ignore[no-untyped-def]
    batch, undecided, pixels, guide, thresholds, key0, key1, first, dim, blocks, least, count,
    LANES: tl.constexpr, SEARCH: tl.constexpr,  # noqa: N803 (constants of the compiler)
):  # fmt: skip
    """Row r of `batch` is `pixels` plus the noise of sample first + r; `undecided`[r] is 1 where a word met a threshold.

    Program (r, g) computes blocks g * LANES, ... of the row: four words each, one word a coordinate. Block b of a stream
    has the counter b + 1, as in NumPy. `SEARCH` halvings find a word among `count` thresholds.
    """
    row = tl.program_id(0)
    block = tl.program_id(1) * LANES + tl.arange(0, LANES)
    c0 = ((first + row).to(tl.int64) * blocks + block + 1).to(tl.uint64)
    c1 = tl.zeros((LANES,), tl.uint64)
    c2 = tl.zeros((LANES,), tl.uint64)
    c3 = tl.zeros((LANES,), tl.uint64)
    k0 = key0.to(tl.uint64)
    k1 = key1.to(tl.uint64)
    m0 = tl.full((LANES,), 0xD2E7470EE14C6C93, tl.uint64)
    m1 = tl.full((LANES,), 0xCA5A826395121157, tl.uint64)
    w0 = tl.full((LANES,), 0x9E3779B97F4A7C15, tl.uint64)
    w1 = tl.full((LANES,), 0xBB67AE8584CAA73B, tl.uint64)
    k0 = c1 + k0
    k1 = c1 + k1
    for _ in tl.static_range(10):
        high0, low0 = tl.umulhi(m0, c0), m0 * c0
        high1, low1 = tl.umulhi(m1, c2), m1 * c2
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = k0 + w0, k1 + w1
    for i in tl.static_range(4):
        word = c0 if i == 0 else (c1 if i == 1 else (c2 if i == 2 else c3))
        place = block * 4 + i
        inside = place < dim
        step = tl.load(guide + (word >> 48).to(tl.int32), mask=inside, other=0).to(tl.int32)
        split = inside & (step == -32768)
        below = tl.zeros((LANES,), tl.int32)  # thresholds known to lie below the word
        beyond = tl.zeros((LANES,), tl.int32) + count
        for _ in tl.static_range(SEARCH):
            middle = (below + beyond) // 2
            open_ = split & (below < beyond)
            here = tl.load(thresholds + middle, mask=open_, other=0).to(tl.uint64, bitcast=True)
            less = open_ & (here < word)
            below = tl.where(less, middle + 1, below)
            beyond = tl.where(open_ & (here >= word), middle, beyond)
        last = tl.load(thresholds + tl.minimum(below, count - 1), mask=split, other=0).to(tl.uint64, bitcast=True)
        tl.store(undecided + row + tl.zeros((LANES,), tl.int32), 1, mask=split & (last == word))
        step = tl.where(split, below + least, step) + tl.load(pixels + place, mask=inside, other=0).to(tl.int32)
        tl.store(batch + row.to(tl.int64) * dim + place, step.to(tl.int16), mask=inside)
