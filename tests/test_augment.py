"""Augmentation: what each transform does, and that nothing but seed and place decides what it draws."""

import numpy as np
import pytest
from scipy import ndimage

import lamella
from lamella.data import DataLoader, augment, datasets, mix
from lamella.data import transforms as T
from lamella.data.draws import Draws, keys
from lamella.data.transforms.plan import Plan


@pytest.fixture(autouse=True)
def seed():
    lamella.manual_seed(0)


def images(n=6, c=1, h=9, w=8, dtype=np.uint8, seed=0):
    x = np.random.default_rng(seed).integers(0, 256, (n, c, h, w)).astype(np.uint8)
    return x if dtype == np.uint8 else (x / 255).astype(dtype)


ALL = T.Compose(
    [
        T.RandomHorizontalFlip(),
        T.RandomAffine(20, (0.1, 0.1), (0.8, 1.2), 10, interpolation="bilinear", fill=0.3),
        T.RandomCrop(8, padding=2, padding_mode="reflect"),
        T.ColorJitter(0.3, 0.3),
        T.GaussianNoise(sigma=0.05),
        T.Normalize(0.4, 0.2),
        T.RandomErasing(),
    ]
)


# what they do


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
def test_crop_is_a_part_of_the_padded_image(mode):
    x = images(200, 2, 6, 7)
    out = T.RandomCrop((5, 6), padding=(2, 1, 3, 4), padding_mode=mode, fill=0)(x)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 4), (2, 3)), mode) / np.float32(255)
    places = set()
    for got, whole in zip(out, padded):
        here = [(i, j) for i in range(7) for j in range(7) if np.allclose(got, whole[:, i : i + 5, j : j + 6], atol=1e-6)]
        assert here
        places.add(here[0])
    assert {i for i, _ in places} == set(range(7)) == {j for _, j in places}


def test_flips():
    x = images(50)
    out = T.RandomHorizontalFlip()(x) * 255
    same = [np.allclose(a, b, atol=1e-3) for a, b in zip(out, x)]
    flipped = [np.allclose(a, b[..., ::-1], atol=1e-3) for a, b in zip(out, x)]
    assert all(np.logical_xor(same, flipped)) and 10 < sum(flipped) < 40
    assert np.allclose(T.RandomVerticalFlip(1)(x) * 255, x[:, :, ::-1], atol=1e-3)


@pytest.mark.parametrize(
    ("mode", "scipy_mode"), [("constant", "grid-constant"), ("edge", "nearest"), ("reflect", "mirror"), ("symmetric", "reflect")]
)
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_affine_is_scipys(mode, scipy_mode, interpolation):
    x = images(3, 3, 11, 9, np.float64)
    rng = np.random.default_rng(1)
    # places that are whole 1/256, which is what interpolation rounds to
    m = np.rint(rng.uniform(-1.5, 1.5, (3, 2, 3)) * 256) / 256
    m[:, :, 2] *= 4
    m[:, :, 2] += 1 / 512 * (interpolation == "nearest")  # no ties
    out = augment(x, m, (7, 12), interpolation=interpolation, padding_mode=mode, fill=0.25)
    order = 0 if interpolation == "nearest" else 1
    for n in range(3):
        for c in range(3):
            want = ndimage.affine_transform(x[n, c], m[n, :, :2], m[n, :, 2], (7, 12), order=order, mode=scipy_mode, cval=0.25)
            assert np.abs(out[n, c] - want).max() < 1e-9


def test_rotation_turns_counter_clockwise_and_affine_clockwise():
    x = images(1, 2, 8, 8, np.float64)
    assert np.allclose(T.RandomRotation((90, 90))(x), np.rot90(x, 1, (2, 3)))
    assert np.allclose(T.RandomAffine((90, 90))(x), np.rot90(x, -1, (2, 3)))
    assert np.allclose(T.RandomAffine((0, 0), scale=(2, 2))(x)[0, 0, ::2, ::2], T.RandomAffine((0, 0), scale=(2, 2))(x)[0, 0, 1::2, 1::2])
    sheared = T.RandomAffine((0, 0), shear=(45, 45), interpolation="bilinear")(
        np.pad(np.ones((1, 1, 9, 1)), ((0, 0), (0, 0), (0, 0), (4, 4)))
    )
    assert np.allclose(sheared[0, 0], np.eye(9)[::-1], atol=0.01) or np.allclose(sheared[0, 0], np.eye(9), atol=0.01)


