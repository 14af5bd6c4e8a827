"""Designs of STL-10's tasks: drawn, written in the published format, read back, refused when malformed."""
import os
from collections import Counter

import pytest

from classification.data import stl10_designs
from classification.data.stl10_designs import (
    Preset,
    draw,
    draw_kinds,
    file_name,
    from_text,
    keep,
    leak,
    load,
    to_text,
)
from utils.utils import UserError

FIFTEEN, TWENTY = Preset(10, 50, 15, 5), Preset(25, 15, 20, 3)
SMALL = Preset(share=50, valid=50, tasks=2, classes=2)
OFFICIAL = [500] * 10
FEW = [4] * 10

TEXT = """\
Task,0
Classes,7,2
Noise,-0.05,0.025
ChannelSwap,2,0,1
TrainIndices
7,3
2,0
ValidationIndices
7,1
2,2
Task,1
Classes,0,9
TrainIndices
0,3
9,0
ValidationIndices
0,0
9,3
"""
PUBLISHED = TEXT.replace('\n', '\r\n')


def group(preset, seed, number, counts=None):
    counts = counts or OFFICIAL
    return draw(preset, seed, number, counts, draw_kinds(preset, seed))


@pytest.mark.parametrize('preset, train, valid', [(FIFTEEN, 25, 25), (TWENTY, 106, 19)])
def test_a_drawn_design_has_the_published_sizes(preset, train, valid):
    for task in group(preset, 0, 0):
        assert len(set(task.classes)) == preset.classes
        assert Counter(number for number, _ in task.train) == {number: train for number in task.classes}
        assert Counter(number for number, _ in task.valid) == {number: valid for number in task.classes}
        assert len(set(task.train + task.valid)) == preset.classes * (train + valid)
        assert all(0 <= image < 500 for _, image in task.train + task.valid)


@pytest.mark.parametrize('preset', [FIFTEEN, TWENTY])
def test_drawn_tasks_are_different_sets_with_published_kinds_of_noise(preset):
    kinds = [task for seed in range(20) for task in draw_kinds(preset, seed)]
    assert len({frozenset(task.classes) for task in kinds[:preset.tasks]}) == preset.tasks
    assert {task.noise for task in kinds} == {(mean, deviation) for mean in (-.05, -.025, 0., .025)
                                              for deviation in (0., .025)} - {(0., 0.)} | {None}
    assert {task.swap for task in kinds} == {None, (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)}


@pytest.mark.parametrize('preset', [FIFTEEN, TWENTY])
def test_groups_have_the_same_tasks_and_other_images_and_leak_nothing(preset):
    first, second = group(preset, 0, 0), group(preset, 0, 1)
    assert [task.kind() for task in first] == [task.kind() for task in second]
    assert all(set(task.train) != set(other.train) for task, other in zip(first, second))
    assert leak(first) == leak(second) == 0
    validating = {image for task in first for image in task.valid}
    assert validating & {image for task in second for image in task.train}
    assert [task.kind() for task in group(preset, 1, 0)] != [task.kind() for task in first]


def test_the_published_text():
    design = from_text('x.csv', PUBLISHED, SMALL, FEW)
    assert design[0] == stl10_designs.DesignedTask((7, 2), (-.05, .025), (2, 0, 1), ((7, 3), (2, 0)),
                                                   ((7, 1), (2, 2)))
    assert design[1] == stl10_designs.DesignedTask((0, 9), None, None, ((0, 3), (9, 0)), ((0, 0), (9, 3)))
    assert to_text(design) == PUBLISHED
    assert from_text('x.csv', TEXT + '\n\n', SMALL, FEW) == design


@pytest.mark.parametrize('preset', [FIFTEEN, TWENTY])
def test_what_is_written_is_read_back(preset):
    design = group(preset, 3, 2)
    assert from_text('x.csv', to_text(design), preset, OFFICIAL) == design


@pytest.mark.parametrize('row, new, expected', [
    (1, 'Task,1', 'Task,0'), (1, 'Tusk,0', 'Task,0'), (1, '', 'Task,0'),
    (2, 'Classes,7', 'Classes and 2 different numbers from 0 to 9'), (2, 'Classes,7,7', '2 different'),
    (2, 'Classes,7,10', '0 to 9'), (2, 'Classes,7,x', '0 to 9'),
    (3, 'Noise,0.1', 'Noise, a mean and a standard deviation'), (3, 'Noise,0.1,-1', 'Noise'),
    (3, 'Noise,nan,0', 'Noise'), (3, 'Noise,0.1,0.1,0.1', 'Noise'),
    (4, 'ChannelSwap,0,1', 'ChannelSwap and 0, 1, 2 in some order'), (4, 'ChannelSwap,0,1,1', 'ChannelSwap'),
    (5, 'TrainIndices,1', 'TrainIndices'), (5, 'Indices', 'TrainIndices'),
    (6, '7,4', '7: 0 to 3, 2: 0 to 3'), (6, '7,-1', '7: 0 to 3'), (6, '3,1', 'a class of this task'),
    (6, '7', 'a class of this task'), (6, '7,x', 'a class of this task'), (6, '', 'a class of this task'),
    (8, 'Validation', 'ValidationIndices'), (9, '7,3', 'that it does not have yet'),
    (14, '2,3', 'a class of this task'),
    (11, 'Task,2', 'Task,1')])
