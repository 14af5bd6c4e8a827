"""How far the commands of a script are: STATUS=1 scripts/table_cifar100.sh

A command is found again by what its flags say of the experiment, not by the fingerprint: that would need the
data, which may lie on another machine.
"""
import contextlib
import io
import os
from typing import Any, Mapping, NamedTuple

import numpy as np

from classification.experiment import flags as main_flags
from classification.experiment.experiment import unlike
from classification.experiment.grid import combinations
from classification.experiment.resolve import check_counts
from classification.report.tables import aligned
from classification.results import trial_record
from classification.runs import side_by_side, trial_state
from classification.runs.run_folder import config_in, result_name
from classification.runs.trial_process import RECORD, trial_folder
from classification.status.experiments import ExperimentStatus, of_result, result_at, words_of
from classification.status.tables import details, exit_states, state_text, summary_line, trials_text
from classification.status.trials import FINISHED, NOT_BEGUN, RUNNING, TrialStatus, ago, duration
from utils.utils import UserError, plural, printable_line

SECONDS = 'training_seconds'


class Command(NamedTuple):
    """A command of a script."""
    number: str                    # in the script, from 1; '' of the trials that follow a choice
    flags: Any                     # namespace of main.py's parser
    said: Mapping[str, Any]        # what it says of the experiment beside the defaults
    status: ExperimentStatus       # of the trials that it asks for


def batch_text(content):
    """(text, exit status) of the commands of a script, as scripts/batch.sh hands them over.

    Args:
        content: bytes; for each command the count of its words, its number, and the words behind main.py,
            each ended by a zero byte.
    """
    commands = _commands(content)
    if not commands:
        raise UserError('no command was given on standard input; use STATUS=1 scripts/SCRIPT.sh')
    options = unlike([command.said for command in commands])
    rows = [('', 'command', 'trials', 'state', 'moved')]
    rows += [(command.number, text or command.status.method, trials_text(command.status),
              state_text(command.status), ago(command.status.moved))
             for command, text in zip(commands, options)]
    lines = aligned([tuple(map(printable_line, row)) for row in rows], indent='')
    table = lines[:1]
    for command, line in zip(commands, lines[1:]):
        table += [line] + ['    ' + detail for detail in details(command.status)]
    found = [command.status for command in commands]
    table += ['', summary_line(found, 'command')] + _left(commands)
    return '\n'.join(table) + '\n', exit_states([one.state for one in found])


# ---- which experiment a command means ----

def _commands(content):
    words, commands, parsers, results = [os.fsdecode(word) for word in content.split(b'\0')[:-1]], [], {}, {}
    while words:
        count = int(words[0])
        number, given, words = int(words[1]), words[2:2 + count], words[2 + count:]
        plugins = tuple(word for before, word in zip([''] + given, given)
                        if '--plugin' in (before, word.split('=')[0]))
        if plugins not in parsers:
            parsers[plugins] = main_flags.parser(given)
        flags = parsers[plugins].parse_args(given)
        check_counts(flags)
        result = os.path.join(flags.result_dir, result_name(flags.save_mat_name))
        if result not in results:
            results[result] = _known(result, parsers[plugins])
        commands += _of_line(number, flags, given, result, results[result], parsers[plugins])
    return commands


def _of_line(number, flags, given, result, known, parser):
    """The Commands of a command line: one, or with --grid one for each combination, and one for the trials
    that are reported where others choose."""
    grid = combinations(flags, given, parser)
    if not grid:
        return [_command(str(number), flags, result, known, parser)]
    if flags.grid_element is not None:
        return [_command(str(number), grid[flags.grid_element - 1].flags, result, known, parser)]
    found = [_command(str(number + one.number - 1), one.flags, result, known, parser) for one in grid]
    if flags.grid_runs is not None:
        begun = [one for one in (_command('', one.flags, result, known, parser) for one in combinations(
            flags, given, parser, reported=True)) if one.status.fingerprint]
        unknown = _command('', flags, result, (), parser)       # before the choice
        found.append(max(begun, key=lambda one: one.status.count(FINISHED)) if begun else unknown._replace(
            said=dict(unknown.said, grid='the chosen one')))
    return found


def _known(result, parser):
    """[(settings of its command, ExperimentStatus)] of what is below Result/NAME, what moved last first."""
    found = []
    for one in of_result(*result_at(result), say=lambda line: None):
        flags = _parsed(parser, words_of(one.command))
        if flags is not None:
            found.append((main_flags.settings_of(flags), one))
    return sorted(found, key=lambda pair: -(pair[1].moved or 0))


