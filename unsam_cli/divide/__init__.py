"""Divide."""
