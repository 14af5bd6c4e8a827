"""How far the experiments of a batch are: python3 -m utils.status [Result/ ...]; see
classification/status/command.py."""
from classification.status.command import main
from utils.utils import run_command

if __name__ == '__main__':
    run_command(main)
