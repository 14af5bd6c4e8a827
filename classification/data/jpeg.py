"""Whether a JPEG's image data are all there, whatever else its file carries.

Photographs hold thumbnails in front of the image and other images or anything at all behind it, each with
marks of its own; so a mark of an end somewhere says nothing. Some versions of OpenCV fill up what is missing
with grey.
"""
import re

import numpy as np

START, END = b'\xff\xd8', b'\xff\xd9'
SCAN, ARITHMETIC = 0xda, (0xc9, 0xca, 0xcb)
_MARK = re.compile(b'\xff+([^\x00\xff])')
_MARK_IN_SCAN = re.compile(b'\xff+[^\x00\xff\xd0-\xd7]')       # there 0 stands behind an 0xff that is none
# What a decoder takes for image data where some are missing, and does not look at where it has them all. The
# marks are those at which decoding starts anew, of which it may wait for any.
_FILLER = b''.join(np.random.RandomState(number).randint(0, 0xff, 512).astype(np.uint8).tobytes()
                   + bytes([0xff, mark])
                   for number, mark in enumerate(range(0xd0, 0xd8)))


def whole(content, decode):
    """The pixels of a JPEG; None where image data or the mark of their end are missing, or `decode` knows
    none.

    Args:
        content: bytes of the file.
        decode: bytes of a JPEG -> array, or None.
    """
    end, arithmetic = _image_data(content)
    if end is None:
        return None
    image = decode(content[:end] + END)
    if image is None or arithmetic:       # zeros at the end of such data may be left out
        return image
    other = decode(content[:end] + _FILLER + END)
    return image if other is not None and np.array_equal(image, other) else None


def _image_data(content):
    """(where the image's last scan ends, None without a mark of the end behind it; whether coding is
    arithmetic)."""
    position, end, arithmetic = len(START), None, False
    while True:
        found = _MARK.search(content, position)
        kind = found.group(1)[0] if found else START[1]
        if kind in (START[1], END[1]):      # another image begins before this one has ended
            return end if kind == END[1] else None, arithmetic
        position = found.end()
        if kind == 1 or 0xd0 <= kind <= 0xd7:      # nothing belongs to them
            continue
        position += int.from_bytes(content[position:position + 2], 'big')
        arithmetic = arithmetic or kind in ARITHMETIC
        if kind == SCAN:
            found = _MARK_IN_SCAN.search(content, position)
            end = position = found.start() if found else len(content)
