"""One thin file a subcommand: options, one library call, output.

Imported as ``unsam_cli.commands``. From the root of a checkout ``import commands`` would load a
second copy of each module, so it is refused.
"""

if __name__ != "unsam_cli.commands":
    raise ImportError("import unsam_cli.commands, not commands: a second copy would be loaded")
