"""`python -m ferrocnn`: the command line without the installed script."""

from ferrocnn.cli import main

if __name__ == "__main__":
    main()
