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
    # classical vision
    # worked examples
}
