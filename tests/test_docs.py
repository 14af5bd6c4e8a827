"""The documentation says what is: its commands run, its flags, links, fields and messages exist, its numbers
have one home."""
import argparse
import ast
import functools
import glob
import os
import re
import shutil

import pytest

import main
from classification import download, gen_data, predict
from classification.experiment import flags
from classification.model.registry import MODELS
from classification.report import command as report
from classification.status import command as status
from scripts import write_flags
from tests import run_docs
from tests.support.commands import SAMPLES
from tests.support.doc_blocks import (
    NEEDS,
    OWN,
    PAGES,
    ROOT,
    anchors,
    blocks,
    code_spans,
    commands,
    links,
    program,
    prose,
    read,
)

BLOCKS = [block for page in PAGES for block in blocks(page)]
DOCS = [page for page in PAGES if page.startswith('docs/')]
MEASURED = 'docs/measurements.md'
ROOMS = ('scripts', 'tests', 'utils', 'classification', 'examples', 'docs')


def of_language(*languages):
    found = [block for block in BLOCKS if block.language in languages]
    return pytest.mark.parametrize('block', found, ids=lambda block: block.name)


# ---- blocks ----

@of_language('sh')
def test_a_command_is_shell(block):
    assert os.system("bash -n <<'END OF COMMANDS'\n%sEND OF COMMANDS\n" % block.text) == 0


@of_language('python')
def test_a_python_block_is_python(block):
    compile(block.text, block.name, 'exec')


@of_language('sh', 'python', 'matlab')
def test_a_marker_says_something_known(block):
    kind, what = block.marker or ('takes', 'minutes')
    assert kind in ('needs', 'takes', 'run by')
    assert kind != 'needs' or what in NEEDS
    assert kind != 'takes' or what == 'minutes'
    assert kind != 'run by' or glob.glob(os.path.join(ROOT, 'tests', '**', what), recursive=True), what


def test_every_block_has_a_known_language():
    assert {block.language for block in BLOCKS} <= {'sh', 'python', 'matlab', 'text', ''}


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """(folder with a result file in which this project seems to stand, environment for commands there)."""
    folder = str(tmp_path_factory.mktemp('docs'))
    environment = run_docs.make_folder(folder)
    first, = [block for block in blocks('README.md') if run_docs.is_run(block, minutes=False)]
    status, said = run_docs.run(first, folder, environment)
    assert status == 0, said
    return folder, environment


@pytest.mark.parametrize('page', [page for page in PAGES if page != 'README.md' and any(
    run_docs.is_run(block, minutes=False) for block in blocks(page))])
def test_what_takes_seconds_runs(page, project):
    for block in blocks(page):
        if run_docs.is_run(block, minutes=False):
            status, said = run_docs.run(block, *project)
            assert status == 0, '%s\n%s' % (block.name, said)


@pytest.mark.skipif(not shutil.which('octave-cli'), reason='Octave is not installed')
def test_what_matlab_reads_octave_reads(project):
    for block in blocks('docs/results.md'):
        if block.marker == ('needs', 'MATLAB'):
            status, said = run_docs.run(block, *project)
            assert 'hps' in said and (status == 0 or 'no graphics toolkits' in said), '%s\n%s' % (
                block.name, said)


# ---- flags, options, names ----

@functools.lru_cache()
def known_flags():
    """dict program -> its flags; '': all that anything here, an example too, has."""
    parsers = {'main.py': flags.parser(), 'utils.report': report.parser(),
               'utils.status': status.parser(),
               'classification.download': download.parser(), 'classification.predict': predict.parser()}
    known = {name: {word for action in parser._actions for word in action.option_strings} for name,
             parser in parsers.items()}
    of_files = set()
    # scripts and tests
    for path in glob.glob(os.path.join(ROOT, '[st]*ts', '**', '*.py'), recursive=True):
        with open(path, encoding='utf-8') as stream:
            of_files.update(re.findall(r"add_argument\('(--\w+)'", stream.read()))
    for path in glob.glob(os.path.join(ROOT, 'examples', '*.py')):
        with open(path, encoding='utf-8') as stream:
            known['main.py'].update('--' + flag for flag in re.findall(r"flag='(\w+)'", stream.read()))
    known[''] = set().union(of_files, *known.values())
    return known


def flags_of(words):
    return [word.split('=')[0] for word in words if re.match(r'--\w', word)]


@of_language('sh')
def test_the_flags_of_a_command_exist(block):
    known = known_flags()
    for words in commands(block.text):
        name, of_program = program(words)
        if name:
            assert set(flags_of(of_program)) - known[name] == set()


@of_language('sh')
def test_the_files_and_modules_of_a_command_exist(block):
    for words in commands(block.text):
        for word, following in zip(words, words[1:] + ['']):
            path = following.replace('.', '/') + '.py' if word == '-m' and following.split('.')[
                0] in ROOMS else word
            if path.split('/')[0] in ROOMS:
                assert os.path.exists(os.path.join(ROOT, path)) or os.path.isdir(
                    os.path.join(ROOT, path[:-len('.py')])), path


@pytest.mark.parametrize('page', PAGES)
def test_what_make_makes_exists(page):
    with open(os.path.join(ROOT, 'Makefile')) as stream:
        targets = re.findall(r'^([\w-]+):', stream.read(), re.MULTILINE)
    commanded = [block.text for block in blocks(page) if block.language == 'sh'] + code_spans(page)
    assert set(re.findall(r'\bmake ([a-z][\w-]*)', '\n'.join(commanded))) <= set(targets)


