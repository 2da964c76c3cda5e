"""Number of the course checklist (A: feature, G: worked example) -> the test that proves it. Sorted by number."""

TABLE: dict[str, str] = {
    # neuron, perceptron, linear models
    "A-001": "tests/courses/test_neuron.py::test_neuron",
    "A-002": "tests/courses/test_neuron.py::test_step_is_one_at_zero",
    "A-003": "tests/courses/test_neuron.py::test_threshold_is_a_bias",
    "A-004": "tests/courses/test_neuron.py::test_neuron",
    "A-005": "tests/courses/test_neuron.py::test_and_perceptron_trace",
    "A-006": "tests/courses/test_neuron.py::test_perceptron_stops",
    "A-007": "tests/courses/test_neuron.py::test_boundary_and_xor",
    "A-008": "tests/courses/test_neuron.py::test_single_layer_net_has_a_unit_per_class",
    "A-009": "tests/courses/test_neuron.py::test_two_layers_of_steps_make_xor",
    "A-010": "tests/courses/test_neuron.py::test_layer_recursion",
    "A-011": "tests/courses/test_neuron.py::test_affine_with_theta",
    "A-012": "tests/courses/test_neuron.py::test_affine_with_theta",
    "A-013": "tests/courses/test_neuron.py::test_linear_classifier_scores",
    "A-014": "tests/courses/test_neuron.py::test_two_and_three_layer_nets",
    "A-015": "tests/courses/test_neuron.py::test_deep_net",
    "A-016": "tests/courses/test_neuron.py::test_parameters_and_regions",
    "A-017": "tests/courses/test_neuron.py::test_universal_approximation",
    "A-018": "tests/courses/test_neuron.py::test_linear_layers_collapse",
    # activations
    # losses and statistics
    "A-040": "tests/courses/test_losses.py::test_cost_is_the_mean_loss",
    "A-041": "tests/courses/test_losses.py::test_squared_error_has_no_half",
    "A-042": "tests/courses/test_losses.py::test_mean_is_optional",
    "A-043": "tests/courses/test_losses.py::test_mean_is_optional",
    "A-044": "tests/courses/test_losses.py::test_binary_hinge",
    "A-045": "tests/courses/test_losses.py::test_multiclass_svm",
    "A-046": "tests/courses/test_losses.py::test_softmax_cross_entropy",
    "A-047": "tests/courses/test_losses.py::test_softmax_cross_entropy",
    "A-048": "tests/courses/test_losses.py::test_one_hot_cross_entropy",
    "A-049": "tests/courses/test_losses.py::test_maximum_likelihood",
    "A-050": "tests/courses/test_losses.py::test_bce_with_logits",
    "A-051": "tests/courses/test_losses.py::test_normal_likelihood_is_the_squared_loss",
    "A-052": "tests/courses/test_losses.py::test_predicted_variance",
    "A-053": "tests/courses/test_losses.py::test_independent_outputs_add_up",
    "A-054": "tests/courses/test_losses.py::test_kl_divergence",
    "A-055": "tests/courses/test_losses.py::test_differential_entropy",
    "A-056": "tests/courses/test_losses.py::test_loss_returns_its_distribution_or_mode",
    "A-057": "tests/courses/test_losses.py::test_regularised_loss",
    "A-058": "tests/courses/test_losses.py::test_bias_variance_noise",
    "A-059": "tests/courses/test_losses.py::test_double_descent",
    # gradients
    "A-060": "tests/courses/test_gradients.py::test_forward_and_central_differences",
    "A-061": "tests/courses/test_gradients.py::test_gradcheck",
    "A-062": "tests/courses/test_gradients.py::test_chain_rule",
    "A-063": "tests/courses/test_gradients.py::test_nodes_have_forward_and_backward",
    "A-064": "tests/courses/test_gradients.py::test_gates",
    "A-065": "tests/courses/test_gradients.py::test_sum_times",
    "A-066": "tests/courses/test_gradients.py::test_sigmoid_circuit",
    "A-067": "tests/courses/test_gradients.py::test_no_jacobian_is_made",
    "A-068": "tests/courses/test_gradients.py::test_descent_until_the_weights_stand_still",
    "A-069": "tests/courses/test_gradients.py::test_descent_until_the_weights_stand_still",
    "A-070": "tests/courses/test_gradients.py::test_learning_rate",
    "A-071": "tests/courses/test_gradients.py::test_eleven_line_network",
    "A-072": "tests/courses/test_gradients.py::test_training_recipe",
    "A-073": "tests/courses/test_gradients.py::test_clipping_each_component",
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
    "G-01": "tests/courses/test_neuron.py::test_and_perceptron_trace",
    "G-02": "tests/courses/test_losses.py::test_multiclass_svm",
    "G-03": "tests/courses/test_losses.py::test_softmax_cross_entropy",
    "G-04": "tests/courses/test_losses.py::test_svm_is_content_and_softmax_never",
    "G-05": "tests/courses/test_gradients.py::test_numeric_gradient_weight_by_weight",
    "G-06": "tests/courses/test_gradients.py::test_forward_and_central_differences",
    "G-07": "tests/courses/test_gradients.py::test_sum_times",
    "G-08": "tests/courses/test_gradients.py::test_sigmoid_circuit",
    "G-09": "tests/courses/test_gradients.py::test_eleven_line_network",
    "G-14": "tests/courses/test_losses.py::test_ten_class_probabilities",
}
