"""The experiments below some paths, as their folders tell; where one was deleted, as the result file does.

Only reads: neither data, nor plug-ins, nor TensorFlow are needed, and nothing that trains is waited for.
"""
import os
import re
import shlex
import struct
from typing import Any, List, Mapping, NamedTuple, Optional

from classification.experiment.experiment import differing
from classification.experiment.resolve import MAXIMA
from classification.report.groups import method_name
from classification.results import mat_file
from classification.results.mat_facts import facts_of
from classification.results.mat_parts import NoSummary
from classification.runs.run_folder import config_in, unfinished
from classification.runs.trial_process import CONFIG, LOG, lock_of
from classification.status.trials import (
    FAILED,
    FINISHED,
    INTERRUPTED,
    NOT_BEGUN,
    RUNNING,
    STALE,
    STALE_SECONDS,
    TrialStatus,
    failures_in_log,
    silence,
    trial_status,
)
from utils.locks import holder_of
from utils.utils import UserError

RUN_FOLDER = re.compile(r'.+-[0-9a-f]{8}$')
FACTS = ('fingerprint', 'data_type', 'command', 'train_valid_data_group', 'training_time', 'seed',
         'model_specific_info')
OTHERS = ('params', 'graphs', 'predictions')            # of a result folder: no results
DEFAULT_TRIALS = 5                       # of main.py


class ExperimentStatus(NamedTuple):
    """An experiment as it is now."""
    result: str                      # Result/NAME
    folder: Optional[str]            # the run folder; None: it was deleted, only the result file knows it
    method: str
    data: str
    trials: List[TrialStatus]
    moved: Optional[float]           # when anything of it was written last
    command: str = ''
    fingerprint: str = ''
    settings: Mapping[str, Any] = {}     # the experiment, as config.json holds it
    options: str = ''                # those that differ between the experiments that are shown
    note: str = ''                   # on the experiment, not on a trial
    trouble: Optional[str] = None    # a state of its own, where no trial has it: FAILED, STALE, INTERRUPTED
    command_runs: bool = False

    def count(self, state):
        """How many trials are in a state."""
        return sum(trial.state == state for trial in self.trials)

    @property
    def state(self):
        """One word for all its trials."""
        states = {trial.state for trial in self.trials} | {self.trouble} - {None}
        if states <= {FINISHED}:
            return FINISHED
        for state in (FAILED, STALE, RUNNING, INTERRUPTED):
            if state in states:
                return state
        if self.command_runs:
            return RUNNING
        return INTERRUPTED if FINISHED in states else NOT_BEGUN


def experiments_below(paths, say):
    """ExperimentStatus of each experiment below some paths: result folders, Result/NAME, run folders or
    result files.

    Args:
        say: function of one line, on what cannot be read.
    Raises:
        UserError: a path does not exist, or holds no experiment.
    """
    found, seen = [], set()
    for path in paths:
        results = _results_of(path)
        below = [one for result, folders, mats in results for one in of_result(result, folders, mats, say)]
        if not below:
            raise UserError('%s holds no experiment; give a result folder (--result_dir of main.py), '
                            'Result/NAME or Result/NAME.mat' % path)
        for one in below:
            key = os.path.realpath(one.folder) if one.folder else (os.path.realpath(one.result),
                                                                   one.fingerprint or id(one))
            if key not in seen:
                seen.add(key)
                found.append(one)
    return with_options(found)


def with_options(found):
    """The same experiments, with the options in which they differ."""
    texts = differing([one.settings for one in found])
    return [one._replace(options=text) for one, text in zip(found, texts)]


# ---- which folders and files ----

def _results_of(path):
    """[(Result/NAME, run folders, result files)] of a path of the command line."""
    path = os.path.normpath(path)
    if path.endswith('.mat') and os.path.isfile(path):
        return [result_at(path[:-len('.mat')])]
    if not os.path.isdir(path):
        if os.path.isfile(path + '.mat'):       # its folder was deleted
            return [result_at(path)]
        raise UserError('%s %s; a result folder, Result/NAME or Result/NAME.mat is needed' % (
            path, 'is no such folder or file' if os.path.lexists(path) else 'does not exist'))
    if os.path.exists(os.path.join(path, CONFIG)):
        return [(os.path.dirname(path), [path], [])]
    if _run_folders(path):
        return [result_at(path)]
    with os.scandir(path) as entries:
        names = {entry.name for entry in entries if entry.is_dir() and entry.name not in OTHERS
                 and not entry.name.startswith('.')}
        entries.close()
    names |= {name[:-len('.mat')] for name in os.listdir(path)
              if name.endswith('.mat') and not name.startswith(('temp_', '.'))}
    return [result_at(os.path.join(path, name)) for name in sorted(names)]


def result_at(result):
    return result, _run_folders(result), [result + '.mat'] if os.path.isfile(result + '.mat') else []


