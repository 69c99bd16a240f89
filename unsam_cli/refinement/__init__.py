"""Masks and a photograph in, masks whose borders follow the photograph out."""
