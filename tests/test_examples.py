"""Every script in examples/ runs, offline, without a warning, prints something, and leaves its picture.

Scripts that train get a size with which they end soon; what they show at full size is not asserted here.
"""

import runpy
import sys
from pathlib import Path

import pytest

import lamella

SCRIPTS = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))
SIZES = {
    "cnn_from_skeleton": ["--epochs", "0"],
    "digits": ["--seeds", "1", "--epochs", "1"],
    "eleven_lines": ["--steps", "300"],
    "fold_batchnorm": ["--epochs", "1", "--images", "320"],
    "images_row_by_row": ["--epochs", "1", "--hidden", "32"],
    "overfitting": ["--images", "30", "--epochs", "2"],
    "pretext": ["--images", "300", "--labelled", "2"],
    "sequence_lstm": ["--epochs", "1"],
    "svm_vs_softmax": ["--images", "500", "--epochs", "1"],
    "transfer": ["--epochs", "1"],
}
PRINTED = {  # lines that the courses print
    "activation_zoo": ["softmax([3, 1, 0.2]) = [0.8360188  0.11314284 0.05083836]"],
    "eleven_lines": ["wanted  by hand  lamella"],
    "perceptron_and": [
        "  j=4   1  1  1        1  1      0    -3   2   1",
        "w = (-3, 2, 1), unchanged since iteration 5, converged in iteration 6",
    ],
    "svm_vs_softmax": ["[ 3.2  5.1 -1.7]                  2.90      2.040355", "[ 2.2  2.5 -3.1]                 12.90      6.156477"],
}
NEEDS = {"digits": ("sklearn",), "viola_jones": ("skimage",)}


def test_sizes_belong_to_scripts():
    assert {*SIZES, *PRINTED, *NEEDS} <= {script.stem for script in SCRIPTS}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_runs(script, tmp_path, monkeypatch, capsys):
    for package in ("matplotlib", *NEEDS.get(script.stem, ())):
        pytest.importorskip(package)
    draws = "--out" in script.read_text()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(script), *SIZES.get(script.stem, []), *(["--out", "here"] if draws else [])])
    state, threads, backend = lamella.get_rng_state(), lamella.get_num_threads(), lamella.get_backend()
    try:
        runpy.run_path(str(script), run_name="__main__")
    finally:
        lamella.set_rng_state(state)
        lamella.set_num_threads(threads)
        lamella.use_backend(backend)
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert set(PRINTED.get(script.stem, [])) <= set(lines)
    pictures = list(Path("here").rglob("*.png"))
    assert bool(pictures) == draws
    assert all(picture.stat().st_size > 5_000 for picture in pictures)
