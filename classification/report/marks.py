"""Marks beside a method's name in every format of the report: what to know before its numbers are compared.

A new mark is a row of MARKS.
"""
from collections import OrderedDict
from typing import NamedTuple

from classification.results import choice, origin
from classification.results.texts import tasks_at_chance


class Mark(NamedTuple):
    """Why an experiment's numbers want care."""
    name: str           # stands beside the method
    explanation: str    # stands in a note


def _at_chance(one):
    at_chance = one.result.get('at_chance')
    return None if at_chance is None or not at_chance.any() else tasks_at_chance(
        at_chance, one.trials, one.tasks)


def _mixed_origin(one):
    difference = origin.mixture(origin.from_entry(one.result))
    return 'trials of different origins: %s' % difference if difference else None


def _chosen(one):
    return '; '.join(map(choice.in_words, choice.choices_of(one.result))) or None


# What stands beside the method -> function of a Reported: the explanation; None: no mark.
MARKS = OrderedDict([('at chance', _at_chance), ('mixed origin', _mixed_origin),
                     ('chosen', _chosen)])


def marks_of(one):
    """The marks of an experiment.

    Args:
        one: Reported.
    Returns:
        list of Mark.
    """
    explained = [Mark(name, explain(one)) for name, explain in MARKS.items()]
    return [mark for mark in explained if mark.explanation]


def bracketed(marks):
    """'[at chance]'; '' without marks."""
    return '[%s]' % ', '.join(mark.name for mark in marks) if marks else ''
