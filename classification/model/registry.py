"""All methods of this project. Importing it declares them, in the order of `--list`; no TensorFlow is needed
for that."""
# isort: off
from classification.model import mechanisms, cnn_baseline_model, cnn_dfcnn_model, cnn_apd_model  # noqa: F401
from classification.model import cnn_channel_gate_model, cnn_lasem_model, cnn_darts_model  # noqa: F401
from classification.model import cnn_bruteforce_model, cnn_ewc_model, cnn_prognn_model, cnn_den_model  # noqa: F401
# isort: on
from classification.model.declare import (  # noqa: F401
    MECHANISMS,
    METHODS,
    MODELS,
    all_options,
    canonical_model,
    default_options,
    models_argument,
)
from classification.model.method import Setting


def make_method(model_type, setting):
    """The method of a canonical model type."""
    return MODELS[model_type].make(setting)


def method_of(experiment):
    """The method that an experiment.Experiment trains, before it has learned anything."""
    return make_method(experiment.model_type, Setting(
        experiment.net, experiment.class_counts, experiment.model.mechanism,
        dict(experiment.options, pattern=experiment.pattern), experiment.keep, experiment.task_order))
