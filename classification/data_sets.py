"""Declares a data set that a function makes or reads: its images, its tasks, its network."""
import hashlib
from collections import OrderedDict

import numpy as np

from classification import gen_data
from classification.data.source import Source, below
from classification.experiment.plugin_files import where
from classification.model.declare import check_help, check_options
from utils import utils_env_cl as env
from utils.declarations import check_name
from utils.utils import UserError, error_text

LEAST = 3           # images of a class: one each to train, validate and test
DEFAULT_TRAINING = env.TRAINING['digits5']


class Made(Source):
    """Images that a function gives; they are made once per process, and nothing is downloaded.

    Args:
        read: function of the options (dict name -> value) -> uint8 array [n, height, width, channels] for
            each class.
    """

    def __init__(self, name, image_shape, read, place):
        super(Made, self).__init__(name.lower(), name, image_shape, 'the plug-in', place, below())
        self.read_classes, self.place, self.options, self.made = read, place, {}, (None, None)

    def find(self, data_dir):
        return None, OrderedDict()

    def folder(self, data_dir):
        return self.place

    def labels(self, data_dir):
        return OrderedDict([('all', np.repeat(np.arange(len(self._classes())),
                                              list(map(len, self._classes()))))])

    def decode(self, data_dir, say):
        return np.concatenate(self._classes())

    def images(self, data_dir, say):
        return self.decode(data_dir, say)

    def checksum(self, data_dir):
        digest = hashlib.sha256()
        for images in self._classes():
            digest.update(str(images.shape).encode('ascii'))
            digest.update(np.ascontiguousarray(images).tobytes())
        return digest.hexdigest()

    def _classes(self):
        """List of uint8 arrays, one for each class."""
        options = tuple(sorted(self.options.items()))
        if self.made[0] != options:
            try:
                classes = list(self.read_classes(dict(self.options)))
            except Exception as error:      # whatever a user's function does
                path = self.read_classes.__code__.co_filename
                raise UserError('data set %s (%s): %s' % (self.title, where(path, error),
                                                          error_text(error))) from error
            for number, images in enumerate(classes):
                images = np.asarray(images)
                if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != self.image_shape:
                    raise UserError(
                        '%s: class %d has %s images of shape %s; uint8 of shape [n, %s] are needed' % (
                        self.title, number, images.dtype, list(images.shape),
                        ', '.join(map(str, self.image_shape))))
            self.made = options, classes
        return self.made[1]


def data_set(name, help, image_shape, tasks, network, training=None, options=(), version=1,
             scaling=(1 / 255., 0.), splits=gen_data.sixty_ten_thirty):
    """Decorator of a function (options) -> uint8 array [n, height, width, channels] for each class: declares
    a data set.

    Everything random in the function must be a function of its options, since each trial calls it.

    Args:
        name: as --data_type takes it.
        help: one line.
        image_shape: height, width, channels.
        tasks: list of the class numbers of each task; a label is a place in its task's row.
        network: utils_env_cl.Network, a list of some with different depths (the first is the default), or the
            name of the data-set family whose networks fit, like 'fashion'.
        training: utils_env_cl.Training; default: that of the digits.
        options: tuple of declarations.Option, set with --set.
        version: numeric version, raised whenever a change of the function changes its images.
        scaling: the network sees pixel * scaling[0] + scaling[1]; None: standardised per channel.
        splits: which of a class's images train, validate and test; default: 60, 10 and 30 %, anew in each
            trial.
    """
    def declare(read):
        check_name(name, 'data set')
        check_help('data set ' + name, help)
        if not tasks or not all(len(task) and min(task) >= 0 for task in tasks):
            raise UserError('data set %s: tasks needs the numbers, from 0 on, of the classes of each task'
                            % name)
        check_options('data set ' + name, options)
        if any(option.flag for option in options):
            raise UserError('data set %s: its options have no flags; they are set with --set' % name)
        networks = [row for (family, _), row in env.NETWORKS.items() if family == network] if isinstance(
            network, str) else list(network) if isinstance(network, list) else [network]
        if not networks:
            raise UserError('data set %s: there is no family %s; there are %s' % (
                name, network, ', '.join(OrderedDict.fromkeys(family for family, _ in env.NETWORKS))))
        gen_data.add(name, gen_data.Dataset(
            help, name, Made(name, tuple(image_shape), read, 'the plug-in'), gen_data.several_classes,
            tuple(map(tuple, tasks)), splits, scaling=scaling, least=LEAST, options=tuple(options),
            version=version))
        env.TRAINING[name] = training or DEFAULT_TRAINING
        env.NETWORKS.update(((name, len(row.kernels)), row) for row in networks)
        return read
    return declare
