"""The pages of the documentation, and what stands in them: blocks of code, links, headings, words in the type
of code."""
import glob
import os
import re
import shlex
from typing import NamedTuple

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGES = ['README.md', 'CONTRIBUTING.md', 'Data/README.md'] + sorted(
    os.path.relpath(path, ROOT) for path in glob.glob(os.path.join(ROOT, 'docs', '*.md')))
NEEDS = ('a download', 'a file of your own', 'a GPU', 'Slurm', 'Dask', 'MATLAB', 'hours')
# programs whose flags are known
OWN = ('main.py', 'utils.report', 'utils.status', 'classification.download', 'classification.predict')


class Block(NamedTuple):
    """A block of code. The marker is the comment before it:
    ('needs', 'Slurm'), ('takes', 'minutes'), ('run by', FILE)."""
    page: str
    line: int
    language: str       # sh, python, matlab, text; '' of a listing
    text: str
    marker: tuple

    @property
    def name(self):
        """'docs/data.md:12'."""
        return '%s:%d' % (self.page, self.line)


def read(page):
    """The text of a page."""
    with open(os.path.join(ROOT, page), encoding='utf-8') as stream:
        return stream.read()


def blocks(page):
    """The Blocks of a page: fenced ones, and indented ones after an empty line, which are commands."""
    found, lines, number = [], read(page).split('\n') + [''], 0
    while number < len(lines):
        start, fence = number, re.match(r'```(\w*)$', lines[number])
        indented = lines[number].startswith('    ') and not lines[number - 1].strip()
        number += 1
        if not fence and not indented:
            continue
        while not lines[number].startswith('```') if fence else lines[number].startswith('    '):
            number += 1
        content = lines[start + 1:number] if fence else [line[4:] for line in lines[start:number]]
        number += bool(fence)
        above = re.match(r'<!-- ([\w ]+): (.*) -->$', lines[start - 1])
        found.append(Block(page, start + 1, fence.group(1) if fence else 'sh', '\n'.join(content) + '\n',
                           above.groups() if above else ()))
    return found


def prose(page):
    """The text of a page without its blocks."""
    text = re.sub(r'^```.*?^```$', '', read(page), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r'(?<=\n\n)(    .*\n)+', '', text)


def code_spans(page):
    """The words of a page in the type of code."""
    return [re.sub(r'\s+', ' ', span) for span in re.findall(r'`([^`]+)`', prose(page))]


def anchors(page):
    """What a link to a heading of the page may be called: as GitHub makes it of the heading."""
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')
            for heading in re.findall(r'^#+ (.*)$', prose(page), re.MULTILINE)}


def links(page):
    """(path, anchor) of each link of a page to a file here; '' for the page itself or for no anchor."""
    targets = [target for target in re.findall(r'\]\(([^)\s]+)\)', prose(page)) if '://' not in target]
    return [tuple(target.partition('#')[::2]) for target in targets]


def commands(text):
    """The commands of shell text, each a list of words:
    lines are joined and split at pipes, comments left out."""
    found = []
    for line in text.replace('\\\n', ' ').split('\n'):
        split = shlex.shlex(line, posix=True, punctuation_chars='|&;')
        split.whitespace_split, split.commenters = True, '#'
        words = []
        for word in list(split) + [';']:
            if not word.strip('|&;'):
                found, words = found + [words] * bool(words), []
            else:
                words.append(word)
    return found


def program(words):
    """(program, its words) of a command, for those of OWN; else ('', all words)."""
    for number, word in enumerate(words):
        if word in OWN:
            return word, words[number + 1:]
    return '', words
