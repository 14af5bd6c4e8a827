"""A grid of hyper-parameters: its experiments are trained one after the other, then one of them is chosen.

They are chosen by what the result file holds of them, on validation data: with --grid_runs by trials that are
not reported, and then the chosen combination's own trials are trained.
"""
import functools

from classification.experiment import sizes
from classification.report.tables import aligned, shown
from classification.results import choice, mat_file
from classification.runs.run_folder import mat_path, resolved
from classification.train_wrapper import run_experiment
from utils.utils import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_USER_ERROR,
    UserError,
    plural,
    printable_line,
    show,
    tell_error,
)

DIGITS = '%.4f'


def run_grid(combinations, reported, flags, say):
    """Trains what is missing, chooses, and says so in the chosen entry.

    Args:
        combinations: grid.Combination, at least two.
        reported: the same with the seed and the trials that are reported.
        flags: namespace of the whole command line.
        say: function of one line for the user.
    Returns:
        exit status: 0 chosen, 1 something failed, 2 everything was refused, 75 interrupted and resumable.
    """
    say = _once(say)
    fingerprints = _checked(combinations, flags, say)
    if fingerprints is None:         # the data of a dry run are not there yet
        return 0
    if flags.dry_run:
        print(_listing(combinations, fingerprints, flags))
        return 0
    statuses = _train_all(combinations, say)
    if statuses[-1] == EXIT_INTERRUPTED:
        return EXIT_INTERRUPTED
    failed = [one for one, status in zip(combinations, statuses) if status]
    if failed:
        if set(statuses) == {EXIT_USER_ERROR}:      # and was told
            return EXIT_USER_ERROR
        return _nothing_chosen(failed, len(combinations), 'failed; the same command tries %s again, and '
                               'without such values it chooses among the others' % _them(failed))
    return _choose(combinations, fingerprints, reported, flags, say)


def _once(say):
    """`say`, which says no line twice."""
    said = set()

    def once(line):
        if line not in said:
            said.add(line)
            say(line)
    return once


def _checked(combinations, flags, say):
    """The fingerprint of each combination, before anything is trained; None where data are missing that a dry
    run does not fetch.

    Raises:
        UserError: one is impossible, or two are the same experiment.
    """
    found = []
    for one in combinations:
        experiment = resolved(one.flags, say)
        if experiment is None:
            return None
        sizes.check(experiment, one.flags.num_runs)
        fingerprint = experiment.fingerprint()
        if fingerprint in found:
            raise UserError('--grid: %s and %s are the same experiment; leave one of them away'
                            % (combinations[found.index(fingerprint)].text, one.text))
        found.append(fingerprint)
    return found


def _listing(combinations, fingerprints, flags):
    """What --dry_run shows."""
    runs = combinations[0].flags
    rows = [('', 'fingerprint') + tuple(combinations[0].values)]
    rows += [(str(one.number), fingerprint[:8]) + tuple(one.values.values())
             for one, fingerprint in zip(combinations, fingerprints)]
    lines = ['%d combinations, each an experiment of %s with seed %d:' % (
        len(combinations), plural(runs.num_runs, 'trial'), runs.seed)] + aligned(rows)
    lines.append('chosen by: %s' % choice.MEANING[flags.grid_measure])
    if flags.grid_runs is not None:
        lines.append('then the chosen one is trained: %s with seed %d' % (
            plural(flags.num_runs, 'trial'), flags.seed))
    lines.append('--grid_element N shows or trains one of them')
    return '\n'.join(lines)


# ---- training ----

def _train_all(combinations, say):
    """The exit status of each combination; the last one is that of an interruption, if there was one."""
    statuses, told = [], set()
    for one in combinations:
        say('== %d of %d: %s' % (one.number, len(combinations), one.text))
        statuses.append(_train(one, say, told))
        if statuses[-1] == EXIT_INTERRUPTED:
            break
    return statuses


def _train(one, say, told):
    """Trains one combination; returns its exit status. `told`: errors that the user knows already."""
    try:
        # once more: the options of a data set belong to the experiment that was resolved last
        return run_experiment(resolved(one.flags, say), one.flags, one.argv, say)
    except UserError as error:
        if str(error) not in told:
            tell_error(error)
        told.add(str(error))
        return EXIT_USER_ERROR


