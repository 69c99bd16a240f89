"""``python -m unsam_cli`` is the same as ``unsam``."""

from unsam_cli.cli import main

if __name__ == "__main__":
    main()
