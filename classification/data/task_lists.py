"""Which classes make up each task, and how many images a task gets: the published numbers, as rows."""


def _rows(text):
    return tuple(tuple(int(number) for number in row.split()) for row in text.strip().split('\n'))


REST = 'rest'       # in a task of one class against all others

# Row: task. A class's label is its place in the row.
# the even class is the positive one
TEN_CLASSES_IN_PAIRS = tuple((2 * task + 1, 2 * task) for task in range(5))
TEN_CLASSES_AGAINST_REST = tuple((REST, task) for task in range(10))
DIGIT_PAIRS = tuple((2 * task, 2 * task + 1) for task in range(5))

# Fine labels of CIFAR-100.
CIFAR100_TEN_TASKS = _rows("""
     4  1 54  9  0  5  6  3 12  8
    30 32 62 10 51 20  7 42 17 13
    55 67 70 16 53 25 14 43 37 48
    72 73 82 28 57 84 18 88 68 58
    95 91 92 61 83 94 24 97 76 90
    22 23 15 34 26  2 27 36 47 41
    39 33 19 63 45 11 29 50 52 69
    40 49 21 64 77 35 44 65 56 81
    86 60 31 66 79 46 78 74 59 85
    87 71 38 75 99 98 93 80 96 89
""")

CIFAR100_TWENTY_TASKS = _rows("""
     4  1 54  9  0  5  6  3 12  8
     4 23 54 34  0  2  6 36 12 41
    22 23 15 34 26  2 27 36 47 41
    22 32 15 10 26 20 27 42 47 13
    30 32 62 10 51 20  7 42 17 13
    30 33 62 63 51 11  7 50 17 69
    39 33 19 63 45 11 29 50 52 69
    39 67 19 16 45 25 29 43 52 48
    55 67 70 16 53 25 14 43 37 48
    55 49 70 64 53 35 14 65 37 81
    40 49 21 64 77 35 44 65 56 81
    40 73 21 28 77 84 44 88 56 58
    72 73 82 28 57 84 18 88 68 58
    72 60 82 66 57 46 18 74 68 85
    86 60 31 66 79 46 78 74 59 85
    86 71 31 75 79 98 78 80 59 89
    87 71 38 75 99 98 93 80 96 89
    87 91 38 61 99 94 93 97 96 90
    95 91 92 61 83 94 24 97 76 90
    95  1 92  9 83  5 24  3 76  8
""")

CIFAR100_FORTY_TASKS = CIFAR100_TWENTY_TASKS + _rows("""
     4 22 54 15  0 26  6 27 12 47
     1 23  9 34  5 26  6 27 12 47
     1 23  9 34  5  2  3 36  8 41
    30 39 62 19 51  2  3 36  8 41
    30 39 62 19 51 45  7 29 17 52
    32 33 10 63 20 45  7 29 17 52
    32 33 10 63 20 11 42 50 13 69
    55 40 70 21 53 11 42 50 13 69
    55 40 70 21 53 77 14 44 37 56
    67 49 16 64 25 77 14 44 37 56
    67 49 16 64 25 35 43 65 48 81
    72 86 82 31 57 35 43 65 48 81
    72 86 82 31 57 79 18 78 68 59
    73 60 28 66 84 79 18 78 68 59
    73 60 28 66 84 46 88 74 58 85
    95 87 92 38 83 46 88 74 58 85
    95 87 92 38 83 99 24 93 76 96
    91 71 61 75 94 99 24 93 76 96
    91 71 61 75 94 98 97 80 90 89
     4 22 54 15  0 98 97 80 90 89
""")

OFFICEHOME_CLASSES = (
    'Alarm_Clock', 'Backpack', 'Batteries', 'Bed', 'Bike', 'Bottle', 'Bucket', 'Calculator', 'Calendar',
    'Candles', 'Chair', 'Clipboards', 'Computer', 'Couch', 'Curtains', 'Desk_Lamp', 'Drill', 'Eraser',
    'Exit_Sign', 'Fan', 'File_Cabinet', 'Flipflops', 'Flowers', 'Folder', 'Fork', 'Glasses', 'Hammer',
    'Helmet',
    'Kettle', 'Keyboard', 'Knives', 'Lamp_Shade', 'Laptop', 'Marker', 'Monitor', 'Mop', 'Mouse', 'Mug',
    'Notebook', 'Oven', 'Pan', 'Paper_Clip', 'Pen', 'Pencil', 'Postit_Notes', 'Printer', 'Push_Pin', 'Radio',
    'Refrigerator', 'Ruler', 'Scissors', 'Screwdriver', 'Shelf', 'Sink', 'Sneakers', 'Soda', 'Speaker',
    'Spoon', 'Table', 'Telephone', 'ToothBrush', 'Toys', 'Trash_Can', 'TV', 'Webcam')

_OFFICEHOME_LISTS = _rows("""
    63 54 55 59 47  8  5 56 18 50  3 57 13
    62 19 21 35 64 46 27 10 39 17 22 34 30
    48 15 51  6 40 31  4 36 45 41 16 14 11
     9 29  1 44 33 26 25 32 53 12 43 38 60
    28  2 49 37 20 23 58 24 52 61  7  0 42
""")
# The second half has the same classes in another domain; its class numbers follow the first's.
OFFICEHOME_TASKS = _OFFICEHOME_LISTS + tuple(
    tuple(len(OFFICEHOME_CLASSES) + number for number in row) for row in _OFFICEHOME_LISTS)

OFFICEHOME_INCREMENTAL_TASKS = _rows("""
    13 58 41
    13 58 41 11
    13 58 41 11  6
    13 58 41 11  6 38
    13 58 41 11  6 38  3
    13 58 41 11  6 38  3 62
""")

# --data_percent: images of a task for training, validation, test.
MNIST5_SIZES = {
    1: (100, 20, 1800), 3: (300, 60, 1800), 5: (500, 100, 1800), 7: (700, 140, 1800), 9: (900, 180, 1800),
    10: (1000, 200, 1800), 30: (3000, 600, 1800), 50: (5000, 1000, 1800), 70: (7000, 1000, 1800),
    90: (9000, 1000, 1800), 100: (10000, 1000, 1800),
}
MNIST10_SIZES = {
    1: (100, 10, 2000), 3: (300, 30, 2000), 5: (500, 50, 2000), 7: (700, 70, 2000), 9: (900, 90, 2000),
    10: (1000, 100, 2000), 30: (3000, 300, 2000), 50: (5000, 500, 2000), 70: (7000, 700, 2000),
    90: (9000, 900, 2000), 100: (10000, 1000, 2000),
}
CIFAR10_SIZES = {
    2: (160, 40, 2000), 4: (340, 60, 2000), 6: (500, 100, 2000), 8: (660, 140, 2000), 10: (840, 160, 2000),
    30: (2500, 500, 2000), 50: (4160, 840, 2000), 70: (5840, 1160, 2000), 90: (7500, 1500, 2000),
    100: (8330, 1670, 2000),
}
CIFAR100_SIZES = {
    2: (80, 20, 1000), 4: (170, 30, 1000), 6: (250, 50, 1000), 8: (330, 70, 1000), 10: (410, 90, 1000),
    20: (830, 170, 1000), 25: (1040, 210, 1000), 30: (1250, 250, 1000), 40: (1670, 330, 1000),
    50: (2080, 420, 1000), 60: (2500, 500, 1000), 70: (2920, 580, 1000), 75: (3120, 630, 1000),
    80: (3330, 670, 1000), 90: (3750, 750, 1000), 100: (4170, 830, 1000),
}