def test_a_malformed_row_is_named(row, new, expected):
    lines = TEXT.splitlines()
    lines[row - 1] = new
    with pytest.raises(UserError) as error:
        from_text('Data/x.csv', '\n'.join(lines), SMALL, FEW)
    assert str(error.value).startswith('Data/x.csv, row %d: %r, expected ' % (row, new))
    assert expected in str(error.value) and 'mend the file, or move it away' in str(error.value)


@pytest.mark.parametrize('count, row, expected', [
    (0, 1, '2 tasks'), (5, 6, 'an image of each class of the task under TrainIndices'),
    (6, 7, 'TrainIndices'),
    (8, 9, 'an image of each class of the task under ValidationIndices'), (10, 11, '2 tasks'),
    (13, 14, 'each class')])
def test_a_file_that_ends_too_early_is_named(count, row, expected):
    text = '\n'.join(TEXT.splitlines()[:count])
    with pytest.raises(UserError, match='x.csv, row %d: the end of the file, expected .*%s'
                       % (row, expected)):
        from_text('x.csv', text, SMALL, FEW)


def test_a_task_too_many_is_named():
    with pytest.raises(UserError, match="row 19: 'Task,2', expected 2 tasks"):
        from_text('x.csv', TEXT + 'Task,2\n', SMALL, FEW)


# ---- folders ----

def write(folder, name, text):
    place = os.path.join(str(folder), 'STL-10', name)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    with open(place, 'w', newline='') as stream:
        stream.write(text)
    return place


def lines_of(preset, folder, seed=0, number=0, counts=None):
    lines = []
    keep(preset, load(preset, str(folder), seed, counts or FEW), str(folder), seed, number, lines.append)
    return lines


def test_files_of_seed_0_carry_the_published_names():
    assert [file_name(FIFTEEN, 0, number) for number in (0, 4)] == [
        'stl10_p10_v50_t15_c5_s0.csv', 'stl10_p10_v50_t15_c5_s4.csv']
    assert file_name(TWENTY, 7, 2) == 'stl10_p25_v15_t20_c3_seed7_s2.csv'


def test_designs_are_written_once_and_read_ever_after(tmp_path):
    drawn = load(SMALL, str(tmp_path), 0, FEW)
    assert drawn.read == (False,) * 5 and not os.listdir(str(tmp_path))
    path = os.path.join(str(tmp_path), 'STL-10', file_name(SMALL, 0, 0))
    assert lines_of(SMALL, tmp_path) == ['STL-10 design: drawn from seed 0, kept in %s' % path]
    again = load(SMALL, str(tmp_path), 0, FEW)
    assert again.read == (True,) * 5 and again.groups == drawn.groups and again.checksum() == drawn.checksum()
    assert lines_of(SMALL, tmp_path) == ['STL-10 design: read from %s' % path]
    assert sorted(os.listdir(os.path.dirname(path))) == [file_name(SMALL, 0, number) for number in range(5)]


def test_a_file_that_is_there_is_used_and_not_overwritten_and_gives_the_other_groups_their_tasks(tmp_path):
    path = write(tmp_path, file_name(SMALL, 0, 2), TEXT)
    designs = load(SMALL, str(tmp_path), 0, FEW)
    assert designs.read == (False, False, True, False, False)
    assert [[task.classes for task in design] for design in designs.groups] == [[(7, 2), (0, 9)]] * 5
    assert designs.groups[2][0].noise == designs.groups[4][0].noise == (-.05, .025)
    lines_of(SMALL, tmp_path)
    with open(path, newline='') as stream:
        assert stream.read() == TEXT
    assert len(os.listdir(os.path.dirname(path))) == 5


def test_files_of_different_designs_are_refused(tmp_path):
    write(tmp_path, file_name(SMALL, 0, 1), TEXT)
    write(tmp_path, file_name(SMALL, 0, 3), TEXT.replace('0.025', '0.0'))
    with pytest.raises(UserError, match='task 0 of .*_s1.csv and of .*_s3.csv differ'):
        load(SMALL, str(tmp_path), 0, FEW)


def test_an_image_that_validates_one_task_and_trains_another_is_accepted_with_a_warning(tmp_path):
    text = TEXT.replace('Classes,0,9', 'Classes,7,9').replace('\n0,3', '\n7,1').replace('\n0,0', '\n7,0')
    write(tmp_path, file_name(SMALL, 0, 0), text)
    assert leak(load(SMALL, str(tmp_path), 0, FEW).groups[0]) == 1
    assert lines_of(SMALL, tmp_path)[1] == 'STL-10 design: 1 image both trains a task and validates another'


def test_a_folder_that_cannot_be_written_is_said_and_does_not_matter(tmp_path):
    # a file where the folder should be: not even root can write below it
    (tmp_path / 'STL-10').write_bytes(b'')
    lines = lines_of(SMALL, tmp_path, seed=3)
    assert len(lines) == 1 and lines[0].startswith(
        'STL-10 design: drawn from seed 3, not kept: %s cannot be written ('
        % (tmp_path / 'STL-10'))


def test_a_file_that_is_no_text(tmp_path):
    path = write(tmp_path, file_name(SMALL, 0, 0), '')
    with open(path, 'wb') as stream:
        stream.write(b'\xff\xfe\x00')
    with pytest.raises(UserError, match='_s0.csv is no CSV text'):
        load(SMALL, str(tmp_path), 0, FEW)
