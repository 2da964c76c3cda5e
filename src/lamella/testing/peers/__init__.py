"""lamella beside other libraries on the same machine: the same call on the same numbers, timed in turns.

    cases      what is called, written once for all libraries
    augmentation   pipelines over batches of images
    suites     lists of cases, and the figures they are meant to reach
    worker     one library in one process
    race       asks the workers in turns, takes ratios within each round
    onnx       the few bytes that tell ONNX Runtime what to compute

`lamella bench` shows a short list, ``benchmarks/peers/run.py`` all of it. Only the worker of a library imports it.
"""