def _run_folders(folder):
    """The run folders in Result/NAME that a command has begun to use."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [os.path.join(folder, name) for name in names
            if RUN_FOLDER.match(name) and os.path.exists(os.path.join(folder, name, CONFIG))]


def of_result(result, folders, mats, say):
    """The experiments of Result/NAME, and those that only its file knows."""
    found = [run_status(result, folder) for folder in folders]
    known = {one.fingerprint for one in found}
    for path in mats:
        for entry in _entries(path, say):
            fingerprint = entry.get('fingerprint', '')
            if not fingerprint or fingerprint not in known:
                known.add(fingerprint)
                found.append(_stored(result, path, entry))
    return found


# ---- one experiment ----

def run_status(result, folder):
    """ExperimentStatus of the experiment in a run folder."""
    config = config_in(folder)
    written = _written(folder, CONFIG)
    if not config:
        return ExperimentStatus(result, folder, os.path.basename(folder)[:-9], '?', [], written,
                                note='%s cannot be read' % os.path.join(folder, CONFIG), trouble=FAILED)
    experiment = config['experiment']
    numbers = _numbers(folder, config)
    settled, runs, trouble, note = not unfinished(config), False, None, ''
    if settled:
        trials = [TrialStatus(number, FINISHED, {}, written) for number in numbers]
    else:
        failures = failures_in_log(folder)
        trials = [trial_status(folder, number, failures, 'trials' not in config) for number in numbers]
        runs, trouble, note = _of_command(folder, trials)
    moved = [written, _written(folder, LOG)] + [trial.moved for trial in trials]
    return ExperimentStatus(
        result, folder, str(experiment.get('model_type', '?')), str(experiment.get('data_type', '?')), trials,
        max([moment for moment in moved if moment is not None], default=None), str(config.get('command', '')),
        str(config.get('fingerprint', '')), experiment, note=note, trouble=trouble, command_runs=runs)


def _of_command(folder, trials):
    """(whether the command of an unfinished experiment runs, a state of its own, what to say)."""
    holder = holder_of(lock_of(folder))
    if holder is not None and not holder.ended:
        if holder.silent_seconds <= STALE_SECONDS:
            done = all(trial.state == FINISHED for trial in trials)
            return True, RUNNING if done else None, 'the entry is being written' if done else ''
        return False, STALE, 'main.py: ' + silence(holder)
    if all(trial.state == FINISHED for trial in trials):
        return False, INTERRUPTED, 'all trials are trained; the same command writes their entry'
    return False, None, ''


def _numbers(folder, config):
    """The numbers of the trials that the last command wanted."""
    trials = config.get('trials')           # earlier versions lack it
    if isinstance(trials, list) and all(isinstance(number, int) for number in trials):
        return trials
    there = {int(name[len('trial'):]) for name in os.listdir(folder) if re.match(r'trial\d+$', name)}
    return sorted(there | set(range(_num_runs(str(config.get('command', ''))))))


def _num_runs(command):
    """--num_runs of a command line."""
    found = re.findall(r' --num_runs[ =](\d+)(?= |$)', command)
    return min(int(found[-1]), MAXIMA['num_runs']) if found else DEFAULT_TRIALS


def _stored(result, path, entry):
    """An experiment that only the result file knows."""
    info = dict(entry.get('model_specific_info') or {})
    written = os.stat(path).st_mtime
    trials = entry.get('train_valid_data_group') or [0]
    seconds = entry.get('training_time') or []
    return ExperimentStatus(
        result, None, method_name({'model_specific_info': info}, {}), entry.get('data_type') or '?',
        [TrialStatus(int(number), FINISHED, {} if place >= len(seconds) else
                     {'training_seconds': seconds[place]}, written) for place, number in enumerate(trials)],
        written, entry.get('command') or '', entry.get('fingerprint') or '')


def _entries(path, say):
    """Facts of the entries of a result file; none of a file that is no result file, which is said."""
    try:
        return facts_of(path, FACTS)
    except (OSError, ValueError, KeyError, struct.error, NoSummary):
        pass        # compressed, or of another machine
    try:
        return [_plain(entry) for entry in mat_file.entries(path)]
    except UserError as error:
        say('note: %s' % error)
        return []


def _plain(entry):
    return {name: value if isinstance(value, str) else
            {inner: number if isinstance(number, str) else number.ravel().tolist()
             for inner, number in value.items() if isinstance(number, str) or hasattr(number, 'ravel')}
            if isinstance(value, dict) else value.ravel().tolist()
            for name, value in entry.items() if name in FACTS and (
                isinstance(value, (str, dict)) or hasattr(value, 'ravel'))}


def _written(folder, name):
    try:
        return os.stat(os.path.join(folder, name)).st_mtime
    except OSError:
        return None


def words_of(command):
    """The words behind main.py of a stored command line; none if it cannot be split."""
    try:
        return shlex.split(command)[1:]
    except ValueError:
        return []
