"""A file system without locks: a library that makes the system's calls for them fail, for processes that
preload it."""
import errno
import os
import subprocess

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'no_locks.c')
NAME = 'no_locks.so'
FAIL_WITH = 'LOCKS_FAIL_WITH'        # in the environment: the error number; a process may set it for itself
ERRORS = (errno.ENOSYS, errno.ENOLCK)        # Lustre without the mount option, some NFS


class NoCompiler(Exception):
    """There is no C compiler here that makes such a library."""


def library(folder):
    """Path of the library, made in a folder.

    Raises:
        NoCompiler.
    """
    path = os.path.join(str(folder), NAME)
    try:
        done = subprocess.run(['cc', '-shared', '-fPIC', '-O1', '-o', path, SOURCE, '-ldl'],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError as problem:
        raise NoCompiler(str(problem)) from problem
    if done.returncode:
        raise NoCompiler(done.stdout.decode('utf-8', 'replace'))
    return path


def preloading(path):
    """What a process needs in its environment to have the library."""
    return {'LD_PRELOAD': ' '.join(filter(None, [path, os.environ.get('LD_PRELOAD')]))}


def preloaded():
    """Whether this process has the library."""
    return NAME in os.environ.get('LD_PRELOAD', '')
