"""Divide: find the objects of an image, as coarse masks on the grid of its features.

Only numpy and numba are imported; every function takes and returns arrays.
"""