def _parsed(parser, words):
    """The namespace of a stored command; None where these flags are no longer known."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return parser.parse_args(words)
    except SystemExit:
        return None


def _command(number, flags, result, known, parser):
    settings = main_flags.settings_of(flags)
    status = next((one for stored, one in known if stored == settings), None) or ExperimentStatus(
        result, None, flags.model_type, flags.data_type, [], None)
    there = {trial.number: trial for trial in status.trials}
    trials = [there.get(wanted, TrialStatus(wanted, NOT_BEGUN)) for wanted in range(flags.num_runs)]
    said = {name: value for name, value in settings.items() if value != parser.get_default(name)}
    return Command(number, flags, said, status._replace(trials=trials))


# ---- how long the rest takes ----

def _left(commands):
    """Lines on how long the rest takes, and how that is estimated."""
    missing = [command for command in commands if command.status.count(FINISHED) < len(command.status.trials)]
    if not missing:
        return []
    own = [_seconds_of_a_trial(command.status) for command in commands]
    known = [(command.flags.data_type, seconds) for command, seconds in zip(commands, own)
             if seconds is not None]
    if not known:
        return ['left: not known; no trial is trained yet']
    total, guessed, memory = 0., 0, _memory(commands)
    for command, seconds in zip(commands, own):
        if command in missing:
            if seconds is None:
                guessed += 1
                seconds = np.mean([other for data, other in known if data == command.flags.data_type]
                                  or [other for _, other in known])
            total += _rest(command, seconds, memory)
    said = ['left: about %s for %s, one command after the other' % (
        duration(total), plural(len(missing), 'command')),
        'estimated: the mean training time of a command\'s trials, for each that is missing, divided by how '
        'many train at a time (--jobs; auto: by cores, threads and, where it is known, memory of a trial)']
    if guessed:
        said.append('%s without a trained trial: the mean of the other commands on the same data'
                    % plural(guessed, 'command'))
    return said


def _rest(command, seconds, memory):
    """Seconds that the missing trials of a command take; `memory`: what `_memory` gave."""
    rest = []
    for trial in command.status.trials:
        if trial.state == FINISHED:
            continue
        facts, left = trial.facts, seconds
        if trial.seconds_left is not None:
            left = trial.seconds_left
        elif facts.get('total'):
            left = seconds * max(0., 1 - facts.get('done', 0) / facts['total'])
        rest.append(left)
    return max([sum(rest) / _at_a_time(command, len(rest), memory)] + rest)


def _at_a_time(command, missing, memory):
    """How many of the missing trials of a command train at a time: by the rule of --jobs, or by what a
    command that runs has chosen."""
    config = _config(command)
    chosen = config.get('settings', {}).get('jobs')
    if command.status.count(RUNNING) and isinstance(chosen, int) and chosen > 0:
        return min(chosen, missing)
    return side_by_side.choose(command.flags, side_by_side.stored_threads(config), missing,
                               lambda: memory.get(command.flags.data_type, memory.get(None))).jobs


def _config(command):
    """What config.json says of a command; {} where it has left none."""
    return config_in(command.status.folder) if command.status.folder else {}


def _memory(commands):
    """{data set: bytes of main memory that a trial needs at most, as far as commands have left it}; under
    None: on any data set."""
    found = {}
    for command in commands:
        needed = _config(command).get('settings', {}).get('trial_memory_bytes')
        if isinstance(needed, (int, float)) and needed > 0:
            for data in (command.flags.data_type, None):
                found[data] = max(needed, found.get(data, 0))
    return found


def _seconds_of_a_trial(one):
    """Mean training time of the trials that are trained, or what a running one will take; None: not known."""
    trained = [_training_seconds(one.folder, trial) for trial in one.trials if trial.state == FINISHED]
    trained = [seconds for seconds in trained if seconds is not None]
    running = [trial.facts['epoch_seconds'] * trial.facts['total'] for trial in one.trials
               if trial.state == RUNNING and trial.seconds_left is not None]
    return np.mean(trained or running) if trained or running else None


def _training_seconds(folder, trial):
    """How long a finished trial trained; None: not known."""
    if SECONDS in trial.facts or folder is None:
        return trial.facts.get(SECONDS)
    seconds = trial_state.read(trial_folder(folder, trial.number)).get(SECONDS)
    if seconds is None:         # an earlier version trained it
        with contextlib.suppress(UserError):
            return float(trial_record.load_record(
                os.path.join(trial_folder(folder, trial.number), RECORD)).training_time)
    return seconds
