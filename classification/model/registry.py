"""All methods of this project. Importing it declares them, in the order of `--list`; no TensorFlow is needed for that."""
from classification.model import (  # noqa: F401
    cnn_apd_model,
    cnn_baseline_model,
    cnn_bruteforce_model,
    cnn_channel_gate_model,
    cnn_darts_model,
    cnn_den_model,
    cnn_dfcnn_model,
    cnn_ewc_model,
    cnn_lasem_model,
    cnn_prognn_model,
    mechanisms,
)
from classification.model.declare import (  # noqa: F401
    MECHANISMS,
    METHODS,
    MODELS,
    all_options,
    canonical_model,
    default_options,
    models_argument,
)


def make_method(model_type, setting):
    """The method of a canonical model type."""
    return MODELS[model_type].make(setting)
