"""Number of the course checklist (A: feature, G: worked example) -> the test that proves it. Sorted by number."""

TABLE: dict[str, str] = {
    # neuron, perceptron, linear models
    # activations
    # losses and statistics
    # gradients
    # optimisers
    # schedules
    # initialisers
    # regularisation and generalisation
    # data
    # layers
    "A-190": "tests/courses/test_recurrent.py::test_layers_follow_their_formulas",
    # classical vision
    "A-200": "tests/courses/test_vision.py::test_integral_image_recursion",
    "A-201": "tests/courses/test_vision.py::test_rectangle_sum",
    "A-202": "tests/courses/test_vision.py::test_haar_features_of_a_window",
    # worked examples
}
