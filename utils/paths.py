"""Paths as people write them."""
import argparse
import os


def path_argument(text):
    """A path of the command line; `~` and `~user` at its beginning mean homes, also where no shell has
    replaced them.

    Raises:
        argparse.ArgumentTypeError: it is empty, or nobody knows that home.
    """
    if not text:
        raise argparse.ArgumentTypeError(
            'a path is needed, "." for the current folder, and not an empty text')
    if not text.startswith('~'):
        return text
    expanded = _expanded(text)
    if expanded == text:
        raise argparse.ArgumentTypeError(
            '%s: the home folder of %s is not known; write ./%s for a file of that name'
            % (text, text.split('/')[0], text))
    return expanded


def home_folder():
    """The user's home; None where neither the environment nor the user database knows one."""
    home = _expanded('~')
    return None if home == '~' else home


def _expanded(text):
    try:
        return os.path.expanduser(text)
    except KeyError:        # older Pythons, of a user id that no database knows
        return text
