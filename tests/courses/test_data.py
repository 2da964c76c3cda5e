"""Data: splits, formats, missing values, imbalance, scaling, whitening, augmentation, and what a figure may be quoted from (A-140, A-160 to A-175)."""

import math

import numpy as np
import pytest

import lamella
from lamella import data, nn, optim
from lamella.data import preprocessing as pre
from lamella.data import transforms as T
from lamella.train import Trainer, plots


def blobs(n=200, classes=2, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    return (rng.standard_normal((n, 2)) + 3 * y[:, None]).astype(np.float32), y


@pytest.mark.course("A-160")
def test_dataset_is_pairs_of_input_and_target():
    x, y = blobs()
    dataset = data.TensorDataset(x, y)
    assert len(dataset) == 200
    image, label = dataset[7]
    assert (image == x[7]).all() and label == y[7]
    assert len(data.ConcatDataset([dataset, data.Subset(dataset, [3, 1])])) == 202


@pytest.mark.course("A-161")
@pytest.mark.parametrize("lengths", [(0.7, 0.15, 0.15), (0.85, 0.15)])
def test_subsets_hold_similar_data(lengths):
    """70/15/15, then train + val (85) against test (15): every subset has the classes in equal shares, and no sample is in two."""
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    parts = data.stratified_split(data.TensorDataset(np.arange(1000), labels), lengths, generator=0)
    assert [len(part) for part in parts] == [round(1000 * share) for share in lengths]
    for part, share in zip(parts, lengths):
        assert np.bincount(data.labels_of(part)).tolist() == [round(share * n) for n in (600, 300, 100)]
    assert sorted(int(x) for part in parts for x, _ in part) == list(range(1000))
    if len(lengths) == 3:
        train, val, test = parts
        assert len(data.ConcatDataset([train, val])) == 850
    odd = data.stratified_split(data.TensorDataset(np.arange(101), np.arange(101) % 7), lengths, generator=0)
    assert sum(map(len, odd)) == 101 and all(abs(len(p) - 101 * s) <= 1 for p, s in zip(odd, lengths))
    folds = list(data.k_fold(data.TensorDataset(np.arange(1000), labels), 5, generator=1))
    assert all(np.bincount(data.labels_of(valid)).tolist() == [120, 60, 20] for _, valid in folds)
    assert sorted(int(x) for _, valid in folds for x, _ in valid) == list(range(1000))


@pytest.mark.course("A-162")
def test_rules_of_thumb_for_sizes():
    lenet = lamella.models.create("lenet")
    assert data.recommended_size(lenet, classes=10) == {"parameters": 617_060, "classes": 10_000}
    assert data.recommended_size(predictors=7) == {"predictors": 70}
    with pytest.raises(ValueError, match="expected a model"):
        data.recommended_size()


@pytest.mark.course("A-163")
def test_iterations_batches_epochs():
    """An iteration is one update, on one batch; an epoch visits every sample once: 60,000 / 64 are 938 iterations, 937 with drop_last."""
    dataset = data.TensorDataset(np.zeros((60_000, 1), np.float32), np.zeros(60_000, np.int64))
    assert (len(data.DataLoader(dataset, 64)), len(data.DataLoader(dataset, 64, drop_last=True))) == (938, 937)
    x, y = blobs(20)
    visited = [label for _, labels in data.DataLoader(data.TensorDataset(x, np.arange(20)), 6, shuffle=True) for label in labels.data]
    assert sorted(visited) == list(range(20))


@pytest.mark.course("A-164")
def test_formats_csv_json_database_but_not_pkl(tmp_path):
    columns = {"a": np.array([1, 2]), "b": np.array([0.5, np.nan]), "c": np.array(["x", "y"])}
    path = tmp_path / "0.csv"
    data.write_table(columns, path)
    for i, suffix in enumerate((".json", ".db", ".npz", ".csv"), 1):  # round and round
        data.write_table(data.read_table(path), tmp_path / f"{i}{suffix}")
        path = tmp_path / f"{i}{suffix}"
    found = data.read_table(path)
    assert found["a"].tolist() == [1, 2] and found["c"].tolist() == ["x", "y"] and np.isnan(found["b"]).tolist() == [False, True]
    with pytest.raises(ValueError, match="loading one may run any program"):
        data.read_table(tmp_path / "data.pkl")


@pytest.mark.course("A-165")
def test_missing_values(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,4\nNull,8\n3,NaN\n8,\n")
    table = data.read_table(tmp_path / "a.csv")
    x = np.stack([table["x"], table["y"]], 1)
    assert pre.drop_missing(x).tolist() == [[1, 4]]
    train = x[:3]
    assert pre.SimpleImputer().fit(train).transform(x).tolist() == [[1, 4], [2, 8], [3, 6], [8, 6]]
    assert pre.SimpleImputer(strategy="median").fit(x).transform(x)[1, 0] == 3
    assert pre.SimpleImputer(strategy="constant", fill_value=-1).fit(x).transform(x)[3, 1] == -1
    with pytest.raises(RuntimeError, match="call fit"):
        pre.SimpleImputer().transform(x)
    with pytest.raises(ValueError, match="has no values"):
        pre.SimpleImputer().fit(np.full((3, 1), np.nan))


@pytest.mark.course("A-166")
def test_class_imbalance():
    labels = np.repeat([0, 1], [90, 10])
    weights = data.class_weights(labels)
    assert np.allclose(weights, [100 / 180, 5]) and np.isclose(weights[labels].sum(), 100)
    over, under = data.BalancedSampler(labels, "over"), data.BalancedSampler(labels, "under")
    assert np.bincount(labels[list(over)]).tolist() == [90, 90] and set(over) == set(range(100))
    assert np.bincount(labels[list(under)]).tolist() == [10, 10]
    drawn = labels[list(data.WeightedRandomSampler(weights[labels], 4000, generator=0))]
    assert abs(drawn.mean() - 0.5) < 0.05
    once = list(data.WeightedRandomSampler(weights[labels], 50, replacement=False, generator=0))
    assert len(set(once)) == 50 and labels[once].sum() > 8
    loader = data.DataLoader(data.TensorDataset(np.arange(100), labels), 30, sampler=over, generator=1)
    first, second = ([int(i) for x, _ in loader for i in x.data] for _ in range(2))
    assert first != second and len(first) == 180
    again = data.DataLoader(data.TensorDataset(np.arange(100), labels), 30, sampler=over, generator=1)
    assert [int(i) for x, _ in again for i in x.data] == first
    # the weighted loss counts both classes alike
    logits = np.zeros((100, 2))
    assert np.isclose(lamella.functional.cross_entropy(logits, labels, weight=weights.astype(np.float64)), math.log(2))


@pytest.mark.course("A-167")
def test_normalisation_to_one_range_and_centring():
    x = np.random.default_rng(0).uniform(0, 1, (50, 2)) * [20, 2]
    scaler = pre.MinMaxScaler().fit(x[:40])
    assert np.allclose([scaler.transform(x[:40]).min(0), scaler.transform(x[:40]).max(0)], [[0, 0], [1, 1]])
    assert np.allclose(scaler.inverse_transform(scaler.transform(x)), x)
    centred = pre.StandardScaler(with_std=False).fit_transform(x)
    assert np.allclose(centred.mean(0), 0) and np.allclose(centred.std(0), x.std(0))
    other = pre.MinMaxScaler()
    other.load_state_dict(scaler.state_dict())
    assert (other.transform(x) == scaler.transform(x)).all()


@pytest.mark.course("A-168")
def test_data_whitening_of_the_course_is_standardisation(tmp_path):
    """A in [0, 20], B in [0, 2]: mean subtracted, divided by the deviation; they stay correlated, which real whitening undoes."""
    rng = np.random.default_rng(0)
    b = rng.uniform(0, 2, 400)
    x = np.stack([10 * b + rng.normal(0, 0.5, 400), b], 1)
    train, test = x[:300], x[300:]
    scaler = pre.StandardScaler().fit(train)
    white = scaler.transform(train)
    assert np.allclose(white.mean(0), 0) and np.allclose(white.std(0), 1)
    assert np.corrcoef(white.T)[0, 1] > 0.99
    assert np.allclose(scaler.transform(test), (test - train.mean(0)) / train.std(0)), "the test set counts for nothing"
    for transform in (pre.PCA(whiten=True), pre.ZCA(eps=0)):
        assert np.allclose(np.cov(transform.fit_transform(train).T), np.eye(2))
    zca = pre.ZCA(eps=0).fit(train)
    lamella.save({"inputs": zca.state_dict()}, tmp_path / "state.safetensors")
    loaded = pre.ZCA()
    loaded.load_state_dict(lamella.load(tmp_path / "state.safetensors")["inputs"])
    assert (loaded.transform(test) == zca.transform(test)).all()
    with pytest.raises(ValueError, match="features"):
        zca.transform(test[:, :1])


@pytest.mark.course("A-169")
def test_decorrelation_by_mean_and_difference():
    """(A + B) / 2 and A - B are uncorrelated where A and B vary alike: the principal components of such data, but for their lengths."""
    rng = np.random.default_rng(0)
    common, own = rng.normal(size=(2, 20_000))
    a, b = common + 0.2 * own, common - 0.2 * own
    made = pre.AffineMap([[0.5, 1], [0.5, -1]])(np.stack([a, b], 1))
    assert np.allclose(made, np.stack([(a + b) / 2, a - b], 1))
    assert np.corrcoef(a, b)[0, 1] > 0.9 > 0.03 > abs(np.corrcoef(made.T)[0, 1])
    components = pre.PCA().fit(np.stack([a, b], 1)).components_
    assert np.allclose(np.abs(components), math.sqrt(0.5), atol=0.01) and components[1].prod() < 0 < components[0].prod()


@pytest.mark.course("A-170")
def test_whitening_as_an_affine_map():
    whiten = pre.AffineMap([[0.05, 0.12], [0.61, -1.23]], [-1.45, 0.12])
    assert np.allclose(whiten([[10, 1], [0, 0]]), [[-0.34, 0.09], [-1.45, 0.12]])
    x = np.random.default_rng(0).normal(size=(100, 3)) * [20, 2, 1]
    zca = pre.ZCA(eps=0).fit(x)  # real whitening is such a map, too
    assert np.allclose(pre.AffineMap(zca.weight_, -(zca.mean_[:, None] * zca.weight_).sum(0))(x), zca.transform(x))


@pytest.mark.course("A-171")
def test_cifar_10(tmp_path):
    """50,000 and 10,000 images of 32 x 32 x 3 = 3072 values, in records of 3073 bytes."""
    for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
        with open(tmp_path / name, "wb") as file:
            file.write(bytes([9]) + bytes(range(256)))
            file.truncate(10_000 * 3073)
    train, test = (data.datasets.CIFAR10(tmp_path, train=part) for part in (True, False))
    assert (len(train), len(test)) == (50_000, 10_000)
    assert train.images[0].size == 3072 == 32 * 32 * 3 and train.in_channels == 3 and train.image_size == (32, 32)
    assert train.labels[0] == train.labels[10_000] == 9 and train.images[0, 0, 1, :3].tolist() == [32, 33, 34] and len(train.classes) == 10


@pytest.mark.course("A-172")
def test_validation_every_n_epochs():
    x, y = blobs()
    model = nn.Linear(2, 2)
    trainer = Trainer(model, optim.SGD(model.parameters(), 0.1), progress="none")
    loader = data.DataLoader(data.TensorDataset(x, y), 50)
    history = trainer.fit(loader, loader, epochs=100, valid_every=30)
    assert [record["epoch"] for record in history if "val_loss" in record] == [30, 60, 90, 100]
    with pytest.raises(ValueError, match="valid_every"):
        trainer.fit(loader, loader, epochs=101, valid_every=0)


@pytest.mark.course("A-173")
def test_image_is_height_width_channels_of_bytes(tmp_path):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = data.read_picture(tmp_path / "a.png")
    assert image.dtype == np.uint8 and image.shape == (3, 7, 5) and (np.moveaxis(image, 0, -1) == pixels).all()
    floats = T.ToFloat()(image)
    assert floats.dtype == np.float32 and np.allclose(floats * 255, image) and floats.max() <= 1


@pytest.mark.course("A-174")
def test_loss_curve_over_mini_batches(tmp_path):
    x, y = blobs()
    model = nn.Linear(2, 2)
    trainer = Trainer(model, optim.SGD(model.parameters(), 0.1), progress="none")
    trainer.fit(data.DataLoader(data.TensorDataset(x, y), 20, shuffle=True, generator=0), epochs=6)
    assert len(trainer.batch_losses) == 60 and np.mean(trainer.batch_losses[-10:]) < np.mean(trainer.batch_losses[:10])
    figure = plots.plot_batch_losses(trainer.batch_losses, tmp_path / "losses.png", batches_per_epoch=10)
    line, average = figure.axes[0].lines[:2]
    assert line.get_ydata().tolist() == trainer.batch_losses and (tmp_path / "losses.png").stat().st_size > 5000
    assert np.isclose(average.get_ydata()[-1], trainer.batch_losses[-1])


@pytest.mark.course("A-175")
def test_official_figures_are_those_of_the_test_set():
    """Choose on val, train again on train + val, and look at the test set once."""
    lamella.manual_seed(0)
    x, y = blobs(400)
    train, val, test = data.stratified_split(data.TensorDataset(x, y), generator=0)
    found = {}
    for lr in (1e-4, 0.3):
        model = nn.Linear(2, 2)
        trainer = Trainer(model, optim.SGD(model.parameters(), lr), progress="none")
        found[lr] = trainer.fit(data.DataLoader(train, 20), data.DataLoader(val, 60), epochs=5)[-1]["val_accuracy"]
    best = max(found, key=found.__getitem__)
    model = nn.Linear(2, 2)
    trainer = Trainer(model, optim.SGD(model.parameters(), best), progress="none")
    both = data.ConcatDataset([train, val])
    trainer.fit(data.DataLoader(both, 20, shuffle=True), epochs=5)
    assert best == 0.3 and len(both) == 340 and trainer.evaluate(data.DataLoader(test, 60))["accuracy"] > 0.9


@pytest.mark.course("A-140")
def test_augmentation_mirrors_crops_zooms_and_changes_contrast():
    images = data.datasets.EmbeddedFashionMNIST(train=False, transform=None).images[:64]
    lamella.manual_seed(0)
    mirrored = T.RandomHorizontalFlip()(images) * 255
    assert all(np.allclose(a, b, atol=0.01) or np.allclose(a, b[:, :, ::-1], atol=0.01) for a, b in zip(mirrored, images))
    assert T.RandomCrop(24)(images).shape == (64, 1, 24, 24)
    zoomed = T.RandomAffine(0, scale=(0.5, 0.5), interpolation="bilinear")(images)
    assert np.allclose(zoomed.mean() * 255, images.mean() / 4, rtol=0.15) and not zoomed[:, :, :6].any()
    flat = T.ColorJitter(contrast=(0, 0))(images)
    assert np.allclose(flat, images.mean((1, 2, 3), keepdims=True) / 255, atol=1e-5)
    pipeline = T.Compose([T.RandomHorizontalFlip(), T.RandomCrop(28, 2), T.ColorJitter(0.2, 0.2), T.GaussianNoise(), T.Cutout(8)])
    lamella.manual_seed(1)
    first = pipeline(images)
    lamella.manual_seed(1)
    assert (pipeline(images) == first).all() and not (pipeline(images) == first).all()
