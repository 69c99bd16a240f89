"""``python -m unsam_cli`` is the same as ``unsam``."""

from __future__ import annotations


def main() -> None:
    """Run the program and exit; silently, too, where Ctrl-C meets the imports."""
    try:
        from unsam_cli.cli import main as run

        run()
    except KeyboardInterrupt:
        raise SystemExit(130) from None  # errors.EXIT_SIGINT, which would have to be imported


if __name__ == "__main__":
    main()
