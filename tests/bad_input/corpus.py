"""All bad inputs."""
from tests.bad_input import command_lines, data_files, result_files

ENTRIES = command_lines.ENTRIES + data_files.ENTRIES + result_files.ENTRIES
