"""Result files -> tables, plots, one HTML page: python3 -m utils.report Result/*.mat; see
classification/report/command.py."""
from classification.report.command import main
from utils.utils import run_command

if __name__ == '__main__':
    run_command(main)
