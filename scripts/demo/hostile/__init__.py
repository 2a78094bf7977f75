"""Hostile rows: everything that PostgreSQL can store and no writer should have sent. No model may raise on any."""

from scripts.demo.hostile import columns, numbers, structure, texts
from scripts.demo.shape import Shape

ALL: tuple[Shape, ...] = (
    *structure.shapes.all,
    *numbers.shapes.all,
    *texts.shapes.all,
    *columns.shapes.all,
)
