"""Classifiers with scikit-learn's interface: fit, predict, score, get_params, set_params.

scikit-learn is not needed; where it is installed, its GridSearchCV, pipelines and `clone` take these as their own.
"""

from lamella.estimators.base import Classifier, Estimator, NotFittedError
from lamella.estimators.ensemble import BaggingClassifier
from lamella.estimators.linear import LinearClassifier
from lamella.estimators.neural import MLPClassifier, NeuralClassifier
from lamella.estimators.perceptron import Perceptron

__all__ = [
    "BaggingClassifier",
    "Classifier",
    "Estimator",
    "LinearClassifier",
    "MLPClassifier",
    "NeuralClassifier",
    "NotFittedError",
    "Perceptron",
]
