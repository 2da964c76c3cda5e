"""Learning-rate schedules: PyTorch's sequences, number for number, and those that textbooks add.

A schedule is stepped once per epoch, or once per batch, after ``optimizer.step()``; it writes ``lr`` (and, for the cycles, the momentum)
into the optimizer's parameter groups. Its `state_dict` holds numbers, strings and lists only.
"""

from lamella._lazy import attach as _attach

__getattr__, __dir__, __all__ = _attach(__name__)
