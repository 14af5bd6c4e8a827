"""Where the trials of an experiment begin that continues a shorter one under the same file name."""
import json
import os
from collections import OrderedDict
from typing import Any, NamedTuple

from classification.experiment import continuing
from classification.experiment.experiment import Experiment
from classification.results import parameter_files
from classification.runs.trial_process import RECORD, trial_folder
from classification.trial import checkpoint
from classification.trial.state import continue_from
from utils.utils import plural


class Shorter(NamedTuple):
    """An experiment that another one may continue."""
    folder: str            # its run folder
    experiment: Experiment
    settings: Any          # of its config.json

    def ended(self, number):
        """Path of the end state of a trial; None if it was not kept."""
        folder = trial_folder(self.folder, number)
        path = checkpoint.path_in(folder)
        return path if os.path.exists(path) and os.path.exists(os.path.join(folder, RECORD)) else None


def shorter_of(experiment, paths):
    """(list of Shorter, the longest first; lines about experiments that are not continued, and why)."""
    alike = [(folder, config) for folder, config in paths.others().items()
             if continuing.is_shorter(experiment, config['experiment'])]
    possible, lines = [], []
    for folder, config in alike:
        reason = continuing.reason_against(experiment, config['experiment'])
        if reason is None:
            possible.append(Shorter(folder, Experiment.from_json(json.dumps(config['experiment'])),
                                    config['settings']))
        else:
            lines.append('%s is not continued: %s' % (folder, reason))
    return sorted(possible, key=lambda one: -len(one.experiment.task_order)), lines


def continued(experiment, paths, numbers):
    """List of the Shorter that these trials would continue, the longest first."""
    possible = shorter_of(experiment, paths)[0]
    ended = _first_that_ended(possible, [number for number in numbers if not _begun(paths, number)])
    return [shorter for shorter in possible if shorter in ended.values()]


def described(experiment, paths, numbers):
    """Lines that say what these trials would continue."""
    possible, lines = shorter_of(experiment, paths)
    ended = _first_that_ended(possible, [number for number in numbers if not _begun(paths, number)])
    return lines + _lines(experiment, possible, ended)


def take_over(experiment, paths, numbers, parameter_folder, say, log):
    """Gives trials the end states of shorter experiments as the checkpoints that they go on from.

    Args:
        numbers: of the trials that have no record; one that has begun keeps its own checkpoint.
        parameter_folder: of this experiment; None: none.
        say, log: functions of one line for the user, and for the log only.
    """
    possible, lines = shorter_of(experiment, paths)
    numbers = [number for number in numbers if not _begun(paths, number)]
    continued = OrderedDict()
    for number, shorter in _first_that_ended(possible, numbers).items():
        continued[number] = None
        if shorter and _take_over_one(experiment, paths, number, shorter, parameter_folder, say):
            log('trial %d: continues the trial of %s' % (number, shorter.folder))
            continued[number] = shorter
    for line in lines + _lines(experiment, possible, continued):
        say(line)


def _take_over_one(experiment, paths, number, shorter, parameter_folder, say):
    """Whether a trial could be given the end state of a shorter experiment's trial."""
    folder, earlier = trial_folder(paths.run, number), shorter.settings.get('parameter_folder')
    os.makedirs(folder, exist_ok=True)
    # before the checkpoint, which says that all this is done
    if parameter_folder and not (earlier and parameter_files.take_over(earlier, parameter_folder, number)):
        say('note: the parameter files of trial %d are no longer in %s' % (number, earlier or shorter.folder))
    return continue_from(shorter.ended(number), shorter.experiment, experiment, checkpoint.path_in(folder),
                         say)


def _begun(paths, number):
    return checkpoint.exists(checkpoint.path_in(trial_folder(paths.run, number)))


def _first_that_ended(possible, numbers):
    """OrderedDict number -> the longest Shorter that has its end state; None: none has."""
    return OrderedDict((number, next((shorter for shorter in possible if shorter.ended(number)), None))
                       for number in numbers)


def _lines(experiment, possible, continued):
    """Says which trials continue what; nothing where there is no shorter experiment."""
    lines, every = [], len(experiment.task_order)
    for shorter in possible:
        numbers = [number for number, one in continued.items() if one is shorter]
        before = len(shorter.experiment.task_order)
        if numbers:
            lines.append('%s: %s taken over from %s, %s to learn' % (
                _trials(numbers), plural(before, 'task'), shorter.folder, plural(every - before, 'task')))
    afresh = [number for number, one in continued.items() if one is None]
    if possible and afresh:
        lines.append('%s: all %s to learn, as %s holds no end state' % (
            _trials(afresh), plural(every, 'task'), ' or '.join(one.folder for one in possible)))
    return lines


def _trials(numbers):
    return 'trial%s %s' % ('s' if len(numbers) > 1 else '', ', '.join(map(str, numbers)))
