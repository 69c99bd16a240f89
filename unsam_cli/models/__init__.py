"""Whole-image segmenters: networks from an image to masks and scores."""
