"""Helpers for networks."""

from lamella.nn.utils import rnn

__all__ = ["rnn"]
