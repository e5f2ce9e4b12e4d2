"""`python -m dsmooth` is the program `dsmooth`."""

from dsmooth.cli import main

main()
