"""One library in one process: takes requests as lines of JSON on standard input, answers on standard output.

{"prepare": [suite, case], "ordinary": bool}   build the case and run it once; answers samples of what it computed, or null where the library lacks it
{"time": seconds, "waking": seconds, "ordinary": bool, "threads": n}   call it for about that long, after calls to wake the cores; answers seconds per call
{"machine": threads, "bytes": n, "waking": seconds}   FMA peak, and the rate at which n bytes are read and written by a copy
{"versions": []}                               of the library
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from lamella.testing.measure import machine, sample, timed
from lamella.testing.peers.augmentation import Augmentation
from lamella.testing.peers.cases import Case, Step, Training, Vision, noise
from lamella.testing.peers.race import cores
from lamella.testing.peers.suites import MORE_ACTIVATIONS, SUITES

Call = Callable[[], Any]
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def training(
    case: Training, nn: Any, functional: Any, no_grad: Any, optimizer: Any, tensor: Callable[[np.ndarray], Any], place: Any = None, **options: Any
) -> Call:  # fmt: skip
    """The training step, written once: lamella has PyTorch's names. It returns the loss; the first is compared between the libraries."""
    x, y = case.data()
    model, images, labels = case.build(nn, functional.relu), tensor(x), tensor(y)
    if place is not None:
        model, images = place(model), place(images)
    with no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.copy_(tensor(case.initial(number, tuple(parameter.shape))))
    optimize = optimizer(model.parameters(), lr=1e-3, **options)

    def step() -> Any:
        optimize.zero_grad()
        loss = functional.cross_entropy(model(images), labels)
        loss.backward()
        optimize.step()
        return loss

    return step


def stepping(case: Step, parameter: Any, tensor: Any, optimizers: Any, **options: Any) -> Call:
    """One step of an optimizer; it returns a parameter."""
    parameters = [parameter(tensor(noise(shape, number, 0.1))) for number, shape in enumerate(case.shapes)]
    for number, p in enumerate(parameters):
        p.grad = tensor(noise(tuple(p.shape), number + 1))
    optimizer = getattr(optimizers, case.optimizer)(parameters, **case.arguments, **options)

    def step() -> Any:
        optimizer.step()
        return parameters[0]

    return step


def both(case: Case, functional: Any, arrays: list[Any], g: Any) -> Call:
    """Forward and backward as a user writes them."""
    leaves = [arrays[i] for i in case.leaves]

    def call() -> Any:
        for leaf in leaves:
            leaf.grad = None
        case.call(functional, *arrays).backward(g)
        return leaves[0].grad

    return call


class Gradients(partial):
    """A call of an operation's backward function, whose last argument says which gradients count."""


class Lamella:
    def __init__(self, backend: str, threads: int):
        import lamella

        self.lamella = lamella
        lamella.use_backend(backend)
        lamella.set_num_threads(threads)

    def bind(self, case: Any) -> Call:
        lamella = self.lamella
        if isinstance(case, Step):
            return stepping(case, lamella.nn.Parameter, lamella.Tensor, lamella.optim)
        if isinstance(case, Training):
            return training(case, lamella.nn, lamella.functional, lamella.no_grad, lamella.optim.AdamW, lamella.Tensor)
        if isinstance(case, Vision):
            return case.ours(lamella.vision, case.image())
        if isinstance(case, Augmentation):
            return case.ours()
        from lamella.layout import channels_last

        functional = lamella.functional
        arrays: list[Any] = [channels_last(x) if i in case.images else x for i, x in enumerate(case.arrays())]
        if case.how == "forward":
            return partial(case.call, functional, *arrays)
        for i in case.leaves:
            arrays[i] = lamella.Tensor(arrays[i], requires_grad=True)
        y = case.call(functional, *arrays)
        g = noise(y.shape, 9)
        if y.ndim == 4:
            g = channels_last(g)
        if case.how == "both":
            return both(case, functional, arrays, lamella.Tensor(g))
        node = y._node
        return Gradients(node.operation.backward, node.saved, g, node.needs)

    def threads(self, count: int) -> None:
        self.lamella.set_num_threads(count)

    def version(self) -> str:
        return str(self.lamella.__version__)


