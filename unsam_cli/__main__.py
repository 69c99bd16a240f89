"""``python -m unsam_cli`` is the same as ``unsam``."""

from __future__ import annotations

from unsam_cli.errors import EXIT_SIGINT


def main() -> None:
    """Run the program and exit; silently, too, where Ctrl-C meets the imports."""
    try:
        from unsam_cli.cli import main as run
    except KeyboardInterrupt:
        raise SystemExit(EXIT_SIGINT) from None
    run()


if __name__ == "__main__":
    main()
