"""One peer in one process: takes requests as lines of JSON on standard input, answers on standard output.

{"prepare": [suite, case], "result": path}   build the case, run it once, save what it computed; answers null where the peer lacks it
{"time": seconds}                            call it for about that long; answers seconds per call
{"machine": threads}                         FMA peak and copy bandwidth (lamella's workers only)
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from cases import SUITES, Case, Step, Training


def channels_last(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def gradient(shape: tuple[int, ...]) -> np.ndarray:
    """The gradient of a result: random, for a constant one has no gradient through a normalisation."""
    return np.asarray(np.random.default_rng(1).standard_normal(shape), np.float32)


def training(
    case: Training, nn: Any, functional: Any, no_grad: Any, optimizer: Any, options: dict[str, Any], x: Any, y: Any, **memory: Any
) -> Callable[[], Any]:
    """The training step, written once: lamella has PyTorch's names. It returns the loss; the first is compared between the peers."""
    model = case.build(nn, functional.relu)
    if memory:
        model = model.to(**memory)
    with no_grad():
        for number, parameter in enumerate(model.parameters()):
            values = case.initial(number, tuple(parameter.shape))
            parameter.copy_(as_tensor(x, values))
    optimize = optimizer(model.parameters(), lr=1e-3, **options)

    def step() -> Any:
        optimize.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        optimize.step()
        return loss

    return step


def as_tensor(like: Any, values: np.ndarray) -> Any:
    return values if type(like).__module__.startswith("lamella") else __import__("torch").from_numpy(values)


class Lamella:
    def __init__(self, backend: str, threads: int):
        import lamella

        self.lamella = lamella
        lamella.use_backend(backend)
        lamella.set_num_threads(threads)

    def arrays(self, case: Case) -> list[Any]:
        arrays = [channels_last(x) if i in case.images else x for i, x in enumerate(case.arrays())]
        if not case.backward:
            return arrays
        return [x if i in case.fixed else self.lamella.Tensor(x, requires_grad=True) for i, x in enumerate(arrays)]

    def bind(self, case: Case | Step | Training) -> Callable[[], Any]:
        if isinstance(case, Step):
            return self.step(case)
        if isinstance(case, Training):
            lamella = self.lamella
            x, y = case.data()
            return training(case, lamella.nn, lamella.functional, lamella.no_grad, lamella.optim.AdamW, {}, lamella.Tensor(x), y)
        arrays, functional = self.arrays(case), self.lamella.functional
        if not case.backward:
            return lambda: case.call(functional, *arrays)
        leaves = [x for x in arrays if not isinstance(x, np.ndarray)]
        y = case.call(functional, *arrays).detach().numpy()
        g = gradient(y.shape)
        if y.ndim == 4:
            g = channels_last(g)

        def both() -> np.ndarray:
            for leaf in leaves:
                leaf.grad = None
            case.call(functional, *arrays).backward(self.lamella.Tensor(g))
            return leaves[0].grad

        return both

    def step(self, case: Step) -> Callable[[], Any]:
        rng = np.random.default_rng(0)
        parameters = [self.lamella.nn.Parameter(rng.standard_normal(n).astype(np.float32)) for n in case.sizes]
        for parameter in parameters:
            parameter.grad = self.lamella.Tensor(rng.standard_normal(parameter.shape).astype(np.float32))
        optimizer = getattr(self.lamella.optim, case.optimizer)(parameters, **case.arguments)

        def step() -> Any:
            optimizer.step()
            return parameters[0]

        return step


