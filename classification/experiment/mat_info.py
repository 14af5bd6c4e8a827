"""What the .mat file says of an experiment itself: `model_specific_info`."""
from collections import OrderedDict

from classification import gen_data
from classification.experiment import requested_analyses
from utils.declarations import stored_fields


def info(experiment):
    """`model_specific_info` of the .mat file: the published fields in the published order."""
    net, training = experiment.net, experiment.training
    fields = OrderedDict([
        ('architecture', experiment.model.architecture),
        ('learning_rate', training.lr),
        ('improvement_threshold', training.improvement),
        ('early_stopping_para', [float(experiment.early_stopping or training.patience),
                                 training.patience_multiplier]),
        ('padding_type', net.padding),
        ('max_pooling', True),
        ('dropout', experiment.keep < 1),
        ('image_dimension', list(net.image_shape)),
        ('skip_connect', [list(pair) for pair in net.skips]),
        ('highway_connect', 0),
        ('hidden_activation', 'relu'),
        ('batch_size', training.batch_size),
        ('hidden_layer', list(net.hidden)),
        ('kernel_sizes', [size for layer in net.layers for size in (layer.kernel, layer.kernel)]),
        ('stride_sizes', [1] * (2 * len(net.layers))),
        ('channel_sizes', [layer.out_channels for layer in net.layers]),
        ('pooling_size', [size for layer in net.layers for size in (layer.pool, layer.pool)]),
    ])
    fields.update(experiment.model.info(net, experiment.options))
    if experiment.data_options:
        fields.update(stored_fields(gen_data.DATASETS[experiment.data_type].options, experiment.data_options))
    if experiment.model.pattern == 'asked':
        fields['conv_sharing'] = [letter == 'S' for letter in experiment.pattern]
    fields.update(requested_analyses.info(experiment.analyses, training.patience))
    return fields