def _nothing_chosen(lacking, of, why):
    """Says so in one line; the exit status."""
    tell_error('nothing is chosen: %d of %d combinations (%s) %s' % (
        len(lacking), of, '; '.join(one.text for one in lacking), why))
    return EXIT_FAILED


def _them(combinations):
    return 'it' if len(combinations) == 1 else 'them'


# ---- choosing ----

def _choose(combinations, fingerprints, reported, flags, say):
    """Chooses among combinations that are trained, and trains what is reported; returns the exit status."""
    runs, path = combinations[0].flags, mat_path(flags.result_dir, flags.save_mat_name)
    stored = _stored(path, fingerprints, flags.grid_measure, range(runs.num_runs))
    lacking = [one for one, fingerprint in zip(combinations, fingerprints) if fingerprint not in stored]
    if lacking:         # removed, or trained again, by another command
        return _nothing_chosen(lacking, len(combinations),
                               'are no longer in %s; the same command trains %s' % (path, _them(lacking)))
    handed_on = all(one.handed_on for one in stored.values())
    if not handed_on:
        say('note: an earlier version trained some of these trials; so all are compared by the last epoch, '
            'not by the parameters handed on')
    tried = [choice.Tried(one.values, fingerprint, getattr(
        stored[fingerprint], 'handed_on' if handed_on else 'last_epoch'))
        for one, fingerprint in zip(combinations, fingerprints)]
    chosen = choice.Choice(tried, flags.grid_measure, runs.num_runs, runs.seed, flags.grid_runs is not None)
    show(_table(chosen))
    if not chosen.apart:
        _note_in_file(path, fingerprints[chosen.chosen], chosen)
        return 0
    one = reported[chosen.chosen]
    say('== the chosen one, %s, trains the trials that are reported: %s with seed %d' % (
        one.text, plural(flags.num_runs, 'trial'), flags.seed))
    experiment = resolved(one.flags, say)
    status = _train(one, say, set())
    if status == 0:
        _note_in_file(path, experiment.fingerprint(), chosen)
    return status


def _stored(path, fingerprints, measure, numbers):
    """dict fingerprint -> choice.Accuracies of those in a result file with all these trials; of the newest
    entries."""
    found = {}
    for _, entry in mat_file.each_entry(path):
        fingerprint = entry.get('fingerprint')
        if isinstance(fingerprint, str) and fingerprint in fingerprints:
            found.pop(fingerprint, None)
            if set(numbers) <= set(choice.numbers_of(entry)):
                found[fingerprint] = choice.accuracies(entry, measure, numbers)
    return found


def _table(chosen):
    """What was tried, and what is chosen."""
    options = list(chosen.tried[0].values)
    rows = [[''] + options + ['mean', 'sample std', '']]
    for place, one in enumerate(chosen.tried):
        rows.append([str(place + 1)] + [printable_line(text) for text in one.values.values()] + [
            shown(one.mean, DIGITS), shown(one.std, DIGITS), '<- chosen' if place == chosen.chosen else ''])
    return '\n'.join(['%s (%s with seed %d%s)' % (
        choice.MEANING[chosen.measure], plural(chosen.trials, 'trial'), chosen.seed,
        ', which are not reported' if chosen.apart else '')] + aligned(rows))


def _note_in_file(path, fingerprint, chosen):
    """Stores the choice in the chosen entry. One that was chosen among the same experiments before, with
    other trials or by the other measure, is so no longer."""
    wanted = {}
    for _, entry in mat_file.each_entry(path):
        before = choice.choices_of(entry)
        after = choice.updated(before, chosen, entry.get('fingerprint') == fingerprint)
        if isinstance(entry.get('fingerprint'), str):       # a later entry of an experiment counts
            wanted[entry['fingerprint']] = None if mat_file.equal(before, after) else after
    for other, structs in wanted.items():
        if structs is not None:
            mat_file.change_entry(path, other, functools.partial(choice.with_choices, structs=structs))
