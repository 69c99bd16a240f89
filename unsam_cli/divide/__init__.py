"""Divide: find the objects of an image, as coarse masks on the grid of its features.

Only numpy and numba are imported; every function takes and returns arrays.
"""

from unsam_cli.callable_room import make_callable

make_callable(__name__)