class Torch:
    def __init__(self, how: str, threads: int):
        import torch

        memory, _, compiled = how.partition("+")
        self.torch, self.compiled = torch, bool(compiled)
        self.format = torch.channels_last if memory == "channels_last" else torch.contiguous_format
        torch.set_num_threads(threads)
        names = (
            "conv2d",
            "batch_norm",
            "max_pool2d",
            "avg_pool2d",
            "adaptive_avg_pool2d",
            "softmax",
            "cross_entropy",
            "leaky_relu",
            *MORE_ACTIVATIONS,
        )
        self.functional = SimpleNamespace(
            matmul=torch.matmul, tanh=torch.tanh, sigmoid=torch.sigmoid, **{name: getattr(torch.nn.functional, name) for name in names}
        )

    def place(self, x: Any) -> Any:
        return x.to(memory_format=self.format)

    def bind(self, case: Any) -> Call | None:
        if isinstance(case, (Vision, Augmentation)):
            return None
        torch = self.torch
        torch.set_grad_enabled(not isinstance(case, Case) or case.how != "forward")
        torch._dynamo.reset() if self.compiled else None
        if isinstance(case, Step):
            options = (
                {"fused": True} if case.optimizer in ("SGD", "Adam", "AdamW", "Adagrad") else {"foreach": True}
            )  # the fastest that it has
            return None if self.compiled else stepping(case, torch.nn.Parameter, torch.from_numpy, torch.optim, **options)
        if isinstance(case, Training):
            step = training(case, torch.nn, torch.nn.functional, torch.no_grad, torch.optim.AdamW, torch.from_numpy, self.place, fused=True)
            return torch.compile(step) if self.compiled else step
        arrays = [torch.from_numpy(x) for x in case.arrays()]
        arrays = [self.place(x) if x.ndim == 4 and (i in case.images or i in case.weights) else x for i, x in enumerate(arrays)]
        call = torch.compile(case.call) if self.compiled else case.call
        if case.how == "forward":
            return partial(call, self.functional, *arrays)
        for i in case.leaves:
            arrays[i].requires_grad_()
        y = call(self.functional, *arrays)
        g = torch.from_numpy(noise(tuple(y.shape), 9))
        if y.ndim == 4:
            g = self.place(g)
        if case.how == "both":
            return both(case, self.functional, arrays, g)
        if self.compiled:
            return None
        node = y.grad_fn  # the operation's own, called without the engine; behind a view, the engine has to walk
        if "AsStrided" in type(node).__name__:
            leaves = [arrays[i] for i in case.leaves]
            return partial(torch.autograd.grad, y, leaves, g, retain_graph=True)
        return partial(node, g)

    def version(self) -> str:
        return str(self.torch.__version__)


class OnnxRuntime:
    def __init__(self, how: str, threads: int):
        import onnxruntime

        self.onnxruntime, self.options = onnxruntime, onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = threads
        self.options.log_severity_level = 3

    def bind(self, case: Any) -> Call | None:
        from lamella.testing.peers import onnx

        if not isinstance(case, Case) or case.how != "forward" or case.onnx is None:
            return None
        arrays, (operator, attributes) = case.arrays(), case.onnx
        import lamella

        shape = np.shape(case.call(lamella.functional, *arrays))
        data = onnx.model(operator, attributes, arrays, case.weights, shape)
        session = self.onnxruntime.InferenceSession(data, self.options, providers=["CPUExecutionProvider"])
        binding, value = session.io_binding(), self.onnxruntime.OrtValue
        out = value.ortvalue_from_shape_and_type(shape, np.float32)
        for i, array in enumerate(arrays):
            if i not in case.weights:
                binding.bind_ortvalue_input(f"x{i}", value.ortvalue_from_numpy(array))
        binding.bind_ortvalue_output("y", out)

        def call() -> Any:
            session.run_with_iobinding(binding)
            return out

        return call

    def version(self) -> str:
        return str(self.onnxruntime.__version__)


class OpenCV:
    def __init__(self, how: str, threads: int):
        import cv2

        self.cv2 = cv2
        cv2.setNumThreads(threads)

    def bind(self, case: Any) -> Call | None:
        return case.theirs(self.cv2, case.image()) if isinstance(case, Vision) else None

    def version(self) -> str:
        return str(self.cv2.__version__)


class NumPy:
    def __init__(self, how: str, threads: int):
        pass

    def bind(self, case: Any) -> Call | None:
        if isinstance(case, Augmentation):
            return case.numpys()
        return partial(case.numpy, *case.arrays()) if isinstance(case, Case) and case.how == "forward" and case.numpy else None

    def version(self) -> str:
        return str(np.__version__)


LIBRARIES: dict[str, Callable[[str, int], Any]] = {
    "lamella": Lamella,
    "torch": Torch,
    "onnxruntime": OnnxRuntime,
    "cv2": OpenCV,
    "numpy": NumPy,
}


def samples(call: Call) -> list[Any]:
    """Call; of each array of the result its shape and some of its values, spread over it."""
    result = call()
    if isinstance(call, Gradients):
        result = [x for x, needed in zip(result, call.args[-1]) if needed]
    out: list[Any] = []
    for x in result if isinstance(result, (tuple, list)) else [result]:
        if x is None:
            continue
        array = np.atleast_1d(x.detach().numpy() if hasattr(x, "detach") else x.numpy() if hasattr(x, "numpy") else x)
        out.append([list(array.shape), sample(array).tolist()])
    return out


def main(peer: str, threads: int) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes to standard error
    if sys.platform == "linux":  # end with the parent, even stopped
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if cores(threads):
        os.sched_setaffinity(0, cores(threads))
    name, _, how = peer.partition(":")
    library = LIBRARIES[name](how, threads)
    calls: dict[bool, Call | None] = {}
    for line in sys.stdin:
        request = json.loads(line)
        ordinary = request.get("ordinary", False)
        answer: Any = None
        if "prepare" in request:
            suite, case_name = request["prepare"]
            case = SUITES[suite]()[case_name]
            calls = {} if not ordinary else calls
            call = calls[ordinary] = library.bind(case.ordinary if ordinary else case)
            answer = None if call is None else samples(call)
        elif "time" in request:
            call = calls[ordinary]
            assert call is not None
            if request.get("threads"):
                library.threads(request["threads"])
            answer = timed(call, request["time"], request.get("waking", 0.0))
            if request.get("threads"):
                library.threads(threads)
        elif "machine" in request:
            answer = machine(request["machine"], request["bytes"], request.get("waking", 0.0))
        elif "versions" in request:
            answer = library.version()
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
