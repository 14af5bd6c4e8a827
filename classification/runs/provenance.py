"""What makes the numbers of a trial here and now: data, libraries, machine, code. origin.py compares what
this collects."""
import os
import platform
import subprocess
import time
from collections import OrderedDict

from classification import gen_data
from classification.experiment.experiment import NUMERICS, numeric_versions, plugins_of
from classification.results import origin
from utils import source_digest
from utils.tensorflow_version import tensorflow_distribution, tensorflow_version
from utils.utils import UserError

# What computes and what becomes of it; the rest of the code reads flags, starts processes and writes files.
ROOTS = (('classification.train', 'Trial'), ('classification.gen_data', 'load_tasks'),
         ('utils.runtime', 'session_config'), ('classification.results.summary', 'summary'))
# They write other files, see to it that nothing is mixed, or declare what the experiment holds.
WITHOUT = ('classification.model.declare', 'utils.declarations', 'classification.trial.tensorboard',
           'classification.results.parameter_files',
           'classification.results.origin', 'classification.data.raw_checksums', 'utils.locks')
GIT_SECONDS = 20


def versions():
    """OrderedDict library -> version, of what computes."""
    import numpy
    import scipy
    return OrderedDict([('python', platform.python_version()), ('tensorflow', tensorflow_version()),
                        ('numpy', numpy.__version__), ('scipy', scipy.__version__)])


def _with_distribution():
    """The same, and who built this TensorFlow."""
    return dict(versions(), tensorflow_distribution=tensorflow_distribution()[0])


def source(experiment, files=None):
    """OrderedDict module -> digest of the code that can change a recorded number of this experiment.

    Args:
        files: source_digest.Source; None: this project's own.
    """
    rows = {('classification.gen_data', 'DATASETS'): experiment.data_type,
            ('classification.trial.schedule', 'SCHEDULES'): experiment.schedule}
    declared = [part.make for part in (experiment.model.method, experiment.model.kind)]
    dataset, files = gen_data.DATASETS.get(experiment.data_type), files or source_digest.Source()
    if dataset is not None and dataset.origin:
        declared.append(dataset.source.read_classes)
    for plugin in plugins_of(experiment.model, dataset):
        files.add(plugin.module, plugin.content)
    return files.digests(tuple((made.__module__, made.__name__) for made in declared) + ROOTS, rows, WITHOUT)


def git_state(root=source_digest.ROOT):
    """(commit, whether tracked files differ from it) of this project's own repository; ('', None) where there
    is none.

    Nothing in the environment points git to another repository, and a folder of another user is read too,
    without running what its configuration names.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith('GIT_')}
    command = ['git', '--git-dir', os.path.join(root, '.git'), '--work-tree', root, '--no-optional-locks',
               '-c', 'core.fsmonitor=false', '-c', 'core.hooksPath=%s' % os.devnull]
    try:
        commit, changes = [subprocess.run(command + words, cwd=root, env=environment, check=True,
                                          timeout=GIT_SECONDS,
                                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                          stderr=subprocess.DEVNULL).stdout.decode('utf-8', 'replace').strip()
                           for words in (['rev-parse', 'HEAD'],
                                         ['status', '--porcelain', '--untracked-files=no'])]
    except (OSError, subprocess.SubprocessError):
        return '', None
    return commit, bool(changes)


def of_command(experiment):
    """What a command and all its trials have in common:
    the fields of an origin that do not belong to one trial."""
    commit, changes = git_state()
    digests = source(experiment)
    return OrderedDict([
        ('versions', _with_distribution()), ('git_commit', commit), ('uncommitted_changes', changes),
        ('source_modules', list(digests)), ('source_digests', list(digests.values())),
        ('numeric_versions', ', '.join('%s %d' % pair for pair in sorted(dict(
            experiment.numeric_versions, numerics=experiment.numerics).items())))])


def of_trial(experiment, command, device, threads, data_folder=''):
    """The origin of what this process trains, which belongs to a command.

    Args:
        command: what `of_command` gave in the process of the command; None: it was of a version that did not
            record it.
        device: 'CPU', or the GPU's name.
        data_folder: where the raw data are.
    Raises:
        UserError: code or libraries are not those of the command.
    """
    digests = source(experiment)
    now = dict(command or {}, versions=_with_distribution(), source_modules=list(digests),
               source_digests=list(digests.values()))
    expected = numeric_versions(experiment.model, experiment.options,
                                'small classes' in experiment.numeric_versions,
                                {experiment.data_type: gen_data.DATASETS[experiment.data_type].version})
    libraries, modules = origin.differences(command, now) if command else ({}, ['main.py'])
    if (experiment.numerics, dict(experiment.numeric_versions)) != (NUMERICS, expected):
        modules = modules or ['classification.experiment.experiment']
    if libraries:
        name, (there, here) = next(iter(libraries.items()))
        raise UserError(
            '%s is %s on %s, and %s where main.py was started; all trials need the same: mend it and run the '
            'same command again' % (name, here, platform.node(), there))
    if modules:
        raise UserError(
            'the code on %s is not that of the running command: %s changed; trials of one command need the '
            'same: run the same command again' % (platform.node(), ', '.join(modules)))
    return dict(now, data_checksum=experiment.checksums['raw'],
                design_checksum=experiment.checksums['design'],
                data_folder=data_folder, host=platform.node(), device=device, threads=threads,
                started=time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime()))
