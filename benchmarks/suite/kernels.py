"""Every implementation of every pass on the shapes of the case tables (lamella.testing.cases): rows appear here by themselves.

Shapes are only appended, never renamed, so that histories stay whole. What a kernel does not accept, or the reference would take too long for, is
skipped by an exception. The kernel's prefix is its backend: cy_ Cython, nb_ Numba. LAMELLA_BENCH_SHAPES=1 keeps only that many shapes of each operation,
on two threads: it shows that everything runs.
"""

import os
from functools import partial

import numpy as np

import lamella
from lamella.registry import OPERATIONS
from lamella.testing.cases import ROWS
from lamella.testing.check import find, verified
from lamella.testing.measure import SLOW

SHAPES = int(os.environ.get("LAMELLA_BENCH_SHAPES", 0)) or None
THREADS = (1, 2) if SHAPES is None else (2,)


class _Kernel:
    version = "2"  # raised by hand when the numbers get another meaning; asv's own hash would drop all histories with each edit
    param_names = ("shape", "kernel", "threads")
    timeout = 120
    operation: str
    pass_: str

    def setup(self, shape, kernel, threads):
        if threads > 1 and kernel == "ref":
            raise NotImplementedError("the reference has one thread")
        lamella.set_num_threads(threads)
        row = ROWS[self.operation]
        p = row.of(row.shapes[shape], np.float32)
        found = find(self.operation, self.pass_, kernel, p)
        if found is None:
            raise NotImplementedError(f"{kernel} has no {self.pass_} for {p}")
        if kernel == "ref" and p.flops > SLOW:
            raise NotImplementedError("the reference would take too long")
        # warm: code compiled, pages touched; and right, or there is nothing to time
        inputs, outputs = verified(self.operation, self.pass_, found, p)
        self.call = partial(found, p, *inputs, *outputs)

    def time_call(self, shape, kernel, threads):
        self.call()

    def peakmem_call(self, shape, kernel, threads):
        self.call()


for _operation, _entry in OPERATIONS.items():
    for _pass in _entry.passes:
        _name = _operation.capitalize() + "".join(word.capitalize() for word in _pass.split("_"))
        globals()[_name] = type(
            _name,
            (_Kernel,),
            {
                "operation": _operation,
                "pass_": _pass,
                "params": [
                    list(ROWS[_operation].shapes)[:SHAPES],
                    [row.name for row in _entry.implementations if row.functions is None],
                    list(THREADS),
                ],
                "__doc__": f"{_operation}, {_pass}.",
            },
        )
