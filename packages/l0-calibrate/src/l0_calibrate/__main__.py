"""``python -m l0_calibrate``: the command line."""

from l0_calibrate.cli import main

main()
