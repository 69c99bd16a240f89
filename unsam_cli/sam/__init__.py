"""Promptable segmenters: SAM and its relatives."""