class Torch:
    def __init__(self, memory: str, threads: int):
        import torch

        self.torch = torch
        self.format = torch.channels_last if memory == "channels_last" else torch.contiguous_format
        torch.set_num_threads(threads)

    def bind(self, case: Case | Step | Training) -> Callable[[], Any]:
        torch = self.torch
        if isinstance(case, Step):
            return self.step(case)
        if isinstance(case, Training):
            x, y = map(torch.from_numpy, case.data())
            x = x.to(memory_format=self.format)
            return training(
                case, torch.nn, torch.nn.functional, torch.no_grad, torch.optim.AdamW, {"fused": True}, x, y, memory_format=self.format
            )

        class Functions:  # torch.nn.functional has no matmul
            matmul = staticmethod(torch.matmul)

            def __getattr__(self, name: str) -> Any:
                return getattr(torch.nn.functional, name) if name not in ("tanh", "sigmoid", "relu") else getattr(torch, name)

        functional = Functions()
        arrays = [torch.from_numpy(x) for x in case.arrays()]
        arrays = [x.to(memory_format=self.format) if i in case.images else x for i, x in enumerate(arrays)]
        if not case.backward:

            def forward() -> Any:
                with torch.no_grad():
                    return case.call(functional, *arrays)

            return forward
        leaves = [x.requires_grad_() for i, x in enumerate(arrays) if i not in case.fixed]
        y = case.call(functional, *arrays)
        g = torch.from_numpy(gradient(y.shape))
        if y.ndim == 4:
            g = g.to(memory_format=self.format)

        def both() -> Any:
            for leaf in leaves:
                leaf.grad = None
            case.call(functional, *arrays).backward(g)
            return leaves[0].grad

        return both

    def step(self, case: Step) -> Callable[[], Any]:
        rng = np.random.default_rng(0)
        parameters = [self.torch.nn.Parameter(self.torch.from_numpy(rng.standard_normal(n).astype(np.float32))) for n in case.sizes]
        for parameter in parameters:
            parameter.grad = self.torch.from_numpy(rng.standard_normal(parameter.shape).astype(np.float32))
        optimizer = getattr(self.torch.optim, case.optimizer)(parameters, fused=True, **case.arguments)

        def step() -> Any:
            optimizer.step()
            return parameters[0]

        return step


class NumPy:
    def bind(self, case: Case | Step | Training) -> Callable[[], Any] | None:
        if isinstance(case, (Step, Training)) or case.numpy is None or case.backward:
            return None
        arrays, function = case.arrays(), case.numpy
        return lambda: function(*arrays)


def make(peer: str, threads: int) -> Any:
    library, _, how = peer.partition(":")
    if library == "lamella":
        return Lamella(how, threads)
    return Torch(how, threads) if library == "torch" else NumPy()


def machine(threads: int) -> dict[str, float]:
    """FMA peak (flop/s, float32) and copy bandwidth (bytes read and written per second, ordinary stores, 64 MB), best of a few."""
    from lamella.kernels._common import probe

    origin = np.ones(1 << 23, np.float32)
    to = np.empty_like(origin)
    rates = []
    for _ in range(5):
        total, flops, seconds = probe.peak(threads, 4)
        assert 2 * total == flops
        rates.append(flops / seconds)
    return {"peak": max(rates), "bandwidth": 2 * origin.nbytes / min(probe.copy(threads, to, origin) for _ in range(5))}


def as_array(result: Any) -> np.ndarray:
    return np.asarray(result.detach().numpy() if hasattr(result, "detach") else result)


def main(peer: str, threads: int) -> None:
    library = make(peer, threads)
    call: Callable[[], Any] | None = None
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes to standard error
    for line in sys.stdin:
        request = json.loads(line)
        answer: Any = None
        if "prepare" in request:
            suite, name = request["prepare"]
            call = library.bind(SUITES[suite]()[name])
            if call is not None:
                np.save(request["result"], as_array(call()))
                answer = True
        elif "time" in request:
            assert call is not None
            count, elapsed = 0, 0.0
            start = time.perf_counter()
            while elapsed < request["time"] or not count:
                call()
                count += 1
                elapsed = time.perf_counter() - start
            answer = elapsed / count
        elif "machine" in request:
            answer = machine(request["machine"])
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
