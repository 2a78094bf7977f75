"""Campaigns of every case."""
from __future__ import annotations
from dataclasses import dataclass
from scripts.demo.shape import Columns
from scripts.demo.world import Builder

@dataclass(frozen=True)
class Campaign:
    case: str
    id: str
    outcome: str = ""

def build(builder: Builder) -> tuple[list[Campaign], list[tuple[str, Columns]]]:
    return [], []
