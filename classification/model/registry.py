"""All methods of this project. Importing it declares them, in the order of `--list`; no TensorFlow is needed for that."""
from classification.model import (mechanisms, cnn_baseline_model, cnn_dfcnn_model, cnn_apd_model,  # noqa: F401
                                  cnn_channel_gate_model, cnn_lasem_model, cnn_darts_model, cnn_bruteforce_model, cnn_ewc_model, cnn_prognn_model,
                                  cnn_den_model)
from classification.model.declare import (MECHANISMS, METHODS, MODELS, all_options, canonical_model,  # noqa: F401
                                          default_options, models_argument)


def make_method(model_type, setting):
    """The method of a canonical model type."""
    return MODELS[model_type].make(setting)
