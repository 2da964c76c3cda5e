"""Search for hyper-parameters (A-150)."""

import numpy as np
import pytest

from lamella.estimators import MLPClassifier


@pytest.mark.course("A-150")
def test_grid_search_of_scikit_learn():
    """Parameters are learned by fit; hyper-parameters are the arguments, which GridSearchCV tries on held-out parts of the training set."""
    from sklearn.base import clone
    from sklearn.datasets import load_digits
    from sklearn.model_selection import GridSearchCV

    x, y = load_digits(return_X_y=True)
    x, y = x[:600] / 16, y[:600]
    model = MLPClassifier((16,), lr=0.02, epochs=8, random_state=0)
    assert clone(model).get_params() == model.get_params()
    search = GridSearchCV(model, {"lr": [1e-5, 0.02], "activation": ["identity", "relu"]}, cv=2).fit(x[:500], y[:500])
    assert search.best_params_["lr"] == 0.02
    assert search.best_score_ > 0.8 > 0.5 > search.cv_results_["mean_test_score"].min()
    assert search.best_estimator_.score(x[500:], y[500:]) > 0.8
    weights = search.best_estimator_.module_.state_dict()
    assert "0.weight" in weights
    assert "lr" not in weights
    assert np.isfinite(search.best_estimator_.loss_curve_).all()
