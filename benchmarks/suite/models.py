"""One training step of each model, on each backend, with one thread and with two."""

import numpy as np

import lamella
from lamella import models

BATCH = 64


class TrainingStep:
    version = "2"
    param_names = ("model", "backend", "threads")
    params = (models.names(), ["cython", "numba"], [1, 2])
    timeout = 180

    def setup(self, model, backend, threads):
        lamella.manual_seed(0)
        lamella.set_num_threads(threads)
        lamella.use_backend(backend)
        self.model = models.create(model, in_channels=1, num_classes=10, image_size=28)
        self.optimizer = lamella.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9)
        rng = np.random.default_rng(0)
        self.images = rng.standard_normal((BATCH, 1, 28, 28)).astype(np.float32)
        self.labels = rng.integers(0, 10, BATCH)
        first, *_, last = (self.step() for _ in range(5))
        if not last < first:
            raise ValueError(f"{model} on {backend} does not learn: loss {first} became {last}")

    def step(self):
        loss = lamella.functional.cross_entropy(self.model(lamella.Tensor(self.images)), self.labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def time_step(self, model, backend, threads):
        self.step()

    def peakmem_step(self, model, backend, threads):
        self.step()
