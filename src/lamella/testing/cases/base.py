"""What a row of cases is, and helpers to write one.

A `Row` says which problems an operation is tested on, how the arrays of a pass
are made, and how far a result may be from the reference:

    problems   arguments of ``Problem.of``; DTYPE stands where the dtype goes
    make       make(p, pass_, rng, integers) -> (inputs, outputs): inputs in the order of the pass (None where absent), outputs as
               arrays of the right shape, dtype and memory order, whatever they hold (those updated in place, which come last, hold the
               values to start from; None where absent; lists of arrays where the operation takes lists). integers: small whole
               numbers, so that every order of summation gives the same bits
    exact      exact(p, pass_): whether whole-number inputs give results without rounding: compared with zero tolerance
    bound      bound(p, pass_, inputs, expected) -> per output, an absolute bound on |out - expected| in units of the dtype's epsilon;
               inputs, followed by the starting values of arrays updated in place, and expected come as float64
    inexact    algorithms whose intermediate results are not those of the formula: never exact, and each element may be wrong by the
               largest bound times this factor
    adjoint    adjoint(p, run, rng), optional: raises AssertionError unless the passes are adjoint to each other;
               run(pass_, *inputs) -> outputs
    shapes     problems that benchmarks time (append only)

Sizes sit at the register tile - 1, the tile, the tile + 1, 1 and primes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lamella.problems import Problem

DTYPE = object()  # stands for the dtype in a row's problem arguments
Arrays = list[np.ndarray]


@dataclass(frozen=True)
class Row:
    problem: type[Problem]
    problems: list[tuple]
    make: Callable[[Any, str, np.random.Generator, bool], tuple[list[np.ndarray | None], Arrays]]
    exact: Callable[[Any, str], bool]
    bound: Callable[[Any, str, list[np.ndarray | None], Arrays], list[Any]]
    shapes: dict[str, tuple]
    adjoint: Callable[[Any, Callable[..., Arrays], np.random.Generator], None] | None = None
    inexact: dict[str, float] = field(default_factory=dict)

    def factor(self, name: str) -> float | None:
        """The factor in `inexact` of an implementation, or None."""
        return next((factor for algorithm, factor in self.inexact.items() if name.endswith(algorithm)), None)

    def of(self, arguments: tuple, dtype: Any) -> Any:
        return self.problem.of(*(np.dtype(dtype) if a is DTYPE else a for a in arguments))


def values(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any, integers: bool) -> np.ndarray:
    """Whole numbers in [-4, 4], or standard normal values."""
    return rng.integers(-4, 5, shape).astype(dtype) if integers else rng.standard_normal(shape).astype(dtype)


def summed(terms: int, magnitude: Any) -> Any:
    """The bound for a sum of products whose absolute values sum up to `magnitude`: (8 + sqrt(k)) * (|a| . |b|), k terms."""
    return (8 + np.sqrt(terms)) * magnitude + terms * np.finfo(np.float32).tiny