@pytest.mark.oracle
def test_affine_is_pytorchs_grid_sample():
    torch = pytest.importorskip("torch")
    x = images(4, 3, 12, 10, np.float64)
    seed = 5
    transform = T.RandomAffine(30, (0.2, 0.2), (0.7, 1.3), interpolation="bilinear")
    plan = Plan(x)
    transform.join(plan, Draws(keys(seed, count=4)))
    m = plan.matrix
    # the same map in grid_sample's coordinates, -1 to 1 from edge to edge, x first
    h, w = 12, 10
    y, column = np.meshgrid(np.arange(h), np.arange(w), indexing="ij")
    rows = m[:, 0, 0, None, None] * y + m[:, 0, 1, None, None] * column + m[:, 0, 2, None, None]
    columns = m[:, 1, 0, None, None] * y + m[:, 1, 1, None, None] * column + m[:, 1, 2, None, None]
    grid = np.stack([(2 * columns + 1) / w - 1, (2 * rows + 1) / h - 1], -1)
    want = torch.nn.functional.grid_sample(torch.from_numpy(x), torch.from_numpy(grid), align_corners=False).numpy()
    assert np.abs(plan.run() - want).max() < 1 / 200  # a 256th of a pixel


def test_values_noise_and_erasing_by_their_formulas():
    x = images(4, 3, 5, 6, np.float64)
    factor, contrast = np.array([0.5, 1.0, 1.5, 2.0]), np.array([1.0, 0.2, 1.7, 0.0])
    got = augment(x, brightness=factor, contrast=contrast, gain=2, offset=[1, 2, 3], box=(1, 2, 4, 6), value=9)
    v = np.clip(x * factor[:, None, None, None], 0, 1)
    mean = (v * np.array([0.2989, 0.587, 0.114])[:, None, None]).sum(1).mean((1, 2))[:, None, None, None]
    v = np.clip(v * contrast[:, None, None, None] + (1 - contrast[:, None, None, None]) * mean, 0, 1)
    v = 2 * v + np.array([1, 2, 3])[:, None, None]
    v[:, :, 1:4, 2:6] = 9
    assert np.allclose(got, v, atol=1e-12)
    noise = augment(np.zeros((2, 1, 300, 300)), noise=1.0, keys=np.array([1, 2], np.uint64), clip=False)
    assert abs(noise.mean()) < 0.01 and abs(noise.std() - 1) < 0.01 and abs((noise**4).mean() - 3) < 0.1
    assert abs((noise[0] * noise[1]).mean()) < 0.01 and abs((noise[:, :, :, 1:] * noise[:, :, :, :-1]).mean()) < 0.01


def test_resized_crop_of_everything_is_a_resize():
    x = images(2, 1, 8, 8, np.float64)
    out = T.RandomResizedCrop(16, (1, 1), (1, 1))(x)
    assert np.allclose(out, lamella.functional.interpolate(x, size=16, mode="bilinear"), atol=1e-9)


def test_erasing_and_cutout_cover_what_they_say():
    x = np.ones((400, 1, 20, 20), np.float32)
    area = (T.RandomErasing(1, (0.1, 0.2))(x) == 0).mean((1, 2, 3))
    assert area.min() > 0.08 and area.max() < 0.24  # sides are rounded
    assert ((T.RandomErasing(0.25)(x) == 0).any((1, 2, 3)).mean() - 0.25) < 0.08
    square = (T.Cutout(8)(x) == 0).sum((1, 2, 3))
    assert square.max() == 64 and square.min() >= 16
    assert np.allclose(T.Compose([T.Cutout(4, value=0.5), T.Normalize(0.5, 0.5)])(x).min(), 0)


