"""Estimators: alone, and in the hands of scikit-learn."""

import numpy as np
import pytest

import lamella
from lamella import nn
from lamella.estimators import Classifier, LinearClassifier, MLPClassifier, NeuralClassifier, NotFittedError, Perceptron

rng = np.random.default_rng(0)
CENTRES = np.array([[0, 0], [4, 0], [0, 4]])
Y = np.repeat(["red", "green", "blue"], 20)
X = np.repeat(CENTRES, 20, axis=0) + 0.3 * rng.standard_normal((60, 2))


def network(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), classes))


MAKERS = {
    "Perceptron": lambda: Perceptron(max_iter=50),
    "softmax": lambda: LinearClassifier(lr=0.1, epochs=20, random_state=0),
    "svm": lambda: LinearClassifier("svm", lr=0.1, epochs=20, random_state=0),
    "MLP": lambda: MLPClassifier((8,), "tanh", lr=0.05, epochs=20, random_state=0),
    "Neural": lambda: NeuralClassifier(network, lr=0.1, random_state=0),
}


@pytest.mark.parametrize("name", MAKERS)
def test_learns_three_classes_of_strings(name):
    model = MAKERS[name]()
    assert model.fit(X, Y) is model
    assert model.classes_.tolist() == ["blue", "green", "red"]
    assert model.score(X, Y) == 1.0
    assert model.score(X, np.full(60, "red"), sample_weight=(Y == "red").astype(float)) == 1.0
    two = Y != "blue"
    assert MAKERS[name]().fit(X[two], Y[two]).score(X[two], Y[two]) == 1.0
    again = MAKERS[name]().fit(X, Y)
    np.testing.assert_array_equal(again.decision_function(X), model.decision_function(X))


def test_a_random_state_leaves_the_global_one_alone():
    lamella.manual_seed(3)
    before = lamella.get_rng_state()
    MAKERS["softmax"]().fit(X, Y)
    assert lamella.get_rng_state() == before


def test_probabilities_and_the_penalty():
    free, tight = (LinearClassifier(lr=0.1, alpha=alpha, random_state=0).fit(X, Y) for alpha in (0.0, 1.0))
    np.testing.assert_allclose(free.predict_proba(X).sum(1), 1, rtol=1e-5)
    assert np.abs(tight.coef_).sum() < 0.5 * np.abs(free.coef_).sum()
    assert len(free.loss_curve_) == free.n_iter_ == 50


def test_images():
    model = NeuralClassifier(network, lr=0.1, random_state=0).fit(X.reshape(60, 1, 2, 1), Y)
    assert model.score(X.reshape(60, 1, 2, 1), Y) == 1.0


def test_parameters():
    model = MLPClassifier((4, 2))
    assert repr(model) == "MLPClassifier(hidden_layer_sizes=(4, 2))"
    assert model.get_params()["lr"] == 1e-3
    assert model.set_params(lr=0.1) is model
    assert model.lr == 0.1
    with pytest.raises(ValueError, match="no parameter 'depth'; there are hidden_layer_sizes"):
        model.set_params(depth=3)


def test_refusals():
    for call, match in [
        (lambda: Perceptron().predict(X), "not fitted yet"),
        (lambda: Perceptron().fit(X[0], Y), r"expected X of shape \(samples, features\), got \(2,\)"),
        (lambda: Perceptron().fit(X, Y[:3]), r"y of shape \(60,\)"),
        (lambda: Perceptron().fit(X, np.zeros(60)), "at least two classes"),
        (lambda: Perceptron().fit(np.full((3, 2), np.nan), [0, 1, 2]), "NaN or infinity"),
        (lambda: Perceptron().fit(X, Y).predict(X[:, :1]), r"\(samples, 2\) as in fit, got \(60, 1\)"),
        (lambda: LinearClassifier("square").fit(X, Y), "loss must be one of 'softmax', 'svm'"),
        (lambda: nn.Perceptron(2).learn(X, np.full(60, -1)), "targets 0 and 1"),
        (lambda: nn.Perceptron(2, 2).learn(X, np.zeros(60)), r"target of shape \(60, 2\)"),
        (lambda: nn.Perceptron(3).learn(X, np.zeros(60)), r"x of shape \(N, 3\)"),
    ]:
        with pytest.raises(ValueError, match=match):
            call()
    with pytest.raises(NotFittedError):
        MLPClassifier().decision_function(X)
    assert not Classifier().__sklearn_is_fitted__()


def test_scikit_learn_takes_them():
    sklearn = pytest.importorskip("sklearn")
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    for make in MAKERS.values():
        model = make()
        twin = sklearn.base.clone(model)
        assert twin.get_params() == model.get_params()
        assert sklearn.base.is_classifier(model)
        assert cross_val_score(make_pipeline(StandardScaler(), twin), X, Y, cv=3).min() > 0.9
    search = GridSearchCV(LinearClassifier(epochs=5, random_state=0), {"lr": [1e-6, 0.3]}, cv=3).fit(X, Y)
    assert search.best_params_ == {"lr": 0.3}
    assert search.best_estimator_.score(X, Y) == 1.0
