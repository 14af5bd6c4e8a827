"""Where the files of an experiment are, and what is known of one that was begun."""
import glob
import os
from collections import OrderedDict

from classification.experiment.resolve import resolve
from classification.results import mat_file, mat_parts, predictions
from classification.runs.local_pool import ERRORS
from classification.runs.trial_process import CONFIG, LOG
from utils.utils import UserError, read_dict, readable, write_atomically

# What other runs and programs read of a config.json; an older version lacks some of it, a newer one has more.
KINDS = {'experiment': {'data_type': str, 'model_type': str, 'task_order': list, 'class_counts': dict,
                        'checksums': {'tasks': list}, 'analyses': dict, 'data_options': dict},
         'settings': {'parameter_folder': (str, type(None))}}
RESERVED = ('params', predictions.FOLDER)     # folders beside those of results
LONGEST_NAME = 200   # bytes of NAME: file systems take 255, and names of locks and temporary files are longer


def result_name(mat_name):
    """NAME of --save_mat_name, without its ending.

    Raises:
        UserError: it cannot be the name of a result.
    """
    name = mat_name[:-len('.mat')] if mat_name.endswith('.mat') else mat_name
    if not name or name in RESERVED or name.startswith(('temp_', '.')) or os.path.basename(name) != name:
        raise UserError(
            '--save_mat_name %s: a plain file name is needed, not "params" or "predictions" and not starting '
            'with "temp_" or "."; folders go to --result_dir' % mat_name)
    if len(os.fsencode(name)) > LONGEST_NAME or not readable(name).isprintable():
        raise UserError(
            '--save_mat_name %s: a name of at most %d bytes without line breaks and the like is needed'
            % (mat_name, LONGEST_NAME))
    return name


def mat_path(result_dir, mat_name):
    """Result/NAME.mat."""
    return os.path.join(result_dir, result_name(mat_name) + '.mat')


class ResultPaths(object):
    """Where an experiment's files are: Result/NAME.mat, Result/temp_NAME.mat,
    Result/NAME/<model>-<fingerprint>/."""

    def __init__(self, result_dir, mat_name, experiment):
        name = result_name(mat_name)
        self.result_dir = result_dir
        self.mat = mat_path(result_dir, mat_name)
        first = mat_parts.continued(self.mat)
        if first is not None:
            raise UserError('--save_mat_name %s: that file continues %s; give --save_mat_name %s'
                            % (mat_name, first, first))
        self.temporary = os.path.join(result_dir, 'temp_%s.mat' % name)
        self.folder = os.path.join(result_dir, name)
        self.run = os.path.join(self.folder, experiment.folder_name())
        self.graphs = os.path.join(result_dir, 'graphs', experiment.model.architecture, 'run0',
                                   experiment.folder_name())
        self.predictions = None     # the file of predictions, where that is asked for
        if 'save_predictions' in experiment.analyses:
            self.predictions = predictions.path_of(result_dir, name, experiment.folder_name())

    def make(self):
        """Creates the folders, and finds out whether all that a run writes can be written, also at its end.

        Raises:
            UserError: something cannot be written.
        """
        try:
            os.makedirs(self.run, exist_ok=True)
            folders = [self.run] + glob.glob(os.path.join(glob.escape(self.run), 'trial*'))
            if self.predictions:
                folders.append(os.path.dirname(self.predictions))
                os.makedirs(folders[-1], exist_ok=True)
            for folder in folders:
                check_folder(folder)
            for name in (LOG, ERRORS):
                with open(os.path.join(self.run, name), 'ab'):
                    pass
        except OSError as error:
            raise UserError('--result_dir %s cannot be written: %s (%s)'
                            % (self.result_dir, error.strerror or error, error.filename)) from error
        mat_file.check_writable(self.mat)

    def others(self):
        """OrderedDict run folder -> config.json of each experiment of other settings under this name."""
        return OrderedDict((folder, config) for folder, config in configs_in(self.folder).items()
                           if folder != self.run)

    def other_unfinished(self):
        """Experiments of other settings, as dicts, that were begun under this name and not finished."""
        return [config['experiment'] for config in self.others().values() if unfinished(config)]


def check_folder(folder):
    """Raises an OSError if no file can be written to a folder."""
    probe = os.path.join(folder, '.writable-%s' % os.urandom(4).hex())      # others may probe now, too
    write_atomically(probe, '')
    os.remove(probe)


def resolved(flags, say):
    """The experiment that the flags ask for, beside those that were begun under the same file name:
    resolve.resolve."""
    return resolve(flags, say, lambda: configs_of(flags.result_dir, flags.save_mat_name))


def configs_of(result_dir, mat_name):
    """OrderedDict run folder -> config.json of each experiment that was begun under a file name."""
    return configs_in(os.path.join(result_dir, result_name(mat_name)))


def configs_in(folder):
    """OrderedDict run folder -> config.json of each experiment in Result/NAME."""
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else ()
    configs = [(inside, config_in(inside)) for inside in (os.path.join(folder, name) for name in names)]
    return OrderedDict((inside, config) for inside, config in configs if config)


def config_in(folder):
    """What a run folder's config.json says; {} where there is none that can be read, or another program's."""
    return config_of_file(os.path.join(folder, CONFIG))


def config_of_file(path):
    """As `config_in`, of a file."""
    config = read_dict(path)
    return config if set(KINDS) <= set(config) and _fits(config, KINDS) else {}


def _fits(value, kind):
    """Whether a value of a JSON file is of a kind: of a type, or a dict whose values are of kinds."""
    if not isinstance(kind, dict):
        return isinstance(value, kind)
    return isinstance(value, dict) and all(
        _fits(value[name], inner) for name, inner in kind.items() if name in value)


def unfinished(config):
    """Whether an experiment with this config.json was begun and not finished."""
    return not config.get('finished', True)
