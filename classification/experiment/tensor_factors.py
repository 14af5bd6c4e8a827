"""What --tensorfactor_param_path means: knowledge bases and factors of a TF model from one of its parameter
files."""
import os
import re
from collections import OrderedDict

from classification.results.parameter_files import load, times
from utils.utils import UserError


def find(result_dir, name):
    """The path that --tensorfactor_param_path means: below the result folder, or as it stands.

    Raises:
        UserError: no such file.
    """
    for path in (os.path.join(result_dir, name), name):
        if os.path.isfile(path):
            return path
    raise UserError(
        '--tensorfactor_param_path %s: there is no such file, neither below %s nor as a path of its own%s' % (
        name, result_dir, '; a folder is none' if os.path.isdir(name)
        or os.path.isdir(os.path.join(result_dir, name)) else ''))


def tensor_factors(path, net):
    """dict name -> array: the knowledge bases and the tasks' factors of a parameter file, for a network.

    Args:
        path: a file of a TF model.
        net: utils_env_cl.Net, whose kernels they must fit.
    Raises:
        UserError: the file cannot be read, holds none, or they are of another network.
    """
    file = load(path)
    found = OrderedDict((name, file.store[name]) for name in sorted(file.store)
                        if re.match(r'conv\d+/(shared|task\d+)/tf/', name))
    if not any('/shared/tf/core' in name for name in found):
        raise UserError('%s holds no knowledge base of tensor factors: it is of %s; give a file of a TF model'
                        % (path, file.about.get('model_type')))
    for name, value in found.items():
        layer, part = int(name[len('conv'):name.index('/')]), name.split('/')[-1]
        expected = None
        if layer < len(net.layers):
            shape = net.layers[layer].shape
            expected = {'core': shape, 'bias': shape[-1:]}.get(part) or (shape['hwio'.index(part[-1])],) * 2
        if value.shape != expected:
            raise UserError('%s is of another network: %s has the shape %s, this network %s' % (
                path, name, times(value.shape), 'has %d layers' % len(net.layers) if expected is None else
                'needs %s' % times(expected)))
    return found
