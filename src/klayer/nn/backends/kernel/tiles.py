"""A tile of a matrix, some rows by some vectors, in the processor's registers: summed, or turned over.

numba has no vectors of its own, and so the loop is written in LLVM's language, once for each size of a
product's tile. The last vector of a row may hold fewer numbers than it could: it is read and written by
a mask.
"""

from __future__ import annotations

from typing import Any

from klayer.nn.backends.kernel.functions import numba

__all__ = ["MOST_VECTORS", "VECTOR_BYTES", "most_rows", "tile", "turn"]

# The processor's vectors, and how many of them may be sums at a time.
VECTOR_BYTES, MOST_VECTORS, SUMS = 32, 2, 12
# Rows beyond these hide no waiting for an addition any more.
ENOUGH_ROWS = 12

if numba is not None:
    from llvmlite import ir
    from llvmlite.binding import get_host_cpu_features
    from numba.core import config
    from numba.core.cgutils import get_or_insert_function, unpack_tuple
    from numba.core.types import void
    from numba.extending import intrinsic

    if "+avx512f" in (config.CPU_FEATURES or get_host_cpu_features().flatten()):
        VECTOR_BYTES, MOST_VECTORS, SUMS = 64, 4, 24


def most_rows(vectors: int) -> int:
    """Return how many rows a tile with so many vectors has at the most."""
    return min(ENOUGH_ROWS, SUMS // vectors)


def _tile(_: Any, rows: Any, vectors: Any, places: Any, keep: Any, c: Any) -> Any:
    """Write ``keep base + c a b`` for a tile.

    ``places``: the address of ``a``, the steps from row to row and from column to column; that of ``b``
    and its step; those of ``base`` and ``out``, each with its step; then how many products are summed,
    and how many numbers the last vector holds. Steps are in bytes.
    """

    def generate(context: Any, builder: Any, signature: Any, words: Any) -> Any:
        rows, vectors, places, keep, c = words
        number = context.get_value_type(signature.args[-1])
        done = builder.append_basic_block("done")
        size_of_tile = builder.add(builder.shl(vectors, ir.Constant(vectors.type, 8)), rows)
        switch = builder.switch(size_of_tile, done)
        for V in range(1, MOST_VECTORS + 1):
            for R in range(1, most_rows(V) + 1):
                block = builder.append_basic_block(f"tile {R} by {V}")
                switch.add_case(ir.Constant(vectors.type, (V << 8) + R), block)
                builder.position_at_end(block)
                Tile(builder, number, R, V).write(unpack_tuple(builder, places), keep, c)
                builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return void(rows, vectors, places, keep, c), generate


def _turn(_: Any, places: Any, one: Any) -> Any:
    """Write the transpose of a square of as many rows as a vector has numbers.

    ``places``: the address of what is turned, with its step, and that of the result; how many rows and
    columns there really are. ``one`` says which kind of numbers they are.
    """

    def generate(context: Any, builder: Any, signature: Any, words: Any) -> Any:
        tile = Tile(builder, context.get_value_type(signature.args[-1]), 1, 1)
        a, a_row, out, out_row, rows, columns = unpack_tuple(builder, words[0])
        vectors, L = [], tile.lanes
        for r in range(L):
            tile.mask_first(columns, unless=builder.icmp_signed(">=", tile.count(r), rows))
            vectors.append(tile.read(tile.place(a, a_row, r, 0), 0))
        # Each round puts a number of one half beside its neighbour of the other one.
        halves = [[i // 2 + L * (i % 2) + part for i in range(L)] for part in (0, L // 2)]
        for _ in range(L.bit_length() - 1):
            pairs = zip(vectors[: L // 2], vectors[L // 2 :], strict=True)
            vectors = [tile.shuffled(*pair, half) for pair in pairs for half in halves]
        for r, vector in enumerate(vectors):
            tile.mask_first(rows, unless=builder.icmp_signed(">=", tile.count(r), columns))
            tile.store(vector, tile.place(out, out_row, r, 0), 0)
        return context.get_dummy_value()

    return void(places, one), generate


class Tile:
    """Writes the code for one size of tile: ``R`` rows by ``V`` vectors of a kind of number."""

    def __init__(self, builder: Any, number: Any, R: int, V: int) -> None:
        self.builder, self.number, self.R, self.V = builder, number, R, V
        self.bytes = 4 if isinstance(number, ir.FloatType) else 8
        self.lanes = VECTOR_BYTES // self.bytes
        self.index, self.word = ir.IntType(32), ir.IntType(64)
        self.vector = ir.VectorType(number, self.lanes)
        self.align = ir.Constant(self.index, self.bytes)
        self.zero = ir.Constant(self.vector, [0.0] * self.lanes)

    def write(self, places: Any, keep: Any, c: Any) -> None:
        """Write it all at the builder's place."""
        a, a_row, a_column, b, b_row, base, base_row, out, out_row, depth, last = places
        self.mask_first(last)
        sums = self.sum_up(a, a_row, a_column, b, b_row, depth)
        builder = self.builder
        some, factor = self.spread(keep), self.spread(c)
        is_kept = builder.fcmp_unordered("!=", keep, ir.Constant(self.number, 0.0))
        for row, r, v in self.each(sums):
            old = builder.fmul(some, self.read(self.place(base, base_row, r, v), v))
            bare, kept = builder.fmul(factor, row[v]), self.fma(factor, row[v], old)
            value = builder.select(is_kept, kept, bare)  # what isn't kept may be anything
            self.store(value, self.place(out, out_row, r, v), v)

    def sum_up(self, a: Any, a_row: Any, a_column: Any, b: Any, b_row: Any, depth: Any) -> Any:
        """Write the loop; return the sums, R rows of V vectors."""
        builder, before = self.builder, self.builder.block
        loop, end = builder.append_basic_block(), builder.append_basic_block()
        builder.branch(loop)
        builder.position_at_end(loop)
        left, here_a, here_b = (builder.phi(self.word) for _ in range(3))
        sums = [[builder.phi(self.vector) for _ in range(self.V)] for _ in range(self.R)]
        factors = [self.read(self.place(here_b, None, 0, v), v) for v in range(self.V)]
        found = []
        for r, row in enumerate(sums):
            one = self.spread(builder.load(self.place(here_a, a_row, r, 0, self.number)))
            found.append([self.fma(one, factors[v], row[v]) for v in range(self.V)])
        fewer = builder.sub(left, self.count(1))
        moved = (
            (left, depth, fewer),
            (here_a, a, builder.add(here_a, a_column)),
            (here_b, b, builder.add(here_b, b_row)),
            *((sums[r][v], self.zero, value[v]) for value, r, v in self.each(found)),
        )
        for phi, first, following in moved:
            phi.add_incoming(first, before)
            phi.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed(">", fewer, self.count(0)), loop, end)
        builder.position_at_end(end)
        return found

    def each(self, sums: Any) -> Any:
        """Yield each row of sums, its index, and the index of each of its vectors."""
        return ((row, r, v) for r, row in enumerate(sums) for v in range(self.V))

    def place(self, address: Any, step: Any, r: int, v: int, of: Any = None) -> Any:
        """Return a pointer to the v-th vector, or number, of the r-th row."""
        builder = self.builder
        if r:
            address = builder.add(address, builder.mul(step, self.count(r)))
        if v:
            address = builder.add(address, self.count(v * VECTOR_BYTES))
        return builder.inttoptr(address, (of or self.vector).as_pointer())

    def spread(self, value: Any) -> Any:
        """Return a vector of equal numbers."""
        kind = ir.VectorType(value.type, self.lanes)
        undefined = ir.Constant(kind, ir.Undefined)
        one = self.builder.insert_element(undefined, value, ir.Constant(self.index, 0))
        return self.shuffled(one, undefined, [0] * self.lanes)

    def shuffled(self, one: Any, other: Any, places: list[int]) -> Any:
        """Return a vector of the numbers at some places of two vectors, one behind the other."""
        index = ir.VectorType(self.index, self.lanes)
        return self.builder.shuffle_vector(one, other, ir.Constant(index, places))

    def count(self, n: int) -> Any:
        """Return a whole number."""
        return ir.Constant(self.word, n)

    def mask_first(self, numbers: Any, unless: Any = None) -> None:
        """Let last vectors have so many numbers; none ``unless`` something isn't so."""
        if unless is not None:
            numbers = self.builder.select(unless, self.count(0), numbers)
        counted = ir.Constant(ir.VectorType(self.word, self.lanes), list(range(self.lanes)))
        self.mask = self.builder.icmp_signed("<", counted, self.spread(numbers))

    def read(self, pointer: Any, v: int) -> Any:
        """Return the v-th vector of a row."""
        if v < self.V - 1:
            return self.builder.load(pointer, align=self.bytes)
        arguments = pointer, self.align, self.mask, self.zero
        return self.call("llvm.masked.load.{}.p0", self.vector, arguments)

    def store(self, value: Any, pointer: Any, v: int) -> None:
        """Write the v-th vector of a row."""
        if v < self.V - 1:
            self.builder.store(value, pointer, align=self.bytes)
        else:
            arguments = value, pointer, self.align, self.mask
            self.call("llvm.masked.store.{}.p0", ir.VoidType(), arguments)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """Return ``a b + c``, rounded once: the same bits on each processor."""
        return self.call("llvm.fma.{}", self.vector, (a, b, c))

    def call(self, name: str, result: Any, arguments: Any) -> Any:
        """Call an intrinsic function of LLVM for these vectors."""
        kind = ir.FunctionType(result, [one.type for one in arguments])
        full = name.format(f"v{self.lanes}f{8 * self.bytes}")
        function = get_or_insert_function(self.builder.module, kind, full)
        return self.builder.call(function, arguments)


tile: Any = _tile if numba is None else intrinsic(_tile)
turn: Any = _turn if numba is None else intrinsic(_turn)
