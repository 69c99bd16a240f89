"""The command line: the only code that knows of click, prints and exits.

============  ===================================================================================
`program`     the group of subcommands; errors become one line and an exit code
`command`     what every command is made of
`bundle`      options that reach a command's function as one argument
`options`     options that several commands share
`settings`    options made of settings classes
`defaults`    configuration files and the environment
`files`       no output may be an input
`train`       options of commands that train
`predict`     options of ``unsam predict``, and whom they are for
`log`         logging and progress on standard error; `train_log` of trainings
============  ===================================================================================
"""

from __future__ import annotations

from unsam_cli.cli.program import cli, main

__all__ = ["cli", "main"]
