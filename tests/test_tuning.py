"""Choices made visible, and made by measurement."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import lamella
from lamella import nn, optim, registry, tuning
from lamella.problems import Conv2dProblem, GemmProblem, ReorderProblem
from lamella.testing import explain
from lamella.train import Trainer

F32 = np.dtype("float32")
P = Conv2dProblem.of((2, 8, 9, 9), (8, 8, 3, 3), F32, False, (1, 1), (1, 1))


@pytest.fixture(autouse=True)
def untuned():
    tuning.clear_tuning()
    yield
    tuning.clear_tuning()


def entry(*names, isa=registry.ISA, dtype="float32", pass_="forward", p=P):
    problem = dict(zip(p.FIELDS, p.geometry.tolist()))
    return tuning.Entry(p.operation, pass_, isa, dtype, problem, {name: 1e-6 * (i + 1) for i, name in enumerate(names)})


def chosen(pass_="forward", p=P):
    return registry.select(p.operation, pass_, p).name


def other_than_chosen():
    return next(row.name for row in registry.candidates("conv2d", "forward", P, "cython") if row.name != chosen())


def test_table_goes_before_the_cost_model():
    before, other = chosen(), other_than_chosen()
    tuning.set_tuning([entry(other, before)])
    assert chosen() == other
    assert explain(P)["forward"].chosen.why == "fastest in the tuning table"
    with lamella.use_backend(conv2d=before):  # what is forced goes first
        assert chosen() == before
    for threads in (1, 3):
        now = lamella.get_num_threads()
        lamella.set_num_threads(threads)
        assert chosen() == other
        lamella.set_num_threads(now)
    tuning.clear_tuning()
    assert chosen() == before


@pytest.mark.parametrize("where", [{"isa": "other"}, {"dtype": "float64"}, {"pass_": "backward_input"}])
def test_entry_holds_only_for_what_was_measured(where):
    before = chosen()
    tuning.set_tuning([entry(other_than_chosen(), before, **where)])
    assert chosen() == before


def test_numba_is_ranked_among_its_own():
    pytest.importorskip("numba")
    names = [row.name for row in registry.candidates("conv2d", "forward", P, "numba")]
    tuning.set_tuning([entry(*reversed(names))])
    assert chosen().startswith("cy_")
    with lamella.use_backend("numba"):
        assert chosen() == names[-1]


def test_registered_kernel_goes_first():
    lamella.register_kernel("conv2d", "forward", lambda *arrays: None, name="mine")
    try:
        tuning.set_tuning([entry("cy_im2col")])
        assert chosen() == "mine"
        assert explain(P)["forward"].chosen.why == "your own kernel goes first"
    finally:
        lamella.unregister_kernel("conv2d", "mine")


def test_measured_table_round_trip(tmp_path):
    problems = [("conv2d", pass_, P) for pass_ in registry.OPERATIONS["conv2d"].passes]
    lines = []
    with_choice = tuning.tune(
        [*problems, ("reorder", "forward", ReorderProblem.of(2, 3, 4, F32))], rounds=1, seconds=1e-4, say=lines.append
    )
    assert [e.pass_ for e in with_choice] == [pass_ for _, pass_, _ in problems]  # nothing to choose for a reorder
    assert len(lines) == 3
    tuning.save_tuning(with_choice, tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text())["format"] == tuning.FORMAT
    loaded = lamella.load_tuning(tmp_path / "t.json")
    assert [e.order() for e in loaded] == [e.order() for e in with_choice]
    assert tuning.get_tuning() == loaded
    assert chosen() == next(name for name in with_choice[0].seconds if name.startswith("cy_"))


def test_environment_variable(tmp_path):
    other = other_than_chosen()
    tuning.save_tuning([entry(other)], tmp_path / "t.json")
    code = (
        "import lamella; from lamella import tuning; [(operation, pass_, p), *_] = tuning.read_problems('p.txt'); "
        "print(lamella.registry.select(operation, pass_, p).name)"
    )
    (tmp_path / "p.txt").write_text(repr(P))
    environment = {**os.environ, "LAMELLA_TUNING": "t.json"}
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.stdout.strip() == other, run.stderr


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{", '{"format": "lamella tuning 0", "entries": []}', '{"format": "lamella tuning 1", "entries": [{}]}',
        *(json.dumps({"format": tuning.FORMAT, "entries": [{**entry("cy_direct")._asdict(), field: value}]})
          for field, value in [("seconds", {}), ("seconds", {"cy_direct": -1}), ("seconds", {"cy_direct": "fast"}), ("problem", {"mb": 1.5}),
                               ("problem", []), ("isa", 4), ("seconds", {"cy_direct": float("nan")}), ("more", 1)]),
    ],
)  # fmt: skip
def test_damaged_table(tmp_path, text):
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(ValueError, match="expected a table of lamella tune"):
        lamella.load_tuning(tmp_path / "t.json")
    assert tuning.get_tuning() == ()


def test_kernels_of_another_version_are_named(tmp_path):
    tuning.save_tuning([entry("cy_gone", other_than_chosen())], tmp_path / "t.json")
    other = other_than_chosen()
    with pytest.warns(UserWarning, match=r"no conv2d\.cy_gone"):
        lamella.load_tuning(tmp_path / "t.json")
    assert chosen() == other


def test_resumed_training_repeats_its_choices(tmp_path):
    def trainer():
        lamella.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.Flatten(), nn.Linear(648, 3))
        return Trainer(model, optim.SGD(model.parameters(), lr=0.1), progress="none", checkpoint=tmp_path / "c.safetensors")

    batches = [(np.random.default_rng(0).normal(size=(2, 8, 9, 9)).astype(np.float32), np.array([0, 1]))]
    other = other_than_chosen()
    tuning.set_tuning([entry(other)])
    trainer().fit(batches, epochs=1)
    tuning.clear_tuning()
    trainer().fit(batches, epochs=2, resume=True)
    assert [e.order() for e in tuning.get_tuning()] == [entry(other).order()]
    assert chosen() == other
    # one that ran without a table goes on without one
    (tmp_path / "c.safetensors").unlink()
    tuning.clear_tuning()
    trainer().fit(batches, epochs=1)
    tuning.set_tuning([entry(other)])
    trainer().fit(batches, epochs=2, resume=True)
    assert tuning.get_tuning() == ()


def test_problems_from_a_file(tmp_path):
    gemm = GemmProblem.of(2, 3, 4, F32)
    (tmp_path / "p.txt").write_text(f"# a comment\n\nconv2d: {P!r}\n{gemm!r}\nGemmProblem(5, 6, 7, 'float64')\n")
    found = tuning.read_problems(tmp_path / "p.txt")
    assert [(operation, pass_) for operation, pass_, _ in found] == [
        ("conv2d", "forward"), ("conv2d", "backward_input"), ("conv2d", "backward_weight"), ("gemm", "forward"), ("gemm", "forward"),
    ]  # fmt: skip
    assert found[0][2] is P
    assert found[-1][2].dtype == np.float64


@pytest.mark.parametrize(
    "line", ["nonsense", "__import__('os').getcwd()", "GemmProblem(1, 2)", "GemmProblem(1, 2, 3, 'int8', m=1)", "open('x')"]
)
def test_line_that_is_no_problem(tmp_path, line):
    (tmp_path / "p.txt").write_text(f"{line}\n")
    with pytest.raises(ValueError, match="line 1: expected a problem"):
        tuning.read_problems(tmp_path / "p.txt")


# explain


def test_explain_says_why():
    e = explain(P)
    assert [choice.pass_ for choice in e] == ["forward", "backward_input", "backward_weight"]
    forward = e["forward"]
    assert forward.chosen.name == chosen()
    assert forward.chosen.why == "lowest modelled cost"
    states = {c.name: c.state for c in forward.candidates}
    assert states["cy_depthwise"] == "refused"
    assert states["nb_direct"] in ("other backend", "refused")
    kernel = registry.select("conv2d", "forward", P)
    assert (forward.chosen.shared, forward.chosen.per_thread) == (kernel.shared, kernel.per_thread)
    with lamella.use_backend(conv2d="cy_im2col"):
        assert explain(P)["forward"].chosen.why == "forced by use_backend"
    with lamella.use_backend("reference"):
        assert explain(P)["forward"].chosen.name == "ref"
    with pytest.raises(KeyError):
        e["backward"]


def test_explain_without_a_kernel():
    with lamella.use_backend(conv2d="cy_depthwise"):
        e = explain(P)["forward"]
    assert e.chosen is None
    assert {c.state for c in e.candidates} == {"refused", "other backend"}


def test_explain_measures():
    e = explain(P, measure=True, rounds=1, seconds=1e-4)
    assert e.machine["peak"] > 0
    for choice in e:
        c = choice.chosen
        assert c.seconds > 0
        assert c.flop_rate == pytest.approx(P.flops / c.seconds)
        assert c.peak_share == pytest.approx(c.flop_rate / e.machine["peak"])
        assert c.byte_rate == pytest.approx(P.bytes / c.seconds)
    text = str(e)
    assert "FMA peak" in text
    assert "of copy" in text
    json.dumps(e.as_dict())


def test_explain_a_call():
    model = lamella.models.create("mlp", image_size=4)
    e = explain(model, np.ones((2, 1, 4, 4), np.float32))
    assert {choice.operation for choice in e} >= {"gemm", "activation"}
    again = explain(model, np.ones((2, 1, 4, 4), np.float32))
    assert [c.problem for c in again] == [c.problem for c in e]
    with pytest.raises(TypeError, match="expected a Problem or a callable"):
        explain(3)


def test_explain_shows_transformed_bytes(monkeypatch):
    module = lamella.kernels.load("conv2d", "cy_direct")
    monkeypatch.setattr(module, "transformed", lambda pass_, p: 123, raising=False)
    assert next(c for c in explain(P)["forward"].candidates if c.name == "cy_direct").transformed == 123