# how they are put together


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)])
def test_one_pass_computes_what_two_do(order):
    x = images(30, 3, 12, 10)
    moves = [T.RandomHorizontalFlip(), T.RandomCrop((11, 9), padding=1), T.RandomAffine(20, (0.1, 0.1), interpolation="bilinear")]
    pair = [moves[i] for i in order]
    plan, draws = Plan(x), Draws(keys(1, count=30))
    fused = all(t.fits(plan) and not t.join(plan, draws) for t in pair)
    assert fused == (0 in order)
    if not fused:
        return
    draws, y = Draws(keys(1, count=30)), x
    for t in pair:
        step = Plan(y)
        t.join(step, draws)
        y = step.run()
    assert np.allclose(plan.run(), y, atol=2 / 255)


def test_order_of_steps_is_kept():
    x = np.full((1, 1, 4, 4), 0.5)
    late = T.Compose([T.Normalize(0.5, 0.5), T.ColorJitter(brightness=(2, 2))])
    assert np.allclose(late(x), 0) and np.allclose(T.Compose([T.ColorJitter(brightness=(2, 2)), T.Normalize(0.5, 0.5)])(x), 1)
    twice = T.Compose([T.ColorJitter(brightness=(0.5, 0.5)), T.ColorJitter(brightness=(0.5, 0.5))])
    assert np.allclose(twice(x), 0.125)
    assert np.allclose(T.Compose([T.RandomVerticalFlip(1), lambda v: v + 1, T.RandomHorizontalFlip(1)])(x), 1.5)


def test_types_and_formats():
    for dtype, want in ((np.uint8, np.float32), (np.float32, np.float32), (np.float64, np.float64)):
        for c in (1, 3):
            x = images(5, c, dtype=dtype)
            outs = []
            for given in (x, np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1), np.repeat(x, 2, 3)[..., ::2]):
                lamella.manual_seed(1)
                outs.append(ALL(given))
            assert all(o.dtype == want and o.shape == (5, c, 8, 8) and (o == outs[0]).all() for o in outs)
    assert ALL(images(0)).shape == (0, 1, 8, 8)


def test_labels_are_mixed_as_images_are():
    labels = np.arange(5)
    x = np.eye(5, dtype=np.float32).reshape(5, 5, 1, 1) * np.ones((1, 1, 8, 8), np.float32)  # image n shows its label
    for transform in (T.MixUp(num_classes=5), T.CutMix(num_classes=5), T.MixUp(alpha=0.2, num_classes=5)):
        mixed, rows = transform(x, labels)
        assert np.allclose(mixed.mean((2, 3)), rows, atol=1e-6) and rows.dtype == np.float32
        assert len(np.unique(rows.max(1))) > 1
    again, rows2 = T.CutMix()(x, rows)
    assert np.allclose(rows2.sum(1), 1)


# only the seed and the place decide


def batches(loader):
    return [(x.data.copy(), y.data.copy()) for x, y in loader]


def loader_of(**options):
    dataset = datasets.EmbeddedFashionMNIST(train=False, transform=ALL)
    dataset.images, dataset.labels = dataset.images[:50], dataset.labels[:50]
    return DataLoader(dataset, 16, shuffle=True, generator=3, batch_transform=T.MixUp(num_classes=10), **options)


def test_workers_threads_and_resuming_change_nothing():
    want = batches(loader_of())
    assert any((a != b).any() for a, b in zip(want[0][0], batches(loader_of())[0][0])) is False
    before = lamella.get_num_threads()
    try:
        for threads, workers in ((1, 0), (2, 3)):
            lamella.set_num_threads(threads)
            got = batches(loader_of(num_workers=workers))
            assert all((a == c).all() and (b == d).all() for (a, b), (c, d) in zip(want, got))
    finally:
        lamella.set_num_threads(before)
    loader = loader_of()
    walk = iter(loader)
    next(walk)
    rest = loader_of()
    rest.load_state_dict(loader.state_dict())
    assert all((a == c).all() and (b == d).all() for (a, b), (c, d) in zip(want[1:], batches(rest)))
    second = batches(loader)
    assert (second[0][0] != want[0][0]).any()


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_backends_draw_and_place_alike(backend):
    if backend == "numba":
        pytest.importorskip("numba")
    moves = T.Compose(
        [T.RandomHorizontalFlip(), T.RandomAffine(30, (0.2, 0.2), (0.7, 1.3), interpolation="bilinear", padding_mode="reflect")]
    )
    x = images(20, 3, 16, 13)
    lamella.manual_seed(0)
    exact, rounded = moves(x), ALL(x)
    with lamella.use_backend(backend):
        lamella.manual_seed(0)
        assert (moves(x) == exact).all()  # bytes: the same bits
        assert np.allclose(ALL(x), rounded, atol=2e-5)


