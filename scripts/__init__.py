"""Moves a live product from its legacy columns to its canonical schema: models, write-back, undo, proof."""