@pytest.mark.parametrize('page', PAGES)
def test_the_flags_and_files_in_a_text_exist(page):
    known = known_flags()
    for span in code_spans(page):
        if span.startswith('--') or any(name in span for name in OWN):
            assert set(flags_of(span.split())) - known[''] - {'--...'} == set(), span
        path = re.match(r'(?:python3? )?((?:%s)/[\w./]+)' % '|'.join(ROOMS), span)
        if path:
            assert os.path.exists(os.path.join(ROOT, path.group(1))), span


@pytest.mark.parametrize('page', PAGES)
def test_options_that_are_set_exist(page):
    declared = {option.name for model in MODELS.values() for option in model.options}
    declared |= {option.name for dataset in gen_data.DATASETS.values() for option in dataset.options}
    for name in re.findall(r'--set (\w+)=', read(page)):
        assert name in declared | {'NAME', 'name'}


def test_the_page_of_flags_is_what_the_program_has():
    assert read('docs/flags.md') == write_flags.page(), 'run: python3 scripts/write_flags.py'


@pytest.mark.parametrize('name', sorted(MODELS))
def test_each_method_has_a_place(name):
    assert name in read('docs/methods.md') or name.rsplit('_', 1)[0] + '_X' in read('docs/methods.md')


@pytest.mark.parametrize('name', sorted(gen_data.DATASETS))
def test_each_data_set_has_a_place(name):
    for page in ('docs/data.md', 'docs/reproducing.md'):
        assert '`%s`' % name in read(page)


# ---- links ----

@pytest.mark.parametrize('page', PAGES)
def test_links_lead_somewhere(page):
    for path, anchor in links(page):
        target = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
        assert os.path.exists(os.path.join(ROOT, target)), path
        assert not anchor or anchor in anchors(target), '%s#%s' % (path, anchor)


def test_the_start_page_leads_to_every_page():
    reached = {os.path.normpath(path) for path, _ in links('README.md')}
    assert set(PAGES) - {'README.md'} <= reached


# ---- what a page is ----

def test_the_start_page_is_short_and_its_picture_small():
    assert len(read('README.md').splitlines()) <= 150
    picture, = re.findall(r'!\[.*\]\((.*)\)', read('README.md'))
    assert os.path.getsize(os.path.join(ROOT, picture)) <= 200 * 1024


def test_the_start_page_has_the_sample_commands_word_for_word():
    lines = read('README.md').splitlines()
    for sample in SAMPLES:
        assert 'python3 main.py ' + sample in lines


@pytest.mark.parametrize('page', DOCS)
def test_a_page_opens_with_its_question(page):
    assert re.match(r'# [A-Z][^\n]*\?\n\n', read(page))


@pytest.mark.parametrize('page', PAGES)
def test_lines_are_short(page):
    samples = ['python3 main.py ' + sample for sample in SAMPLES]
    text = [line for line in read(page).splitlines() if not line.startswith('|') and line not in samples]
    of_output = {line for block in blocks(page) if block.language == 'text'
                 for line in block.text.splitlines()}
    assert [line for line in text if len(line) > 128 and line not in of_output] == []


# ---- numbers have one home ----

def section(page, heading):
    return read(page).split('\n## %s\n' % heading)[1].split('\n## ')[0]


def test_what_the_start_page_quotes_was_measured():
    measured = re.sub(r'\s+', ' ', read(MEASURED))
    numbers = re.findall(r'\d+\.\d+(?: \(\d+\.\d+\)| x)?|\d+ of \d+',
                         section('README.md', 'Results in short'))
    assert len(numbers) > 10
    for number in numbers:
        assert number in measured, number


def test_what_the_start_page_shows_was_printed():
    shown = [line for block in blocks('README.md') if block.language == 'text'
             for line in block.text.splitlines()]
    assert shown and set(shown) <= set(read(MEASURED).splitlines())


def test_a_table_row_with_measured_numbers_stands_once():
    rows = [line for page in PAGES for line in prose(page).splitlines()
            if re.match(r'\|.*(\d\.\d.*){3}', line)]
    assert len(rows) > 50 and len(rows) == len(set(rows))


def test_how_long_the_tests_take_is_said_alike():
    assert 'about 25 minutes' in read('CONTRIBUTING.md') and 'about 25 minutes' in read('README.md')


# ---- fields and messages ----

def test_each_field_of_a_result_is_explained(project):
    from classification.results.read_results import load_results
    explained = ' '.join(span for span in code_spans('docs/results.md'))
    entry, = load_results(os.path.join(project[0], 'Result', 'try.mat'))
    for level in (entry, entry['result_of_each_run'][0], entry['model_specific_info']):
        for field in set(level) - {'unfinished', 'computed_fields'}:
            assert re.sub('_(mean|std|stddev)$', '', field) in explained, field


def texts_of_the_code():
    """All texts in the code, and in argparse, which answers for us; one a line."""
    found, paths = [], [main.__file__, argparse.__file__]
    for room in ('classification', 'utils'):
        paths += glob.glob(os.path.join(ROOT, room, '**', '*.py'), recursive=True)
    for path in paths:
        with open(path, encoding='utf-8') as stream:
            nodes = ast.walk(ast.parse(stream.read()))
        # A text is a Constant, before Python 3.8 a Str.
        found += [getattr(node, 'value', None) or getattr(node, 's', None) for node in nodes
                  if type(node).__name__ in ('Constant', 'Str')]
    return '\n'.join(text for text in found if isinstance(text, str))


def test_each_message_is_one_of_the_code():
    messages = re.findall(r'^\| `([^`]+)`', read('docs/troubleshooting.md'), re.MULTILINE)
    texts = re.sub(r'%[-.\w]+', '...', texts_of_the_code())
    parts = [part.strip(' ;:,.()-') for message in messages for part in message.split('...')]
    assert len(messages) > 30
    assert [part for part in parts if part not in texts] == []
