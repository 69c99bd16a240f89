"""Segment images into everything they contain, from scenes to small parts, without human labels.

The library behind the ``unsam`` command. Its rooms, from the ground up: :mod:`~unsam_cli.rle` (mask
algebra), :mod:`~unsam_cli.io` (the only code that opens files), :mod:`~unsam_cli.backbones`,
:mod:`~unsam_cli.divide` and :mod:`~unsam_cli.conquer` (arrays in, arrays out),
:mod:`~unsam_cli.run` (what every command shares). ``docs/design.md`` has the map.
"""

__version__ = "0.1.0"