def test_draws_are_uniform_and_independent():
    draws = Draws(keys(7, 1, count=100_000))
    u, v = draws.uniform(), draws.uniform()
    assert abs(u.mean() - 0.5) < 0.005 and abs(np.corrcoef(u, v)[0, 1]) < 0.01 and abs(np.corrcoef(u[1:], u[:-1])[0, 1]) < 0.01
    assert np.abs(np.bincount(draws.integers(0, 10)) - 10_000).max() < 500
    assert (Draws(keys(7, 1, count=10)).uniform() == u[:10]).all() and (Draws(keys(7, 2, count=10)).uniform() != u[:10]).all()


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: T.RandomCrop(10)(images()), ValueError, "at least 10 x 10"),
        (lambda: T.RandomCrop(0), ValueError, "positive"),
        (lambda: T.RandomHorizontalFlip(1.5), ValueError, "probability"),
        (lambda: T.RandomAffine((5, -5)), ValueError, "degrees"),
        (lambda: T.RandomAffine(5, scale=(0, 1)), ValueError, "scale"),
        (lambda: T.RandomAffine(5, interpolation="cubic")(images()), ValueError, "bilinear or nearest"),
        (lambda: T.ColorJitter(hue=0.1), ValueError, "hue"),
        (lambda: T.ColorJitter(-1), ValueError, "brightness"),
        (lambda: T.Cutout(0), ValueError, "Cutout"),
        (lambda: T.MixUp(alpha=0), ValueError, "alpha"),
        (lambda: T.MixUp()(images(dtype=np.float32), np.arange(6)), ValueError, "num_classes"),
        (lambda: T.MixUp(num_classes=3)(images(dtype=np.float32), np.arange(6)), ValueError, "below num_classes"),
        (lambda: T.MixUp(num_classes=6)(images(), np.arange(6)), TypeError, "ToFloat"),
        (lambda: T.RandomHorizontalFlip()(images()[0]), ValueError, "N, C, H, W"),
        (lambda: T.RandomHorizontalFlip()(images().astype(np.int32)), TypeError, "uint8, float32 or float64"),
        (lambda: augment(images(), np.full((2, 3), np.nan)), ValueError, "finite places"),
        (lambda: augment(images(), np.zeros((3, 2, 3))), ValueError, "matrix"),
        (lambda: augment(images(), padding_mode="wrap"), ValueError, "border"),
        (lambda: augment(images(), noise=0.1), ValueError, "keys"),
        (lambda: augment(images(), fill=[1, 2]), ValueError, "one per channel"),
        (lambda: augment(images(), box=(0, 0, 10, 3)), ValueError, "inside 9 x 8"),
        (lambda: mix(images(dtype=np.float32), [6] * 6, 0.5), ValueError, "partners"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_the_command_augments_training_images_only(tmp_path, capsys):
    from lamella.cli import main

    for seed, options in enumerate((["--augment"], ["--augment", "--workers", "2"], [])):
        arguments = [
            "--limit",
            "300",
            "--epochs",
            "2",
            "--patience",
            "5",
            "--seed",
            "0",
            "--quiet",
            "--no-pictures",
            "--out",
            str(tmp_path / str(seed)),
        ]
        assert main(["train", *arguments, *options]) == 0
    figures = [line.split(";")[0] for line in capsys.readouterr().out.splitlines() if line.startswith("test accuracy")]
    assert figures[0] == figures[1] != figures[2]
